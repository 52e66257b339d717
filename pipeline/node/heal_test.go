package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/compare"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/pipeline/objects"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/pipeline/store"
	"github.com/echonode/echonode/scp"
)

// An object that is damaged or gone where it was kept is as good as new when it
// is sent again, on every kind of store; what was given up for want of it is
// analysed. Another person's object under its UID does not take its place.
func TestSentAgainHeals(t *testing.T) {
	kinds := map[string]func(dir string) *objects.Files{
		"directory": func(string) *objects.Files { return nil },
		"shared":    func(dir string) *objects.Files { return copies(t, objects.NewShared(dir)) },
		"remote":    func(dir string) *objects.Files { return copies(t, remote{objects.NewDirectory(dir)}) },
	}
	ways := map[string]func(path string) error{
		"gone":  os.Remove,
		"cut":   func(path string) error { return os.Truncate(path, 500) },
		"empty": func(path string) error { return os.Truncate(path, 0) },
		"bit": func(path string) error {
			b, err := os.ReadFile(path)
			if err == nil {
				b[len(b)-1] ^= 1
				err = os.WriteFile(path, b, 0o600)
			}
			return err
		},
	}
	for kind, open := range kinds {
		for way, harm := range ways {
			t.Run(kind+"/"+way, func(t *testing.T) {
				dir, shared, pacs := t.TempDir(), t.TempDir(), &archive{}
				p := &fakeProcessor{t: t, look: func(ctx context.Context, req LoopRequest) (Seen, error) {
					path, err := req.Objects.File(ctx, req.Path)
					if err == nil {
						_, err = dicomio.IdentifyFile(ctx, path, dicomio.Options{Strict: true})
						if err != nil && !os.IsNotExist(err) {
							err = errors.Join(objects.ErrDamaged, err)
						}
					}
					if err != nil {
						return Seen{}, err
					}
					key, err := keyOf(ctx, req, "basis")
					return Seen{Key: key}, err
				}}
				o := Options{Objects: open(shared), OnArrival: true, Attempts: 1, Idle: time.Hour, Cap: 2 * time.Hour}
				o.Destinations = []Destination{destination("pacs", listen(t, "PACS", pacs))}
				sent, other := picture(t, "1.2.3", "1.2.3.10", 7, ofPerson("P1", "Doe^Jane", "", "")),
					picture(t, "1.2.3", "1.2.3.10", 9, ofPerson("P2", "Roe^Jane", "", ""))
				again := picture(t, "1.2.3", "1.2.3.10", 7, ofPerson("P1", "Doe^Jane", "", ""))
				n := start(t, dir, &fakeProcessor{t: t, look: func(ctx context.Context, req LoopRequest) (Seen, error) {
					<-ctx.Done() // not before it is harmed
					return Seen{}, ctx.Err()
				}}, o)
				n.mustSend(t, sent)
				in, err := n.store.Instance(t.Context(), "1.2.3.10")
				if err != nil {
					t.Fatal(err)
				}
				n.stop()
				file := in.Path
				if kind == "shared" {
					file = filepath.Join(shared, file)
				}
				if err := harm(file); err != nil {
					t.Fatal(err)
				}
				o.Objects = open(shared)
				n = start(t, dir, p, o)
				eventually(t, "given up", func() bool {
					loops, err := n.store.Loops(t.Context(), "1.2.3")
					return err == nil && len(loops) == 1 && loops[0].State == store.LoopDone && loops[0].Problem != ""
				})
				var refused *scp.StatusError
				if r := n.send(t, other)[0]; !errors.As(r.Err, &refused) || refused.Status != scp.StatusDuplicateInstance {
					t.Fatalf("another person's: %+v", r)
				}
				n.mustSend(t, again)
				eventually(t, "analysed", func() bool {
					loops, err := n.store.Loops(t.Context(), "1.2.3")
					return err == nil && len(loops) == 1 && loops[0].State == store.LoopDone && loops[0].Problem == ""
				})
				now, err := n.store.Instance(t.Context(), "1.2.3.10")
				if err != nil {
					t.Fatal(err)
				}
				hold := n.Node.files.Hold()
				defer hold.Release()
				path, err := hold.File(t.Context(), now.Path)
				if err != nil {
					t.Fatal(err)
				}
				if same, err := compare.Pixels(t.Context(), sent, path, dicomio.Options{}); err != nil || !same {
					t.Errorf("not what was sent: %v, %v", same, err)
				}
				n.mustSend(t, again) // a duplicate as ever
				if later, err := n.store.Instance(t.Context(), "1.2.3.10"); err != nil || later.Path != now.Path ||
					later.Patient != result.PersonOf("P1", "", "", "", "").ID {
					t.Errorf("%+v, %v", later, err)
				}
			})
		}
	}
}

