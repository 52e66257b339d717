// Package kept holds results of single loops durably, each under a key made of
// all that it depends on: the content of its object, the network, the program
// and the settings. A study is combined from kept results, so that a late loop
// costs itself and a repeated analysis nothing.
//
//	<dir>/<key>.json.gz           the result of a loop
//	<dir>/<key>.drawn-<basis>/    what was drawn of it, with a list
//
// What is there under its name is whole: everything is written under another
// name, synced and renamed. Two that write the same at once both succeed, with
// the same content.
package kept

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/echonode/echonode/pipeline/result"
)

// ErrNotKept says that nothing is kept under a key.
var ErrNotKept = errors.New("no result is kept")

// Dir is a folder of kept results, made when it is first written to.
type Dir string

const (
	resultSuffix = ".json.gz"
	unfinished   = "unfinished-"
	list         = "outputs.json"
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

func (d Dir) path(name string) string { return filepath.Join(string(d), name) }

// Has reports whether a result is kept under the key.
func (d Dir) Has(key string) bool {
	_, err := os.Lstat(d.path(key + resultSuffix))
	return err == nil
}

// Load reads the result under a key. ErrNotKept: there is none, or it is not
// readable, which makes it as good as none.
func (d Dir) Load(key string) (*result.Loop, error) {
	f, err := os.Open(d.path(key + resultSuffix))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", key, ErrNotKept)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	l := new(result.Loop)
	z, err := gzip.NewReader(f)
	if err == nil {
		err = json.NewDecoder(z).Decode(l)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", key, ErrNotKept, err)
	}
	return l, nil
}

// Save keeps a result under a key. When it returns, the result survives a crash.
func (d Dir) Save(key string, l *result.Loop) error {
	return d.write(key+resultSuffix, func(f *os.File) error {
		z, err := gzip.NewWriterLevel(f, gzip.BestSpeed)
		if err != nil {
			return err
		}
		return errors.Join(json.NewEncoder(z).Encode(l), z.Close())
	})
}

// write makes one file whole.
func (d Dir) write(name string, fill func(*os.File) error) (err error) {
	if err := os.MkdirAll(string(d), 0o750); err != nil {
		return err
	}
	f, err := os.CreateTemp(string(d), unfinished)
	if err != nil {
		return err
	}
	if err := errors.Join(fill(f), f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	if err := os.Rename(f.Name(), d.path(name)); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(string(d))
}

// Remove forgets the result under a key.
func (d Dir) Remove(key string) error {
	if err := os.Remove(d.path(key + resultSuffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Drawn lists what was drawn of a loop under a basis. ErrNotKept: nothing.
func (d Dir) Drawn(key, basis string) ([]result.Output, error) {
	folder := d.path(key + ".drawn-" + basis)
	b, err := os.ReadFile(filepath.Join(folder, list))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", key, ErrNotKept)
	}
	if err != nil {
		return nil, err
	}
	var out []result.Output
	if err := json.Unmarshal(b, &out); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", key, ErrNotKept, err)
	}
	for i := range out {
		out[i].File = filepath.Join(folder, out[i].File)
	}
	return out, nil
}

// Draw keeps what draw makes in the folder that it is given, and lists it. What
// is there already is not drawn again.
func (d Dir) Draw(key, basis string, draw func(dir string) ([]result.Output, error)) ([]result.Output, error) {
	if out, err := d.Drawn(key, basis); !errors.Is(err, ErrNotKept) {
		return out, err
	}
	if err := os.MkdirAll(string(d), 0o750); err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp(string(d), unfinished)
	if err != nil {
		return nil, err
	}
	if err := d.draw(folder, draw); err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	final := d.path(key + ".drawn-" + basis)
	if err := os.Rename(folder, final); err != nil {
		// Somebody else was first, or what is there is damaged.
		if out, err := d.Drawn(key, basis); err == nil {
			return out, os.RemoveAll(folder)
		}
		if err := errors.Join(os.RemoveAll(final), os.Rename(folder, final)); err != nil {
			return nil, errors.Join(err, os.RemoveAll(folder))
		}
	}
	if err := syncDir(string(d)); err != nil {
		return nil, err
	}
	return d.Drawn(key, basis)
}

func (d Dir) draw(folder string, draw func(dir string) ([]result.Output, error)) error {
	out, err := draw(folder)
	if err != nil {
		return err
	}
	for i := range out {
		if out[i].File, err = filepath.Rel(folder, out[i].File); err != nil || strings.HasPrefix(out[i].File, "..") {
			return fmt.Errorf("%s was drawn outside its folder", out[i].File)
		}
	}
	b, err := json.Marshal(out)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, list), b, 0o640); err != nil {
		return err
	}
	return filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return syncDir(path)
	})
}

// Sweep removes what a process that died left unfinished.
func (d Dir) Sweep() error {
	entries, err := os.ReadDir(string(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), unfinished) {
			err = errors.Join(err, os.RemoveAll(d.path(e.Name())))
		}
	}
	return err
}

// syncDir makes a file or the names in a folder durable.
func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
