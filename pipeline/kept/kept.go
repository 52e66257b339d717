// Package kept holds results of single loops durably, each under a key made of
// all that it depends on: the content of its object, the network, the program
// and the settings. A study is combined from kept results, so that a late loop
// costs itself and a repeated analysis nothing.
//
//	<dir>/<key>.json.gz           the result of a loop
//	<dir>/<key>.drawn-<basis>/    what was drawn of it, with a list
//
// What is there under its name is whole. Two that write the same at once, here
// or on two machines, both succeed, with the same content.
package kept

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/echonode/echonode/pipeline/objects"
	"github.com/echonode/echonode/pipeline/result"
)

// ErrNotKept says that nothing is kept under a key.
var ErrNotKept = errors.New("no result is kept")

// Dir is a folder of kept results in an object store.
type Dir struct {
	files   *objects.Files
	scratch string
	parts   []string
}

// In is the folder with the given path in a store. Drawings are made in scratch,
// a folder of this machine, best on the file system of the store.
func In(files *objects.Files, scratch string, parts ...string) Dir {
	return Dir{files: files, scratch: scratch, parts: parts}
}

const (
	resultSuffix = ".json.gz"
	list         = "outputs.json"
	// maxResult bounds what is read of one result, compressed and not.
	maxResult = 1 << 30
)

// Key is what the result of an object is kept under. basis stands for all that
// the result depends on beside the bytes of the object in the file at path.
func Key(path, basis string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	fmt.Fprintf(h, "%d:%s", len(basis), basis) // a hash takes everything
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)[:20]), nil
}

// Digest shortens a description of settings to a name.
func Digest(settings any) (string, error) {
	b, err := json.Marshal(settings)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:10]), nil
}

func (d Dir) name(parts ...string) string {
	return d.files.Name(append(append([]string{}, d.parts...), parts...)...)
}

// gone reports whether an error says that there is nothing to be read, ever.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, objects.ErrUnreadable)
}

// Has reports whether a result is kept under the key. The error is the store's.
func (d Dir) Has(ctx context.Context, key string) (bool, error) {
	_, err := d.files.Stat(ctx, d.name(key+resultSuffix))
	if gone(err) {
		return false, nil
	}
	return err == nil, err
}

// Load reads the result under a key. ErrNotKept: there is none, or it is not
// readable, which makes it as good as none.
func (d Dir) Load(ctx context.Context, key string) (*result.Loop, error) {
	b, err := objects.ReadAll(ctx, d.files, d.name(key+resultSuffix), maxResult)
	if gone(err) {
		return nil, fmt.Errorf("%s: %w", key, ErrNotKept)
	}
	if err != nil {
		return nil, err
	}
	l, err := decode(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", key, ErrNotKept, err)
	}
	return l, nil
}

// decode reads a compressed result to its very end: only there does gzip compare
// its checksum with what was read.
func decode(b []byte) (*result.Loop, error) {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	plain := io.LimitReader(z, maxResult)
	dec, l := json.NewDecoder(plain), new(result.Loop)
	if err := dec.Decode(l); err != nil {
		return nil, err
	}
	rest, err := io.ReadAll(io.LimitReader(io.MultiReader(dec.Buffered(), z), 2))
	if err != nil {
		return nil, err
	}
	if string(rest) != "\n" {
		return nil, errors.New("something comes after the result")
	}
	return l, nil
}

// compressors are used again: to make one costs as much as to compress a result.
var compressors = sync.Pool{New: func() any {
	z, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	if err != nil {
		panic(err) // there is no such level
	}
	return z
}}

// Save keeps a result under a key. When it returns, the result survives a crash.
func (d Dir) Save(ctx context.Context, key string, l *result.Loop) error {
	var b bytes.Buffer
	z := compressors.Get().(*gzip.Writer)
	defer compressors.Put(z)
	z.Reset(&b)
	if err := errors.Join(json.NewEncoder(z).Encode(l), z.Close()); err != nil {
		return err
	}
	return objects.PutBytes(ctx, d.files, d.name(key+resultSuffix), b.Bytes())
}

// Remove forgets the result under a key.
func (d Dir) Remove(ctx context.Context, key string) error {
	return d.files.Remove(ctx, d.name(key+resultSuffix))
}