// Only what was given up for want of its object is analysed again when it is sent
// again: another problem is none of the object.
func TestOfObject(t *testing.T) {
	for problem, want := range map[string]bool{
		"":            false,
		objectMissing: true,
		objectDamaged: true,
		fmt.Errorf("look: %w", objects.ErrDamaged).Error():                  true,
		(&fs.PathError{Op: "open", Path: "x", Err: syscall.ENOENT}).Error(): true,
		fmt.Errorf("get x: %w", fs.ErrNotExist).Error():                     true,
		"the analysis panicked: index out of range":                         false,
		"not analysed within 10m0s":                                         false,
		"the process ended 3 times while this object was analysed":          false,
		(&fs.PathError{Op: "open", Path: "x", Err: syscall.EIO}).Error():    false,
	} {
		if got := ofObject(problem); got != want {
			t.Errorf("%q: %v", problem, got)
		}
	}
}

// A duplicate of an object whose analysis had a problem of its own changes nothing.
func TestSentAgainWithAProblem(t *testing.T) {
	p := &fakeProcessor{t: t, look: func(ctx context.Context, req LoopRequest) (Seen, error) {
		key, err := keyOf(ctx, req, "basis")
		return Seen{Key: key, Problem: "the analysis panicked: x"}, err
	}}
	n := start(t, t.TempDir(), p, Options{Objects: copies(t, remote{objects.NewDirectory(t.TempDir())}), OnArrival: true, Idle: time.Hour, Cap: 2 * time.Hour})
	object := picture(t, "1.2.3", "1.2.3.10", 7, ofPerson("P1", "Doe^Jane", "", ""))
	n.mustSend(t, object)
	state := func() (l store.Loop) {
		t.Helper()
		loops, err := n.store.Loops(t.Context(), "1.2.3")
		if err != nil || len(loops) != 1 {
			t.Fatalf("%+v, %v", loops, err)
		}
		return loops[0]
	}
	eventually(t, "analysed", func() bool { return state().State == store.LoopDone })
	was := state()
	n.mustSend(t, object)
	if now := state(); now != was {
		t.Errorf("%+v, was %+v", now, was)
	}
}

// gated is a store whose objects wait, while it is shut, before they are put.
type gated struct {
	objects.Store
	shut atomic.Bool
	skip atomic.Int32 // so many go through all the same
	came chan struct{}
	open chan struct{}
}

func (g *gated) Put(ctx context.Context, name string, r io.ReadSeeker, size int64) error {
	if g.shut.Load() && g.skip.Add(-1) < 0 {
		g.came <- struct{}{}
		<-g.open
	}
	return g.Store.Put(ctx, name, r, size)
}

// Nobody waits for an object while a move takes its new version to the store.
func TestMoveHoldsNobodyUp(t *testing.T) {
	g := &gated{Store: objects.NewDirectory(t.TempDir()), came: make(chan struct{}, 10), open: make(chan struct{})}
	n := start(t, t.TempDir(), byContent(t), Options{Objects: copies(t, g), Idle: time.Hour, Cap: 2 * time.Hour})
	n.mustSend(t, picture(t, "1.2.3", "1.2.3.10", 7, nil))
	g.shut.Store(true)
	moved := make(chan error, 1)
	go func() {
		_, err := n.MoveStudy(context.Background(), "1.2.3", Move{To: Patient{ID: "P2"}, Reason: ReasonCorrect})
		moved <- err
	}()
	<-g.came
	g.shut.Store(false)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	unlock, err := n.objects.Lock(ctx, "1.2.3.10")
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	close(g.open)
	if err := <-moved; err != nil {
		t.Fatal(err)
	}
	if in, err := n.store.Instance(t.Context(), "1.2.3.10"); err != nil || in.Patient != result.PersonOf("P2", "", "", "", "").ID {
		t.Errorf("%+v, %v", in, err)
	}
}

