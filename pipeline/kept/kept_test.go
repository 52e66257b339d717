package kept

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/echonode/echonode/pipeline/objects"
	"github.com/echonode/echonode/pipeline/result"
)

func TestKeyIsContentAndBasis(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key := func(path, basis string) string {
		k, err := Key(path, basis)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	a := key(file("a", "pixels"), "network 1")
	if b := key(file("b", "pixels"), "network 1"); a != b {
		t.Error("the same content under another name has another key")
	}
	seen := map[string]bool{a: true}
	for _, k := range []string{key(file("c", "pixelS"), "network 1"), key(file("a", "pixels"), "network 2"), key(file("d", "1pixels"), "network "),
		key(file("e", "x"), ""), key(file("f", ""), "x")} {
		if seen[k] {
			t.Error("other content or basis, same key")
		}
		seen[k] = true
	}
	if _, err := Key(filepath.Join(dir, "none"), ""); err == nil {
		t.Error("a key of no file")
	}
}

func TestResultsSurvive(t *testing.T) {
	root := t.TempDir()
	d, ctx := in(t, root), t.Context()
	if _, err := d.Load(ctx, "k"); !errors.Is(err, ErrNotKept) || has(t, d, "k") {
		t.Errorf("empty: %v", err)
	}
	want := &result.Loop{SOPInstanceUID: "1.2", View: "A4C", FrameResults: []result.Frame{{Index: 3, Contour: result.Contour{{1.125, 2}, {3, 4.5}}}}}
	if err := d.Save(ctx, "k", want); err != nil {
		t.Fatal(err)
	}
	got, err := d.Load(ctx, "k")
	if err != nil || !has(t, d, "k") {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// A file that a bad disk has cut is no result.
	path := filepath.Join(root, "loops", "k"+resultSuffix)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, info.Size()/2); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Load(ctx, "k"); !errors.Is(err, ErrNotKept) {
		t.Errorf("truncated: %v", err)
	}
	if err := errors.Join(d.Remove(ctx, "k"), d.Remove(ctx, "k")); err != nil || has(t, d, "k") {
		t.Errorf("remove: %v", err)
	}
}

// Whichever bit a disk loses, what is loaded is what was kept or nothing.
func TestNoDamagedResult(t *testing.T) {
	root := t.TempDir()
	d, ctx := in(t, root), t.Context()
	want := &result.Loop{SOPInstanceUID: "1.2.840.1", View: "A4C"}
	for i := range 8 {
		want.FrameResults = append(want.FrameResults, result.Frame{Index: i, Contour: result.Contour{{1.125 * float64(i), 2}, {3, 4.5}, {-7.25, 1e-3 * float64(i)}}})
	}
	if err := d.Save(ctx, "k", want); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, "loops", "k"+resultSuffix)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, at int, b []byte) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := d.Load(ctx, "k")
		if err != nil && !errors.Is(err, ErrNotKept) {
			t.Errorf("%s %d: %v", what, at, err)
		}
		if err == nil && !cmp.Equal(want, got) {
			t.Errorf("%s %d: another result was loaded", what, at)
		}
	}
	for bit := range 8 * len(whole) {
		b := slices.Clone(whole)
		b[bit/8] ^= 1 << (bit % 8)
		check("bit", bit, b)
	}
	for n := range len(whole) {
		check("cut after", n, whole[:n])
		if _, err := d.Load(ctx, "k"); err == nil {
			t.Errorf("cut after %d bytes and loaded", n)
		}
	}
	check("whole", 0, whole)
	if _, err := d.Load(ctx, "k"); err != nil {
		t.Error(err)
	}
}

func TestDrawings(t *testing.T) {
	d, ctx := in(t, t.TempDir()), t.Context()
	draw := func(content string) func(string) ([]result.Output, error) {
		return func(dir string) ([]result.Output, error) {
			path := filepath.Join(dir, "overlay.dcm")
			return []result.Output{{Kind: result.KindOverlay, File: path, SOPInstanceUID: "1.2.3"}}, os.WriteFile(path, []byte(content), 0o600)
		}
	}
	// Several at once: one folder, everybody gets it.
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			out, err := d.Draw(ctx, "k", "b", draw("picture"))
			if err != nil || len(out) != 1 {
				t.Errorf("%v, %v", out, err)
				return
			}
			if b, err := os.ReadFile(out[0].File); err != nil || string(b) != "picture" {
				t.Errorf("%q, %v", b, err)
			}
		})
	}
	all.Wait()
	out, err := d.Draw(ctx, "k", "b", func(string) ([]result.Output, error) { t.Error("drawn again"); return nil, nil })
	if err != nil || len(out) != 1 || out[0].SOPInstanceUID != "1.2.3" {
		t.Errorf("%v, %v", out, err)
	}
	// A drawing without its list is none.
	if err := os.Remove(filepath.Join(filepath.Dir(out[0].File), list)); err != nil {
		t.Fatal(err)
	}
	if out, err = d.Draw(ctx, "k", "b", draw("again")); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(out[0].File); string(b) != "again" {
		t.Errorf("%q", b)
	}
	if _, err := d.Draw(ctx, "k", "other", func(string) ([]result.Output, error) { return nil, errors.New("disk full") }); err == nil {
		t.Error("no error")
	}
	if _, err := d.Drawn(ctx, "k", "other"); !errors.Is(err, ErrNotKept) {
		t.Error(err)
	}
	if _, err := d.Draw(ctx, "k", "outside", func(string) ([]result.Output, error) { return []result.Output{{File: "/etc/passwd"}}, nil }); err == nil {
		t.Error("a file elsewhere was listed")
	}
}

