package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/echonode/echonode/pipeline/result"
)

// FuzzIndent compares with encoding/json.
func FuzzIndent(f *testing.F) {
	for _, seed := range []string{
		`null`, `-1.5e3`, `"a\\\"b,[{:"`, `{}`, `[]`, `[[],{},[1,2,[3]],{"a":{}}]`, `{"a b":[true,null,"x\\u2028"],"c":{"d":-0.25}}`, `[[[[[[]]]]]]`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var v any
		if json.Unmarshal([]byte(text), &v) != nil {
			return
		}
		want, err := json.MarshalIndent(v, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		compact, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		w := bufio.NewWriter(&got)
		indent(w, compact)
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if got.String() != string(want) {
			t.Errorf("%s is written\n%s\nwant\n%s", text, got.String(), want)
		}
	})
}

// A document whose studies were encoded one by one is the one that is encoded at
// once, whatever its texts hold.
func TestDocumentOfEncodedStudies(t *testing.T) {
	for n := range 3 {
		doc := &result.Document{Schema: `"studies":[]`, Notice: `a "studies":[] b`, Studies: []result.Study{},
			Rejected: []result.RejectedFile{{File: `"studies":[]`}}}
		var encoded []func() ([]byte, error)
		for i := range n {
			s := result.Study{StudyInstanceUID: fmt.Sprintf("1.2.%d", i), Loops: []result.Loop{{File: "<a>&"}}}
			encoded = append(encoded, inBackground(&s))
			doc.Studies = append(doc.Studies, s)
		}
		want, err := json.MarshalIndent(doc, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		doc.Studies = []result.Study{}
		var got bytes.Buffer
		if err := writeDocument(&got, doc, encoded); err != nil {
			t.Fatal(err)
		}
		if got.String() != string(want)+"\n" {
			t.Errorf("%d studies:\n%s\nwant\n%s", n, got.String(), want)
		}
	}
	failing := func() ([]byte, error) { return nil, io.ErrNoProgress }
	if err := writeDocument(io.Discard, &result.Document{Studies: []result.Study{}}, []func() ([]byte, error){failing}); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("error %v", err)
	}
}