// New versions that take more than an hour on their way to a shared store look
// like what a dead process has left, and are swept: nothing is lost by that.
func TestSlowMoveLosesNothing(t *testing.T) {
	dir := t.TempDir()
	g := &gated{Store: objects.NewDirectory(dir), came: make(chan struct{}, 10), open: make(chan struct{})}
	n := start(t, t.TempDir(), byContent(t), Options{Objects: copies(t, g), Idle: time.Hour, Cap: 2 * time.Hour})
	n.mustSend(t, picture(t, "1.2.3", "1.2.3.10", 7, nil), picture(t, "1.2.3", "1.2.3.11", 8, nil))
	g.skip.Store(1)
	g.shut.Store(true)
	moved := make(chan error, 1)
	go func() {
		_, err := n.MoveStudy(context.Background(), "1.2.3", Move{To: Patient{ID: "P2"}, Reason: ReasonCorrect})
		moved <- err
	}()
	<-g.came
	g.shut.Store(false)
	recorded := map[string]bool{}
	for _, id := range []string{"1.2.3.10", "1.2.3.11"} {
		in, err := n.store.Instance(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		recorded[filepath.Base(in.Path)] = true
	}
	aged := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || recorded[d.Name()] {
			return err
		}
		aged++
		then := time.Now().Add(-2 * time.Hour)
		return os.Chtimes(path, then, then)
	})
	if err != nil || aged == 0 {
		t.Fatal(aged, err)
	}
	if err := n.recoverOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	left := 0
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !recorded[d.Name()] {
			left++
		}
		return err
	})
	if err != nil || left != aged {
		t.Errorf("%d of %d versions on their way are left, %v: the move has to start over", left, aged, err)
	}
	close(g.open)
	if err := <-moved; err != nil {
		t.Error(err)
	}
	for _, id := range []string{"1.2.3.10", "1.2.3.11"} {
		in, err := n.store.Instance(t.Context(), id)
		if err != nil || in.Patient != result.PersonOf("P2", "", "", "", "").ID {
			t.Errorf("%+v, %v", in, err)
		}
		if _, err := n.Node.files.Stat(t.Context(), in.Path); err != nil {
			t.Error(err)
		}
	}
}

// A database that is away is not asked for interrupted loops without a pause.
func TestSuspectsWait(t *testing.T) {
	st, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "node.db"))
	if err == nil {
		err = st.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		n := &Node{store: st, log: slog.New(slog.DiscardHandler)}
		began := time.Now()
		n.lookAtSuspects(t.Context())
		if pause := time.Since(began); pause != time.Second { // of the bubble's clock
			t.Errorf("it asks again after %v", pause)
		}
		if !n.suspects.Load() {
			t.Error("the interrupted loops are forgotten")
		}
	})
}

// Results are swept of studies that are not recorded, as they are at that
// moment; where another process looks through the store this one does not.
func TestSweepLooksAgain(t *testing.T) {
	n := start(t, t.TempDir(), &fakeProcessor{t: t}, Options{Objects: copies(t, remote{objects.NewDirectory(t.TempDir())}), Idle: time.Hour, Cap: 2 * time.Hour})
	n.mustSend(t, writeObject(t, t.TempDir(), "1.2.3", "1.2.3.10", nil))
	put := func(study string) string {
		t.Helper()
		name := n.Node.files.Name(resultsFolder, studyFolder(study), "1", "x")
		if err := n.Node.files.Put(t.Context(), name, strings.NewReader("x"), 1); err != nil {
			t.Fatal(err)
		}
		return name
	}
	there := func(name string) bool {
		_, err := n.Node.files.Stat(t.Context(), name)
		return err == nil
	}
	// What it does by itself at its start is done, or comes too late.
	unlock, err := n.recovering.Lock(t.Context(), "recover")
	if err != nil {
		t.Fatal(err)
	}
	known, unknown := put("1.2.3"), put("9.9")
	folders := []objects.Entry{{Name: n.studyResults("1.2.3"), Base: studyFolder("1.2.3")}}
	if err := n.sweepStudies(t.Context(), folders, n.recordedFolders); err != nil || !there(known) {
		t.Errorf("results of a study that was recorded meanwhile are swept, %v", err)
	}
	if err := n.recoverOnce(t.Context()); err != nil || !there(unknown) {
		t.Errorf("two look through the store, %v", err)
	}
	unlock()
	if err := n.recoverOnce(t.Context()); err != nil || there(unknown) || !there(known) {
		t.Errorf("%v; left %v, kept %v", err, there(unknown), there(known))
	}
}

