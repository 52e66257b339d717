package dicomio

import (
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"image"
	"strings"

	"github.com/echonode/echonode/dicomio/encoding"
	"github.com/echonode/echonode/dicomio/internal/codec/j2k"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"

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

// corpusRefused is the one file of the corpus that is not read: a stray byte
// before the data set shifts every element, of which pydicom, forced, makes a
// single one without meaning.
var corpusRefused = map[string]error{
	"no_meta.dcm": ErrNotDICOM,
}

// corpusTruncated are the files that end early.
var corpusTruncated = map[string]bool{
	"emri_small_jpeg_2k_lossless_too_short.dcm": true,
	"MR_truncated.dcm":                          true,
	"DICOMDIR-nooffset":                         true,
	"rtplan_truncated.dcm":                      true,
}

// corpusUndecodable are the files whose frames no decoder here or elsewhere
// gives: attributes are missing or wrong, or the codestream is damaged.
var corpusUndecodable = map[string]error{
	"badVR.dcm":                                ErrValue, // NumberOfFrames 1A
	"meta_missing_tsyntax.dcm":                 ErrValue, // no Rows
	"nested_priv_SQ.dcm":                       ErrValue, // no Rows
	"JPEG2000-embedded-sequence-delimiter.dcm": ErrMismatch,
	"966.dcm":                                  ErrCodestream, // tiles are missing
}

// At least 99 of 100 files of the corpus are read; the others are refused with
// a typed error. Whole files are rewritten byte for byte. Of files that end
// early what is whole is read, they say so, and give neither frames nor a copy;
// Strict refuses them.
func TestCorpusRewrite(t *testing.T) {
	dir, refs := corpus(t)
	read := 0
	for _, r := range refs {
		path := filepath.Join(dir, r.Path)
		f, err := Open(path, Options{})
		var typed *Error
		if want := corpusRefused[filepath.Base(r.Path)]; !errors.Is(err, want) || err != nil && !errors.As(err, &typed) {
			t.Errorf("%s: %v, want %v", r.Path, err, want)
		}
		if err != nil {
			t.Logf("refused: %s: %v", r.Path, err)
			continue
		}
		read++
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		_, strict := Read(bytes.NewReader(want), int64(len(want)), Options{Strict: true})
		cut := f.Truncated()
		if corpusTruncated[filepath.Base(r.Path)] != (cut != nil) || (strict == nil) != (cut == nil) {
			t.Errorf("%s: truncated: %v, strict: %v", r.Path, cut, strict)
		}
		if cut != nil {
			_, ferr := f.Frames()
			_, werr := f.WriteTo(&got)
			if !errors.Is(cut, ErrTruncated) || !errors.As(cut, &typed) || !errors.As(strict, &typed) || !errors.Is(ferr, cut) ||
				!errors.Is(werr, cut) || got.Len() > 0 {
				t.Errorf("%s: %v, strict %v, frames %v, written %v", r.Path, cut, strict, ferr, werr)
			}
			f.Close()
			continue
		}
		if _, err := f.WriteTo(&got); err != nil || !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s: rewritten differently (%v)", r.Path, err)
		}
		f.Close()
	}
	t.Logf("%d of %d read", read, len(refs))
	if 100*read < 99*len(refs) {
		t.Errorf("%d of %d read, less than 99 %%", read, len(refs))
	}
}

// short is the form of hashes in the reference: 12 hex digits of SHA-1.
func short(b []byte) string {
	s := sha1.Sum(b)
	return hex.EncodeToString(s[:])[:12]
}

// countElements counts the elements of a data set, and with those nested in
// it. A repeated tag counts once, as in pydicom.
func countElements(d *DataSet) (top, flat int) {
	seen := map[Tag]bool{}
	for e := range d.Elements() {
		if seen[e.Tag] {
			continue
		}
		seen[e.Tag] = true
		top++
		flat++
		for _, it := range e.items {
			_, n := countElements(it)
			flat += n
		}
	}
	return top, flat
}