// Drawn lists what was drawn of a loop under a basis, with the names of the
// objects as files. ErrNotKept: nothing.
func (d Dir) Drawn(ctx context.Context, key, basis string) ([]result.Output, error) {
	folder := key + ".drawn-" + basis
	b, err := objects.ReadAll(ctx, d.files, d.name(folder, list), 1<<20)
	if gone(err) {
		return nil, fmt.Errorf("%s: %w", key, ErrNotKept)
	}
	if err != nil {
		return nil, err
	}
	out, sums, err := readList(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", key, ErrNotKept, err)
	}
	for i := range out {
		if out[i].File == "" {
			continue // it could not be made
		}
		out[i].File = d.name(append([]string{folder}, strings.Split(out[i].File, "/")...)...)
		// Elsewhere a file that is fetched is compared with the digest in its name.
		if path, own := d.files.InPlace(out[i].File); own {
			if sum, err := sumOf(path); err != nil || sum != sums[i] {
				return nil, fmt.Errorf("%s: %w: %s is not what was drawn", key, ErrNotKept, path)
			}
		}
	}
	return out, nil
}

// drawings are a list as it is kept, with the digest of its outputs and sums.
type drawings struct {
	Outputs json.RawMessage `json:"outputs"`
	Sums    []fileSum       `json:"sums"` // of the files
	SHA256  string          `json:"sha256"`
}

// fileSum is by what a file is known again that a disk has changed.
type fileSum struct {
	Size   int64  `json:"size"`
	CRC32C uint32 `json:"crc32c"`
}

func sumOf(path string) (s fileSum, err error) {
	f, err := os.Open(path)
	if err != nil {
		return s, err
	}
	defer f.Close()
	h := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	s.Size, err = io.Copy(h, f)
	s.CRC32C = h.Sum32()
	return s, err
}

func (l *drawings) digest() string {
	sum := sha256.Sum256(fmt.Appendf(bytes.Clone(l.Outputs), "%v", l.Sums))
	return hex.EncodeToString(sum[:])
}

func writeList(out []result.Output, sums []fileSum) ([]byte, error) {
	b, err := json.Marshal(out)
	if err != nil {
		return nil, err
	}
	l := drawings{Outputs: b, Sums: sums}
	l.SHA256 = l.digest()
	return json.Marshal(l)
}

// readList reads a list that is whole. One of a program of before has no digest or no sums:
// what it lists is drawn again.
func readList(b []byte) (out []result.Output, sums []fileSum, err error) {
	var l drawings
	if err := json.Unmarshal(b, &l); err != nil {
		return nil, nil, err
	}
	if l.SHA256 != l.digest() {
		return nil, nil, errors.New("the list of what was drawn is damaged")
	}
	if err := json.Unmarshal(l.Outputs, &out); err != nil {
		return nil, nil, err
	}
	if len(l.Sums) != len(out) {
		return nil, nil, errors.New("the list of what was drawn is not whole")
	}
	return out, l.Sums, nil
}

// Draw keeps what draw makes in the folder that it is given, and lists it. What
// is there already is not drawn again.
func (d Dir) Draw(ctx context.Context, key, basis string, draw func(dir string) ([]result.Output, error)) (_ []result.Output, err error) {
	if out, err := d.Drawn(ctx, key, basis); !errors.Is(err, ErrNotKept) {
		return out, err
	}
	if err := os.MkdirAll(d.scratch, 0o750); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(d.scratch, "drawing-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	out, err := draw(dir)
	if err != nil {
		return nil, err
	}
	folder := key + ".drawn-" + basis
	files, sums := make([]objects.Named, 0, len(out)), make([]fileSum, len(out))
	for i := range out {
		if out[i].File == "" {
			continue
		}
		if sums[i], err = sumOf(out[i].File); err != nil {
			return nil, err
		}
		rel, err := filepath.Rel(dir, out[i].File)
		if err != nil || !filepath.IsLocal(rel) {
			return nil, fmt.Errorf("%s was drawn outside its folder", out[i].File)
		}
		rel = filepath.ToSlash(rel)
		parts := slices.Concat(d.parts, []string{folder}, strings.Split(rel, "/"))
		name, err := d.files.NameOf(out[i].File, parts...)
		if err != nil {
			return nil, err
		}
		files = append(files, objects.Named{Name: name, File: out[i].File})
		out[i].File = strings.TrimPrefix(name, d.name(folder)+"/")
	}
	b, err := writeList(out, sums)
	if err != nil {
		return nil, err
	}
	// The list comes last: without it nothing is there.
	if err := d.files.AdoptAll(ctx, files); err != nil {
		return nil, err
	}
	if err := objects.PutBytes(ctx, d.files, d.name(folder, list), b); err != nil {
		return nil, err
	}
	return d.Drawn(ctx, key, basis)
}

// Sweep removes what a process that died left unfinished, on this machine.
func (d Dir) Sweep() error {
	if s, ok := d.files.Store.(*objects.Directory); ok {
		return s.Sweep(d.name(), sweepAge(d.files))
	}
	return nil
}

// sweepAge is how old the unfinished must be: in a directory that others write
// to, too old to be under way.
func sweepAge(f *objects.Files) time.Duration {
	if _, own := f.InPlace(""); own {
		return 0
	}
	return 24 * time.Hour
}