// However many folders are left behind, all studies are listed a few times.
func TestSweepListsLittle(t *testing.T) {
	n := start(t, t.TempDir(), &fakeProcessor{t: t}, Options{Objects: copies(t, remote{objects.NewDirectory(t.TempDir())}), Idle: time.Hour, Cap: 2 * time.Hour})
	const folders = 3 * sweptAtOnce
	for i := range folders {
		name := n.Node.files.Name(resultsFolder, studyFolder(fmt.Sprint("8.", i)), "1", "x")
		if err := n.Node.files.Put(t.Context(), name, strings.NewReader("x"), 1); err != nil {
			t.Fatal(err)
		}
	}
	lists := 0
	if err := n.sweepFolders(t.Context(), func(ctx context.Context) (map[string]bool, error) { lists++; return n.recordedFolders(ctx) }); err != nil {
		t.Fatal(err)
	}
	if lists > 1+folders/sweptAtOnce {
		t.Errorf("%d lists of all studies for %d folders", lists, folders)
	}
	for e, err := range objects.Walk(t.Context(), n.Node.files, n.Node.files.Name(resultsFolder)) {
		t.Errorf("left: %v, %v", e, err)
	}
}

// Another picture does not take the place of a damaged one, be it of the same
// size, study and person; the same does, and one that is refused changes nothing.
func TestAnotherPictureDoesNotHeal(t *testing.T) {
	noise := func(seed byte, bytes int) string {
		return picture(t, "1.2.3", "1.2.3.10", seed, func(ds *dicomio.DataSet) {
			b := make([]byte, bytes)
			x := uint32(seed)
			for i := range b {
				x = x*1664525 + 1013904223
				b[i] = 'A' + byte(x>>24)%26
			}
			ds.SetString(tag.ImageComments, string(b))
		})
	}
	sent := noise(7, 8000)
	bits := func(path string) error {
		b, err := os.ReadFile(path)
		if err == nil {
			for i := range 8 {
				b[len(b)-40+i] ^= 0x10
			}
			err = os.WriteFile(path, b, 0o600)
		}
		return err
	}
	for name, tc := range map[string]struct {
		harm func(path string) error
		send string
		heal bool
	}{
		"cut, another":                 {func(p string) error { return os.Truncate(p, 6000) }, noise(9, 8000), false},
		"cut, another of another size": {func(p string) error { return os.Truncate(p, 6000) }, noise(9, 8100), false},
		"gone, another size":           {os.Remove, noise(9, 8100), false},
		"gone, another":                {os.Remove, noise(9, 8000), false},
		"bits, another":                {bits, noise(9, 8000), false},
		"bits, the same":               {bits, sent, true},
		"cut, the same":                {func(p string) error { return os.Truncate(p, 6000) }, sent, true},
		"gone, the same":               {os.Remove, sent, true},
	} {
		t.Run(name, func(t *testing.T) {
			n := start(t, t.TempDir(), &fakeProcessor{t: t}, Options{Idle: time.Hour, Cap: 2 * time.Hour})
			n.mustSend(t, sent)
			in, err := n.store.Instance(t.Context(), "1.2.3.10")
			if err == nil {
				err = tc.harm(in.Path)
			}
			if err != nil {
				t.Fatal(err)
			}
			var refused *scp.StatusError
			r := n.send(t, tc.send)[0]
			if healed := r.Err == nil; healed != tc.heal || !healed && (!errors.As(r.Err, &refused) || refused.Status != scp.StatusDuplicateInstance) {
				t.Fatalf("%+v", r)
			}
			now, err := n.store.Instance(t.Context(), "1.2.3.10")
			if err != nil || !tc.heal && now.Path != in.Path {
				t.Errorf("%+v, %v", now, err)
			}
			n.mustSend(t, sent) // the true one takes its place, or is there
		})
	}
}