// What could not be drawn is kept as such, beside what was.
func TestDrawingsLeftOut(t *testing.T) {
	d, ctx := in(t, t.TempDir()), t.Context()
	want := []result.Output{{Kind: result.KindOverlay, Source: "1.2.3", LeftOut: "invalid cine"}}
	for range 2 {
		out, err := d.Draw(ctx, "k", "b", func(string) ([]result.Output, error) { return slices.Clone(want), nil })
		if err != nil || !reflect.DeepEqual(out, want) {
			t.Errorf("%+v, %v", out, err)
		}
	}
	out, err := d.Draw(ctx, "k", "with", func(dir string) ([]result.Output, error) {
		path := filepath.Join(dir, "seg.dcm")
		return append(slices.Clone(want), result.Output{Kind: result.KindSegmentation, File: path}), os.WriteFile(path, []byte("seg"), 0o600)
	})
	if err != nil || len(out) != 2 || out[0].File != "" || out[0].LeftOut != "invalid cine" {
		t.Fatalf("%+v, %v", out, err)
	}
	if b, err := os.ReadFile(out[1].File); err != nil || string(b) != "seg" {
		t.Errorf("%q, %v", b, err)
	}
}

// No damaged list of drawings is taken for a whole one, whatever bit of it has
// changed, nor a drawing that is cut, gone or changed: it is
// drawn again.
func TestNoDamagedDrawing(t *testing.T) {
	ctx := t.Context()
	d := in(t, t.TempDir())
	draw := func(dir string) ([]result.Output, error) {
		path := filepath.Join(dir, "x.dcm")
		return []result.Output{{SOPInstanceUID: "1.2.3", Kind: "overlay", File: path}}, os.WriteFile(path, []byte("picture"), 0o600)
	}
	out, err := d.Draw(ctx, "k", "b", draw)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(filepath.Dir(out[0].File), list)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for bit := range 8 * len(whole) {
		b := bytes.Clone(whole)
		b[bit/8] ^= 1 << (bit % 8)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := d.Drawn(ctx, "k", "b"); err == nil && !reflect.DeepEqual(got, out) || err != nil && !errors.Is(err, ErrNotKept) {
			t.Errorf("bit %d: %v, %v", bit, got, err)
		}
	}
	for name, harm := range map[string]func() error{
		"cut":  func() error { return os.Truncate(out[0].File, 3) },
		"gone": func() error { return os.Remove(out[0].File) },
		"bit":  func() error { return os.WriteFile(out[0].File, []byte("pibture"), 0o600) },
		"before": func() error {
			return os.WriteFile(path, []byte(`[{"sop_instance_uid":"1.2.3","file":"x.dcm"}]`), 0o600)
		},
	} {
		if err := harm(); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Drawn(ctx, "k", "b"); !errors.Is(err, ErrNotKept) {
			t.Errorf("%s: %v", name, err)
		}
		if again, err := d.Draw(ctx, "k", "b", draw); err != nil || !reflect.DeepEqual(again, out) {
			t.Errorf("%s: drawn again: %v, %v", name, again, err)
		}
		if b, err := os.ReadFile(out[0].File); err != nil || string(b) != "picture" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
}

func TestSweep(t *testing.T) {
	root := t.TempDir()
	d := in(t, root)
	if err := errors.Join(d.Save(t.Context(), "k", &result.Loop{}), os.WriteFile(filepath.Join(root, "loops", "unfinished-1"), nil, 0o600),
		d.Sweep()); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(filepath.Join(root, "loops"))
	if err != nil || len(entries) != 1 || !strings.HasPrefix(entries[0].Name(), "k") {
		t.Errorf("%v, %v", entries, err)
	}
	if err := in(t, filepath.Join(root, "none")).Sweep(); err != nil {
		t.Error(err)
	}
}

// in is a folder of kept results on this machine.
func in(t *testing.T, root string) Dir {
	t.Helper()
	files, err := objects.NewFiles(objects.NewDirectory(root), "", 0)
	if err != nil {
		t.Fatal(err)
	}
	return In(files, filepath.Join(root, "scratch"), "loops")
}

func has(t *testing.T, d Dir, key string) bool {
	t.Helper()
	there, err := d.Has(t.Context(), key)
	if err != nil {
		t.Error(err)
	}
	return there
}
