package dicomio

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// reference is one line of the corpus's reference.jsonl.
type reference struct {
	Path  string            `json:"path"`
	Force int               `json:"force"`
	TS    string            `json:"ts"`
	Keys  map[string]string `json:"keys"`
	Flat  int               `json:"flat"`
	Top   int               `json:"top"`

	PixLen    *int64   `json:"pixlen"`
	NatSHA    string   `json:"natsha"`
	Need      int64    `json:"need"`
	NeedSHA   string   `json:"natsha_need"`
	EncFrames *int     `json:"encframes"`
	EncSHA    []string `json:"encsha"`
}

// corpus returns the folder and the reference of the corpus.
func corpus(t testing.TB) (string, []reference) {
	t.Helper()
	root := os.Getenv("ECHO_DATA")
	if root == "" {
		t.Skip("ECHO_DATA is not set: the corpus of DICOM files is not here")
	}
	dir := filepath.Join(root, "dicom-corpus")
	f, err := os.Open(filepath.Join(dir, "reference.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var refs []reference
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<24)
	for sc.Scan() {
		var r reference
		if err := json.Unmarshal(sc.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		refs = append(refs, r)
	}
	if err := sc.Err(); err != nil {
		t.Fatal(err)
	}
	return dir, refs
}

// Every corpus file that parses is rewritten byte for byte.
func TestCorpusRewrite(t *testing.T) {
	dir, refs := corpus(t)
	read := 0
	for _, r := range refs {
		path := filepath.Join(dir, r.Path)
		f, err := Open(path, Options{})
		if err != nil {
			t.Logf("%s: %v", r.Path, err)
			continue
		}
		read++
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if _, err := f.WriteTo(&got); err != nil || !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s: rewritten differently (%v)", r.Path, err)
		}
		f.Close()
	}
	t.Logf("%d of %d read", read, len(refs))
}