// Of a damaged object a correction of the same size is taken, as far as what is left
// says the same: its picture cannot be compared.
func TestCorrectionOfADamagedObject(t *testing.T) {
	version := func(series string) string {
		return picture(t, "1.2.3", "1.2.3.10", 7, func(ds *dicomio.DataSet) {
			b := make([]byte, 10000)
			for i, x := 0, uint32(7); i < len(b); i++ {
				x = x*1664525 + 1013904223
				b[i] = 'A' + byte(x>>24)%26
			}
			ds.SetString(tag.SeriesDescription, series).SetString(tag.ImageComments, string(b))
		})
	}
	n := start(t, t.TempDir(), &fakeProcessor{t: t}, Options{Idle: time.Hour, Cap: 2 * time.Hour})
	n.mustSend(t, version("apical 1"))
	was, err := n.store.Instance(t.Context(), "1.2.3.10")
	if err == nil {
		err = os.Truncate(was.Path, 8000)
	}
	if err != nil {
		t.Fatal(err)
	}
	n.mustSend(t, version("apical 2"))
	is, err := n.store.Instance(t.Context(), "1.2.3.10")
	if err != nil || is.Sum == was.Sum || is.Corrections != was.Corrections+1 {
		t.Errorf("%+v, %v", is, err)
	}
	f, err := dicomio.Open(is.Path, dicomio.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got := f.DataSet.String(tag.SeriesDescription); got != "apical 2" || f.Truncated() != nil {
		t.Errorf("%q is stored, %v", got, f.Truncated())
	}
}

// Every kind of store is compared with what was received, object by object: what
// is damaged or missing is told, what is not known is counted.
func TestVerify(t *testing.T) {
	shared, far := t.TempDir(), t.TempDir()
	for kind, open := range map[string]func() *objects.Files{
		"directory": func() *objects.Files { return nil },
		"shared":    func() *objects.Files { return copies(t, objects.NewShared(shared)) },
		"remote":    func() *objects.Files { return copies(t, remote{objects.NewDirectory(far)}) },
	} {
		t.Run(kind, func(t *testing.T) {
			n := start(t, t.TempDir(), &fakeProcessor{t: t}, Options{Objects: open(), Idle: time.Hour, Cap: 2 * time.Hour})
			var sent []string
			for i := range 6 {
				sent = append(sent, picture(t, "1.2.3", fmt.Sprint("1.2.3.1", i), byte(i), nil))
			}
			n.mustSend(t, sent...)
			at := func(sop string) (path string) {
				t.Helper()
				in, err := n.store.Instance(t.Context(), sop)
				if err != nil {
					t.Fatal(err)
				}
				if kind == "shared" {
					return filepath.Join(shared, in.Path)
				}
				return in.Path
			}
			all := func() (v Verified) {
				t.Helper()
				v, err := n.Verify(t.Context(), "", false)
				if err != nil || v.Next != "" {
					t.Fatalf("%+v, %v", v, err)
				}
				return v
			}
			if v := all(); v.Objects != 6 || v.Bytes == 0 || v.Unknown != 0 || len(v.Damaged) != 0 {
				t.Errorf("whole: %+v", v)
			}
			b, err := os.ReadFile(at("1.2.3.11"))
			if err == nil {
				b[len(b)-1] ^= 1
				err = os.WriteFile(at("1.2.3.11"), b, 0o600)
			}
			if err := errors.Join(err, os.Remove(at("1.2.3.13")), os.Truncate(at("1.2.3.14"), 200), os.Remove(at("1.2.3.15")),
				syscall.Mkfifo(at("1.2.3.15"), 0o600)); err != nil { // nobody will ever write to it
				t.Fatal(err)
			}
			var got []string
			for _, d := range all().Damaged {
				got = append(got, d.Reason+" "+d.StudyInstanceUID+" "+d.SOPInstanceUID)
			}
			if want := "damaged 1.2.3 1.2.3.11, missing 1.2.3 1.2.3.13, damaged 1.2.3 1.2.3.14, missing 1.2.3 1.2.3.15"; strings.Join(got, ", ") != want {
				t.Errorf("%q, want %q", got, want)
			}
			if v, err := n.Verify(t.Context(), "1.2.3.13", false); err != nil || v.Objects != 2 || len(v.Damaged) != 2 {
				t.Errorf("behind the missing one: %+v, %v", v, err)
			}
			n.mustSend(t, sent...)
			if v := all(); v.Objects != 6 || len(v.Damaged) != 0 {
				t.Errorf("sent again: %+v", v)
			}
		})
	}
}

// Objects that a program of before has stored without a checksum get one: when the
// same comes again, or when somebody asks for it. Then it is noticed that they
// change.
func TestSumsAreLearnt(t *testing.T) {
	for name, learn := range map[string]func(t *testing.T, n *running, sent []string){
		"sent again": func(t *testing.T, n *running, sent []string) { n.mustSend(t, sent...) },
		"recorded": func(t *testing.T, n *running, _ []string) {
			v, err := n.Verify(t.Context(), "", true)
			if err != nil || v.Objects != 3 || v.Unknown != 2 || v.Recorded != 2 {
				t.Errorf("%+v, %v", v, err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := start(t, t.TempDir(), &fakeProcessor{t: t}, Options{Idle: time.Hour, Cap: 2 * time.Hour})
			var sent []string
			for i := range 3 {
				sent = append(sent, picture(t, "1.2.3", fmt.Sprint("1.2.3.1", i), byte(i), nil))
			}
			n.mustSend(t, sent...)
			instances := func() []store.Instance {
				t.Helper()
				all, err := n.store.Instances(t.Context(), "1.2.3")
				if err != nil || len(all) != 3 {
					t.Fatalf("%+v, %v", all, err)
				}
				return all
			}
			want := map[string]string{}
			for i, in := range instances() {
				want[in.SOPInstanceUID] = in.Sum
				if i < 2 {
					in.Sum = ""
					if _, err := n.store.Replace(t.Context(), in); err != nil {
						t.Fatal(err)
					}
				}
			}
			v, err := n.Verify(t.Context(), "", false)
			if err != nil || v.Objects != 3 || v.Unknown != 2 || v.Recorded != 0 {
				t.Fatalf("before: %+v, %v", v, err)
			}
			learn(t, n, sent)
			for _, in := range instances() {
				if in.Sum == "" || in.Sum != want[in.SOPInstanceUID] {
					t.Errorf("%s: sum %q, want %q", in.SOPInstanceUID, in.Sum, want[in.SOPInstanceUID])
				}
			}
			in := instances()[0]
			b, err := os.ReadFile(in.Path)
			if err == nil {
				b[len(b)-1] ^= 1
				err = os.WriteFile(in.Path, b, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			if v, err = n.Verify(t.Context(), "", true); err != nil || v.Unknown != 0 || len(v.Damaged) != 1 {
				t.Errorf("after: %+v, %v", v, err)
			}
		})
	}
}

// combining is a processor that says, while it makes the outputs of a run, what the
// files of the run's loops are.
type combining struct {
	*fakeProcessor
	mu   sync.Mutex
	runs []map[string]error
}

func (c *combining) Process(ctx context.Context, req Request) (*result.Document, error) {
	files := map[string]error{}
	for _, l := range req.Loops {
		_, files[l.SOPInstanceUID] = l.Objects.File(ctx, l.Path)
	}
	c.mu.Lock()
	c.runs = append(c.runs, files)
	c.mu.Unlock()
	return c.fakeProcessor.Process(ctx, req)
}

// What a run makes is filed under what a stored object's header says. An object
// that is another than was received, by one bit of the Patient ID or because two
// files have changed places, is not used for it: it is given up with the reason,
// and as good as new when it is sent again.
func TestRunUsesNoHarmedObject(t *testing.T) {
	shared := t.TempDir()
	for kind, open := range map[string]func() *objects.Files{
		"directory": func() *objects.Files { return nil },
		"shared":    func() *objects.Files { return copies(t, objects.NewShared(shared)) },
	} {
		t.Run(kind, func(t *testing.T) {
			p := &combining{fakeProcessor: &fakeProcessor{t: t, look: func(ctx context.Context, req LoopRequest) (Seen, error) {
				key, err := keyOf(ctx, req, "basis")
				return Seen{Key: key}, err
			}}}
			n := start(t, t.TempDir(), p, Options{Objects: open(), OnArrival: true, Attempts: 1})
			at := func(sop string) string {
				t.Helper()
				in, err := n.store.Instance(t.Context(), sop)
				if err != nil {
					t.Fatal(err)
				}
				if kind == "shared" {
					return filepath.Join(shared, in.Path)
				}
				return in.Path
			}
			done := func(study string, revision int) {
				t.Helper()
				eventually(t, fmt.Sprintf("run %d of %s", revision, study), func() bool {
					s := n.status(t, study)
					return s.Revision >= revision && s.State == store.Done
				})
			}
			jane, mary := ofPerson("P1", "Doe^Jane", "", ""), ofPerson("P2", "Roe^Mary", "", "")
			flipped := picture(t, "1.2.3", "1.2.3.11", 2, jane)
			n.mustSend(t, picture(t, "1.2.3", "1.2.3.10", 1, jane), flipped, picture(t, "1.2.3", "1.2.3.12", 3, jane))
			n.mustSend(t, picture(t, "1.2.4", "1.2.4.10", 4, mary))
			done("1.2.3", 1)
			done("1.2.4", 1)
			// Doe's second object gets another Patient ID, the third changes places with Roe's.
			b, err := os.ReadFile(at("1.2.3.11"))
			if err != nil {
				t.Fatal(err)
			}
			changed := bytes.Replace(b, []byte("P1"), []byte("P0"), 1)
			if err := os.WriteFile(at("1.2.3.11"), changed, 0o600); err != nil || bytes.Equal(b, changed) {
				t.Fatal("nothing changed", err)
			}
			aside := at("1.2.4.10") + ".aside"
			if err := errors.Join(os.Rename(at("1.2.4.10"), aside), os.Rename(at("1.2.3.12"), at("1.2.4.10")), os.Rename(aside, at("1.2.3.12"))); err != nil {
				t.Fatal(err)
			}
			// One that comes late makes a run necessary.
			n.mustSend(t, picture(t, "1.2.3", "1.2.3.13", 5, jane))
			done("1.2.3", 2)
			p.mu.Lock()
			last := p.runs[len(p.runs)-1]
			p.mu.Unlock()
			for sop, want := range map[string]bool{"1.2.3.10": true, "1.2.3.11": false, "1.2.3.12": false, "1.2.3.13": true} {
				if err, there := last[sop]; !there || (err == nil) != want || !want && !errors.Is(err, objects.ErrDamaged) {
					t.Errorf("%s: %v, %v", sop, there, err)
				}
			}
			p.fakeProcessor.mu.Lock()
			gaveUp := slices.Sorted(slices.Values(p.gaveUp))
			p.fakeProcessor.mu.Unlock()
			if want := []string{"1.2.3.11: " + objectDamaged, "1.2.3.12: " + objectDamaged}; !slices.Equal(gaveUp, want) {
				t.Errorf("given up: %q", gaveUp)
			}
			n.mustSend(t, flipped)
			eventually(t, "healed", func() bool {
				p.mu.Lock()
				defer p.mu.Unlock()
				err, there := p.runs[len(p.runs)-1]["1.2.3.11"]
				return there && err == nil
			})
		})
	}
}

// selfLink makes a file unreadable for everybody, root too: a link to itself.
func selfLink(path string) error {
	return errors.Join(os.Remove(path), os.Symlink(path, path))
}

// unreadableHead makes the first bytes of a file an input/output error.
func unreadableHead(path string) error {
	return errors.Join(os.Remove(path), os.Symlink("/proc/self/mem", path))
}

// What cannot be read keeps nothing from the objects behind it, is told apart
// from damage, and heals when the same is sent again; another version waits, as
// nobody knows of what it is a correction.
func TestUnreadable(t *testing.T) {
	for name, harm := range map[string]func(string) error{"file": selfLink, "head": unreadableHead} {
		t.Run(name, func(t *testing.T) {
			n := start(t, t.TempDir(), &fakeProcessor{t: t}, Options{Idle: time.Hour, Cap: 2 * time.Hour})
			sent := picture(t, "1.2.3", "1.2.3.11", 8, ofPerson("P1", "Doe^Jane", "", ""))
			n.mustSend(t, picture(t, "1.2.3", "1.2.3.10", 7, nil), sent, picture(t, "1.2.3", "1.2.3.12", 9, nil))
			path := func(sop string) string {
				t.Helper()
				in, err := n.store.Instance(t.Context(), sop)
				if err != nil {
					t.Fatal(err)
				}
				return in.Path
			}
			was := path("1.2.3.11")
			if err := errors.Join(harm(was), os.Remove(path("1.2.3.12"))); err != nil {
				t.Fatal(err)
			}
			v, err := n.Verify(t.Context(), "", false)
			want := []Damaged{{"1.2.3", "1.2.3.11", "unreadable"}, {"1.2.3", "1.2.3.12", "missing"}}
			if err != nil || v.Objects != 3 || v.Next != "" || !slices.Equal(v.Damaged, want) {
				t.Errorf("%+v, %v", v, err)
			}
			if m, err := n.MoveStudy(t.Context(), "1.2.3", Move{To: Patient{ID: "P2"}, Reason: ReasonCorrect, AllPersons: true}); err == nil || m.Objects != 0 {
				t.Errorf("moved: %+v, %v", m, err)
			}
			var refused *scp.StatusError
			corrected := picture(t, "1.2.3", "1.2.3.11", 8, ofPerson("P1", "Roe^Jane", "", ""))
			if r := n.send(t, corrected)[0]; !errors.As(r.Err, &refused) || refused.Status != scp.StatusOutOfResources {
				t.Errorf("a correction: %+v", r)
			}
			n.mustSend(t, sent)
			if v, err := n.Verify(t.Context(), "1.2.3.10", false); err != nil || v.Objects != 2 || !slices.Equal(v.Damaged, want[1:]) {
				t.Errorf("sent again: %+v, %v", v, err)
			}
			if now := path("1.2.3.11"); now == was {
				t.Error("it is where it cannot be read")
			}
			if _, err := os.Lstat(was); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("what cannot be read is left: %v", err)
			}
			n.mustSend(t, corrected)
		})
	}
}

// A bit of the head that is not what was received is damage as one of the data
// set is: told, not analysed, not moved, and healed.
func TestDamagedHead(t *testing.T) {
	for what, value := range map[string]string{"transfer syntax": uid.ExplicitVRLittleEndian + "\x00", "object": "1.2.3.10"} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			wait := &fakeProcessor{t: t, look: func(ctx context.Context, _ LoopRequest) (Seen, error) { <-ctx.Done(); return Seen{}, ctx.Err() }}
			n := start(t, dir, wait, Options{OnArrival: true, Idle: time.Hour, Cap: 2 * time.Hour})
			sent := picture(t, "1.2.3", "1.2.3.10", 7, nil)
			n.mustSend(t, sent)
			in, err := n.store.Instance(t.Context(), "1.2.3.10")
			if err != nil {
				t.Fatal(err)
			}
			n.stop()
			b, err := os.ReadFile(in.Path)
			if err != nil {
				t.Fatal(err)
			}
			at := bytes.Index(b, []byte(value))
			b[at+len(value)-2] ^= 3 // 1 and 2
			if err := os.WriteFile(in.Path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			looked := make(chan struct{}, 100)
			p := &fakeProcessor{t: t, look: func(ctx context.Context, req LoopRequest) (Seen, error) {
				looked <- struct{}{}
				key, err := keyOf(ctx, req, "basis")
				return Seen{Key: key}, err
			}}
			n = start(t, dir, p, Options{OnArrival: true, Attempts: 1, Idle: time.Hour, Cap: 2 * time.Hour})
			v, err := n.Verify(t.Context(), "", false)
			if err != nil || len(v.Damaged) != 1 || v.Damaged[0].Reason != "damaged" {
				t.Errorf("%+v, %v", v, err)
			}
			loop := func() store.Loop {
				t.Helper()
				loops, err := n.store.Loops(t.Context(), "1.2.3")
				if err != nil || len(loops) != 1 {
					t.Fatal(loops, err)
				}
				return loops[0]
			}
			eventually(t, "given up", func() bool { return loop().State == store.LoopDone })
			if !ofObject(loop().Problem) || len(looked) != 0 {
				t.Errorf("looked at %d times, problem %q", len(looked), loop().Problem)
			}
			n.mustSend(t, sent)
			eventually(t, "analysed", func() bool { return loop().State == store.LoopDone && loop().Problem == "" })
			if v, err := n.Verify(t.Context(), "", false); err != nil || len(v.Damaged) != 0 {
				t.Errorf("sent again: %+v, %v", v, err)
			}
		})
	}
}

// What is damaged is not moved: written anew it would pass for what was received.
func TestDamagedIsNotMoved(t *testing.T) {
	for _, kind := range []string{"directory", "shared"} {
		for harmed, harm := range map[string]func(string) error{
			"bit": func(path string) error {
				b, err := os.ReadFile(path)
				if err == nil {
					b[len(b)-1] ^= 1
					err = os.WriteFile(path, b, 0o600)
				}
				return err
			},
			"cut":  func(path string) error { return os.Truncate(path, 600) },
			"gone": os.Remove,
		} {
			t.Run(kind+" "+harmed, func(t *testing.T) {
				shared := t.TempDir()
				var files *objects.Files
				if kind == "shared" {
					files = copies(t, objects.NewShared(shared))
				}
				n := start(t, t.TempDir(), byContent(t), Options{Objects: files, Idle: time.Hour, Cap: 2 * time.Hour})
				sent := picture(t, "1.2.3", "1.2.3.10", 7, ofPerson("P1", "Doe^Jane", "", ""))
				n.mustSend(t, sent, picture(t, "1.2.3", "1.2.3.11", 8, ofPerson("P1", "Doe^Jane", "", "")))
				in, err := n.store.Instance(t.Context(), "1.2.3.10")
				if err != nil {
					t.Fatal(err)
				}
				path := in.Path
				if kind == "shared" {
					path = filepath.Join(shared, path)
				}
				if err := harm(path); err != nil {
					t.Fatal(err)
				}
				order := Move{To: Patient{ID: "P2"}, Reason: ReasonCorrect}
				m, err := n.MoveStudy(t.Context(), "1.2.3", order)
				if !errors.As(err, new(conflict)) || !strings.Contains(err.Error(), "1.2.3.10") || m.Objects != 0 {
					t.Errorf("%+v, %v", m, err)
				}
				if v, err := n.Verify(t.Context(), "", false); err != nil || len(v.Damaged) != 1 {
					t.Errorf("%+v, %v", v, err)
				}
				n.mustSend(t, sent)
				if m, err := n.MoveStudy(t.Context(), "1.2.3", order); err != nil || m.Objects != 2 {
					t.Errorf("when it is whole: %+v, %v", m, err)
				}
				if v, err := n.Verify(t.Context(), "", false); err != nil || v.Objects != 2 || len(v.Damaged) != 0 {
					t.Errorf("after the move: %+v, %v", v, err)
				}
			})
		}
	}
}
