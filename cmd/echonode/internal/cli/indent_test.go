package cli

import (
	"bytes"
	"encoding/json"
	"testing"
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
		var got bytes.Buffer
		if err := writeIndented(&got, v); err != nil {
			t.Fatal(err)
		}
		if got.String() != string(want)+"\n" {
			t.Errorf("%s is written\n%s\nwant\n%s", text, got.String(), want)
		}
	})
}