// Attributes, element counts and hashes of compressed frames and native
// pixels equal what pydicom reads.
func TestCorpusReference(t *testing.T) {
	dir, refs := corpus(t)
	byKeyword := map[string]Tag{}
	for t, info := range tag.All() {
		byKeyword[info.Keyword] = t
	}
	read, keys, frames, natives := 0, 0, 0, 0
	for _, r := range refs {
		f, err := Open(filepath.Join(dir, r.Path), Options{})
		if err != nil {
			t.Logf("refused: %s: %v", r.Path, err)
			continue
		}
		read++
		if r.TS != "" && f.TransferSyntax != r.TS {
			t.Errorf("%s: transfer syntax %s, reference %s", r.Path, f.TransferSyntax, r.TS)
		}
		for k, want := range r.Keys {
			at, ok := byKeyword[k]
			if !ok {
				t.Fatalf("%s is no keyword", k)
			}
			got := strings.Join(f.DataSet.Strings(at), "\\")
			if got != want {
				t.Errorf("%s: %s is %q, reference %q", r.Path, k, got, want)
			}
			keys++
		}
		top, flat := countElements(f.DataSet)
		if f.Truncated() != nil {
			// pydicom keeps what is whole in its own way.
			t.Logf("truncated: %s: %d elements, %d with nested ones; reference %d and %d: %v", r.Path, top, flat, r.Top, r.Flat, f.Truncated())
		} else if top != r.Top || flat != r.Flat {
			t.Errorf("%s: %d elements, %d with nested ones; reference %d and %d", r.Path, top, flat, r.Top, r.Flat)
		}
		e, ok := f.DataSet.Get(tagPixels)
		if ok && f.Truncated() == nil && r.NatSHA != "" {
			b, err := e.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			if bits, _ := f.DataSet.Int(tag.BitsAllocated); e.enc.Big && bits > 8 {
				encoding.Swap(b, int(bits/8)) // the reference is little endian
			}
			if got := short(b); got != r.NatSHA {
				t.Errorf("%s: native pixels %s, reference %s", r.Path, got, r.NatSHA)
			}
			natives++
		}
		if r.EncFrames != nil {
			fr, err := f.RawFrames()
			if err != nil {
				t.Errorf("%s: %v", r.Path, err)
				continue
			}
			if fr.Len() != *r.EncFrames {
				t.Errorf("%s: %d frames, reference %d", r.Path, fr.Len(), *r.EncFrames)
				continue
			}
			for i, want := range r.EncSHA {
				b, err := fr.Raw(i)
				if err != nil || short(b) != want {
					t.Errorf("%s: frame %d is %s, reference %s (%v)", r.Path, i, short(b), want, err)
				}
				frames++
			}
		}
		f.Close()
	}
	t.Logf("%d of %d files read, %d attributes, %d compressed frames, %d native pixel data equal", read, len(refs), keys, frames, natives)
}

// Every frame of the corpus decodes to gray, colour and stored values, but for
// the files of corpusUndecodable.
func TestCorpusDecode(t *testing.T) {
	dir, refs := corpus(t)
	files, n := 0, 0
	for _, r := range refs {
		f, err := Open(filepath.Join(dir, r.Path), Options{Strict: true})
		if err != nil {
			continue
		}
		if !f.DataSet.Has(tagPixels) {
			f.Close()
			continue
		}
		want := corpusUndecodable[filepath.Base(r.Path)]
		fr, err := f.Frames()
		if errors.Is(err, ErrUnsupported) && !j2k.Available {
			f.Close()
			continue
		}
		frames := 0
		if err == nil {
			frames = fr.Len()
			files++
		}
		for i := 0; i < frames && err == nil; i++ {
			var g image.Gray
			var c image.RGBA
			var d Frame
			if err = fr.Gray(i, &g); err == nil {
				err = fr.RGB(i, &c)
			}
			if err == nil {
				err = fr.Decode(i, &d)
			}
			n++
		}
		var typed *Error
		if !errors.Is(err, want) || err != nil && !errors.As(err, &typed) {
			t.Errorf("%s (%s): %v, want %v", r.Path, f.TransferSyntax, err, want)
		}
		f.Close()
	}
	t.Logf("%d files, %d frames", files, n)
}

// Every corpus file written in another encoding reads back with the same
// values.
func TestCorpusTranscode(t *testing.T) {
	dir, refs := corpus(t)
	files, skipped := 0, 0
	for _, r := range refs {
		f, err := Open(filepath.Join(dir, r.Path), Options{Strict: true})
		if err != nil {
			continue
		}
		e, ok := f.DataSet.Get(tagPixels)
		untold := false
		for _, e := range f.DataSet.All() {
			// An implicit file does not tell these VRs.
			untold = untold || e.VR != encoding.DictionaryVR(e.Tag, false)
		}
		if ok && e.Encapsulated() {
			skipped++
			f.Close()
			continue
		}
		want := plain(f.DataSet)
		for _, ts := range []string{uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.DeflatedExplicitVRLittleEndian} {
			if untold && ts == uid.ImplicitVRLittleEndian {
				continue
			}
			var b bytes.Buffer
			if err := Write(&b, f.DataSet, WriteOptions{TransferSyntax: ts, Bare: true}); err != nil {
				t.Errorf("%s to %s: %v", r.Path, ts, err)
				continue
			}
			g, err := Read(bytes.NewReader(b.Bytes()), int64(b.Len()), Options{TransferSyntax: ts})
			if err != nil {
				t.Errorf("%s to %s: %v", r.Path, ts, err)
				continue
			}
			got := plain(g.DataSet)
			for i := range min(len(got), len(want)) {
				if got[i] != want[i] {
					t.Errorf("%s to %s: %.80q, want %.80q", r.Path, ts, got[i], want[i])
					break
				}
			}
			if len(got) != len(want) {
				t.Errorf("%s to %s: %d values, want %d", r.Path, ts, len(got), len(want))
			}
		}
		files++
		f.Close()
	}
	t.Logf("%d files in four encodings; %d with fragments left out", files, skipped)
}
