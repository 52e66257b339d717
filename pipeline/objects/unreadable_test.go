package objects_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/echonode/echonode/conformance/s3gateway"
	"github.com/echonode/echonode/pipeline/objects"
)

// One object that cannot be read while its store works is told from a store that
// is away: what waits for the store would wait for ever. The store goes on being
// used.
func TestUnreadable(t *testing.T) {
	p := s3gateway.NewProxy(t, s3gateway.Start(t).Endpoint)
	refuse := func(part string) s3gateway.Fault {
		return func(w http.ResponseWriter, r *http.Request) bool {
			return strings.Contains(r.URL.Path, part) && s3gateway.Refuse(http.StatusForbidden, "AccessDenied")(w, r)
		}
	}
	shared, local := t.TempDir(), t.TempDir()
	toItself := func(root string) error { // nobody can read that, root neither
		path := filepath.Join(root, "o", "broken")
		return errors.Join(os.Remove(path), os.Symlink(path, path))
	}
	for name, c := range map[string]struct {
		s          objects.Store
		harm, away func() error
	}{
		"S3": {s3(t, p.Endpoint), func() error { p.Set(refuse("broken")); return nil }, func() error { p.Set(refuse("")); return nil }},
		"shared": {objects.NewShared(shared), func() error { return toItself(shared) },
			func() error { return os.Rename(shared, shared+"-away") }},
		"local": {objects.NewDirectory(local), func() error { return toItself(local) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			f, err := objects.NewFiles(c.s, filepath.Join(t.TempDir(), "copies"), 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			whole, broken := f.Name("o", "whole"), f.Name("o", "broken")
			for _, n := range []string{whole, broken} {
				if err := objects.PutBytes(ctx, f, n, []byte(n)); err != nil {
					t.Fatal(err)
				}
			}
			if c.away != nil {
				if err := f.Belong(ctx, []byte{1}, func(context.Context) ([]string, error) { return nil, nil }); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.harm(); err != nil {
				t.Fatal(err)
			}
			look := func(name string) map[string]error {
				_, open := f.Open(ctx, name, 0, -1)
				_, stat := f.Stat(ctx, name)
				_, all := objects.ReadAll(ctx, f, name, 100)
				hold := f.Hold()
				defer hold.Release()
				_, file := hold.File(ctx, name)
				if c.away == nil {
					file = open // who opens it finds out
				}
				return map[string]error{"open": open, "stat": stat, "all": all, "file": file}
			}
			for what, err := range look(broken) {
				if !errors.Is(err, objects.ErrUnreadable) || errors.Is(err, objects.ErrUnavailable) {
					t.Errorf("%s: %v", what, err)
				} else if strings.Contains(err.Error(), objects.ErrUnavailable.Error()) {
					t.Errorf("%s: the words are those of a store that is away: %v", what, err)
				}
			}
			for what, err := range look(whole) {
				if err != nil {
					t.Errorf("%s of a whole one: %v", what, err)
				}
			}
			if c.away != nil { // so for writing and deleting
				for what, err := range map[string]error{"put": objects.PutBytes(ctx, f, f.Name("o", "broken", "below"), []byte("x")),
					"clear": objects.Clear(ctx, f, f.Name("o", "broken"))} {
					if err != nil && (!errors.Is(err, objects.ErrUnreadable) || errors.Is(err, objects.ErrUnavailable)) || err == nil && what == "put" {
						t.Errorf("%s: %v", what, err)
					}
				}
			}
			if err := f.Trouble(); err != nil {
				t.Errorf("the store is in trouble: %v", err)
			}
			if left, err := os.ReadDir(local); name == "local" && (err != nil || len(left) != 1) {
				t.Errorf("%v is left of trying, %v", left, err)
			}
			if c.away == nil {
				return
			}
			if err := c.away(); err != nil {
				t.Fatal(err)
			}
			for what, err := range look(broken) {
				if !errors.Is(err, objects.ErrUnavailable) || errors.Is(err, objects.ErrUnreadable) {
					t.Errorf("%s, the store away: %v", what, err)
				}
			}
		})
	}
}
