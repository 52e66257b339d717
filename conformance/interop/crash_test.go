package interop

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/pipeline/spool"
	"github.com/echonode/echonode/scp"
)

// crashRoundsEnv sets how often the receiver is killed; 200 and more make a
// proof, the default only keeps the test alive.
const crashRoundsEnv = "ECHONODE_CRASH_ROUNDS"

func crashRounds(t *testing.T) int {
	t.Helper()
	v := os.Getenv(crashRoundsEnv)
	if v == "" {
		return 6
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// receiverDir holds the compiled receiver of this run of the tests.
var receiverDir string

func TestMain(m *testing.M) {
	code := m.Run()
	if receiverDir != "" {
		os.RemoveAll(receiverDir)
	}
	os.Exit(code)
}

// buildReceiver compiles the receiver, once.
var buildReceiver = func() func(*testing.T) string {
	build := sync.OnceValues(func() (string, error) {
		var err error
		if receiverDir, err = os.MkdirTemp("", "receiver"); err != nil {
			return "", err
		}
		path := filepath.Join(receiverDir, "receiver")
		if out, err := exec.Command("go", "build", "-o", path, "./receiver").CombinedOutput(); err != nil {
			return "", fmt.Errorf("building the receiver: %w\n%s", err, out)
		}
		return path, nil
	})
	return func(t *testing.T) string {
		t.Helper()
		path, err := build()
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
}()

// receiver is a running receiver process.
type receiver struct {
	cmd    *exec.Cmd
	addr   string
	stderr bytes.Buffer
}

func startReceiver(t *testing.T, path string, args ...string) *receiver {
	t.Helper()
	r := &receiver{cmd: exec.Command(path, args...)}
	r.cmd.Stderr = &r.stderr
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.cmd.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("receiver: %v\n%s", err, &r.stderr)
	}
	r.addr = strings.TrimSpace(line)
	return r
}

// crashObject is the data set of an object number: its content follows from
// its UID, so that any process can check it.
func crashObject(n int) (uid string, data []byte) {
	r := rand.New(rand.NewPCG(uint64(n), 77))
	size := 2 * (1 + r.IntN(20000))
	if n%10 == 0 {
		size = 2 * (1 + r.IntN(1500000))
	}
	data = make([]byte, size)
	rand.NewChaCha8(sha256.Sum256([]byte(strconv.Itoa(n)))).Read(data)
	return fmt.Sprintf("%s.5.%d", instanceRoot, n), data
}

func crashNumber(t *testing.T, uid string) int {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimPrefix(uid, instanceRoot+".5."))
	if err != nil {
		t.Fatalf("foreign object %q", uid)
	}
	return n
}

// TestCrash kills the receiver at random instants during parallel sends, every
// fourth time with SIGTERM, else with SIGKILL, and starts it again on the same
// spool. Every acknowledged object must be complete; every visible file must be
// complete, acknowledged or not; nothing unfinished may survive the start.
func TestCrash(t *testing.T) {
	rounds := crashRounds(t)
	program := buildReceiver(t)
	dir := t.TempDir()
	instant := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	acknowledged := map[int]bool{}
	next, interrupted, parts := 1, 0, 0
	for round := range rounds {
		r := startReceiver(t, program, "-dir", dir, "-minfree", "-1")
		var (
			mu sync.Mutex
			wg sync.WaitGroup
		)
		ctx, cancel := context.WithCancel(context.Background())
		before := len(acknowledged)
		for range 4 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				c, err := dialer("ANY").Dial(ctx, r.addr, []scp.PresentationContext{{AbstractSyntax: usmfClass, TransferSyntaxes: []string{jpegBaseline}}})
				if err != nil {
					return
				}
				defer c.Abort()
				for {
					mu.Lock()
					n := next
					next++
					mu.Unlock()
					uid, data := crashObject(n)
					_, err := c.Store(ctx, scp.Object{SOPClassUID: usmfClass, SOPInstanceUID: uid, TransferSyntaxUID: jpegBaseline, DataSet: bytes.NewReader(data)})
					var se *scp.StatusError
					mu.Lock()
					switch {
					case err == nil:
						acknowledged[n] = true
					case errors.As(err, &se):
						t.Errorf("object %d: %v", n, err)
					default:
						interrupted++
					}
					mu.Unlock()
					if err != nil {
						return
					}
				}
			}()
		}
		// Every other time not before it is at work, however long that takes.
		taken := func() int {
			mu.Lock()
			defer mu.Unlock()
			return len(acknowledged)
		}
		for deadline := time.Now().Add(patience); round%2 == 0 && taken() == before && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Duration(5+instant.IntN(150)) * time.Millisecond)
		signal := syscall.SIGKILL
		if round%4 == 3 {
			signal = syscall.SIGTERM
		}
		if err := r.cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		if signal == syscall.SIGTERM {
			time.AfterFunc(100*time.Millisecond, cancel) // let some finish, then break off
		}
		r.cmd.Wait()
		cancel()
		wg.Wait()
		left, _ := filepath.Glob(filepath.Join(dir, "incoming", "*"))
		parts += len(left)
	}

	visible, lost := checkSpool(t, dir, acknowledged, true)
	for _, n := range lost {
		t.Errorf("object %d was acknowledged and is gone", n)
	}
	t.Logf("%d rounds: %d objects acknowledged, %d visible, %d sends interrupted, %d unfinished files swept",
		rounds, len(acknowledged), visible, interrupted, parts)
	if len(acknowledged) == 0 || interrupted == 0 {
		t.Error("the kills hit nothing")
	}
}

// checkSpool opens a spool after a crash. Every visible file must be complete,
// where the spool was synced, and nothing unfinished be left; it returns how many
// files there are and which acknowledged objects are not.
func checkSpool(t *testing.T, dir string, acknowledged map[int]bool, synced bool) (visible int, lost []int) {
	t.Helper()
	sp, err := spool.Open(dir, spool.Options{MinFree: -1, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer sp.Close()
	if left, _ := filepath.Glob(filepath.Join(dir, "incoming", "*")); len(left) != 0 {
		t.Errorf("unfinished objects after the start: %v", left)
	}
	seen := map[int]bool{}
	err = sp.Walk(func(path string) error {
		o, err := scp.FileObject(path)
		if err != nil && !synced {
			return nil // its first bytes are lost
		}
		if err != nil {
			return err
		}
		defer o.Close()
		n := crashNumber(t, o.SOPInstanceUID)
		_, want := crashObject(n)
		got, err := io.ReadAll(o.DataSet)
		if err != nil {
			return err
		}
		if !bytes.Equal(got, want) {
			if synced {
				t.Errorf("object %d: %d bytes visible, %d sent", n, len(got), len(want))
			}
			return nil
		}
		seen[n] = true
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for n := range acknowledged {
		if !seen[n] {
			lost = append(lost, n)
		}
	}
	return len(seen), lost
}

// TestPowerCut takes the disk away. The spool is on a file system in an image
// file, ext4 and XFS where their tools are installed; at a random instant the
// image is copied, which is what a disk holds when the power fails: nothing
// that the kernel has not yet written. On the copy every object acknowledged
// before must be complete. Without syncs they are gone, which shows that the
// test can fail.
func TestPowerCut(t *testing.T) {
	program := buildReceiver(t)
	rounds := crashRounds(t) / 2
	for _, tc := range []struct {
		name   string
		mkfs   string
		size   int64 // of the image; XFS wants no less
		args   []string
		rounds int
	}{
		{"ext4", "mkfs.ext4", 96 << 20, nil, rounds}, {"ext4 without syncs", "mkfs.ext4", 96 << 20, []string{"-nosync"}, 1},
		{"XFS", "mkfs.xfs", 304 << 20, nil, rounds}, {"XFS without syncs", "mkfs.xfs", 304 << 20, []string{"-nosync"}, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			mkfs := need(t, tc.mkfs)
			total, visible, lost := 0, 0, 0
			// Without syncs the system may have written by itself, some seconds after
			// the start on a slow machine: then it is tried again.
			const tries = 5
			for round := 0; round < tc.rounds || tc.args != nil && lost == 0 && round < tries; round++ {
				dir := t.TempDir()
				image, mnt := filepath.Join(dir, "image"), filepath.Join(dir, "mnt")
				f, err := os.Create(image)
				if err != nil {
					t.Fatal(err)
				}
				err = errors.Join(f.Truncate(tc.size), f.Close(), os.Mkdir(mnt, 0o700))
				if err != nil {
					t.Fatal(err)
				}
				run(t, mkfs, "-q", image)
				mount(t, image, mnt)
				r := startReceiver(t, program, append([]string{"-dir", filepath.Join(mnt, "spool"), "-minfree", "-1"}, tc.args...)...)
				acknowledged := powerCut(t, r, round*1000000, image, filepath.Join(dir, "copy"))
				if out, err := try(t, "umount", mnt); err != nil {
					t.Fatalf("umount: %v\n%s", err, out)
				}
				os.Remove(image)
				mount(t, filepath.Join(dir, "copy"), mnt)
				n, gone := checkSpool(t, filepath.Join(mnt, "spool"), acknowledged, tc.args == nil)
				total, visible, lost = total+len(acknowledged), visible+n, lost+len(gone)
				if out, err := try(t, "umount", mnt); err != nil {
					t.Fatalf("umount: %v\n%s", err, out)
				}
				os.Remove(filepath.Join(dir, "copy"))
			}
			t.Logf("%d rounds: %d objects acknowledged, %d visible, %d lost", tc.rounds, total, visible, lost)
			if total == 0 {
				t.Error("nothing was acknowledged before the cut")
			}
			if tc.args == nil && lost > 0 {
				t.Errorf("%d acknowledged objects are gone", lost)
			}
			if tc.args != nil && lost == 0 {
				t.Error("nothing was lost without syncs: the test proves nothing")
			}
		})
	}
}

func mount(t *testing.T, image, dir string) {
	t.Helper()
	if out, err := try(t, "mount", "-o", "loop", image, dir); err != nil {
		t.Skipf("mounting an image is not permitted: %v: %s", err, strings.TrimSpace(out))
	}
	t.Cleanup(func() { exec.Command("umount", "-l", dir).Run() }) // after a failure in between
}

// powerCut sends objects over three associations, stops the receiver at a
// random instant, copies the image and kills the receiver. It returns what was
// acknowledged before the copy.
func powerCut(t *testing.T, r *receiver, first int, image, to string) map[int]bool {
	t.Helper()
	var (
		mu sync.Mutex
		wg sync.WaitGroup
	)
	acknowledged := map[int]bool{}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for g := range 3 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			c, err := dialer("ANY").Dial(ctx, r.addr, []scp.PresentationContext{{AbstractSyntax: usmfClass, TransferSyntaxes: []string{jpegBaseline}}})
			if err != nil {
				return
			}
			defer c.Abort()
			for n := first + g + 1; ; n += 3 {
				uid, data := crashObject(n)
				if _, err := c.Store(ctx, scp.Object{SOPClassUID: usmfClass, SOPInstanceUID: uid, TransferSyntaxUID: jpegBaseline,
					DataSet: bytes.NewReader(data)}); err != nil {
					return
				}
				mu.Lock()
				acknowledged[n] = true
				mu.Unlock()
			}
		}()
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		mu.Lock()
		n := len(acknowledged)
		mu.Unlock()
		if n >= 3 {
			break
		}
	}
	time.Sleep(time.Duration(rand.IntN(150)) * time.Millisecond)
	if err := r.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	before := maps.Clone(acknowledged)
	mu.Unlock()
	run(t, "cp", image, to)
	r.cmd.Process.Kill()
	r.cmd.Wait()
	cancel()
	wg.Wait()
	return before
}

// TestDiskFullEndToEnd: on a full disk the answer is A700H, the association
// goes on, and what is there stays.
func TestDiskFullEndToEnd(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("mounting a tmpfs is not permitted: %v: %s", err, bytes.TrimSpace(out))
	}
	defer exec.Command("umount", "-l", dir).Run()
	for _, tc := range []struct {
		name, minFree, comment string
	}{{"disk full", "-1", "disk full"}, {"watermark", "3500000", "disk space below the watermark"}} {
		t.Run(tc.name, func(t *testing.T) {
			r := startReceiver(t, buildReceiver(t), "-dir", filepath.Join(dir, strings.ReplaceAll(tc.name, " ", "-")), "-minfree", tc.minFree)
			defer r.cmd.Process.Kill()
			ctx := timeout(t)
			c, err := dialer("ANY").Dial(ctx, r.addr, []scp.PresentationContext{
				{AbstractSyntax: usmfClass, TransferSyntaxes: []string{jpegBaseline}},
				{AbstractSyntax: uid.Verification, TransferSyntaxes: []string{uid.ImplicitVRLittleEndian}},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Abort()
			store := func(uid string, size int) (scp.StoreResult, error) {
				return c.Store(ctx, scp.Object{SOPClassUID: usmfClass, SOPInstanceUID: uid, TransferSyntaxUID: jpegBaseline, DataSet: bytes.NewReader(make([]byte, size))})
			}
			if tc.minFree == "-1" {
				if _, err := store("1.1", 1<<20); err != nil {
					t.Fatal(err)
				}
			}
			res, err := store("1.2", 8<<20)
			if err == nil || res.Status != scp.StatusOutOfResources || res.Comment != tc.comment {
				t.Errorf("big object: %+v, %v", res, err)
			}
			if err := c.Echo(ctx); err != nil {
				t.Errorf("echo after it: %v", err)
			}
			if tc.minFree == "-1" {
				if _, err := store("1.3", 100<<10); err != nil {
					t.Errorf("small object after it: %v", err)
				}
				if res, err := store("1.1", 1<<20); err != nil || res.Status != 0 {
					t.Errorf("the first object again: %+v, %v", res, err)
				}
			}
			if err := c.Release(ctx); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestFewDescriptors runs the receiver with too few descriptors for its peers
// and wants it to live on, quietly.
func TestFewDescriptors(t *testing.T) {
	path := buildReceiver(t)
	const limit = 40
	cmd := exec.Command("sh", "-c", fmt.Sprintf("ulimit -n %d; exec %s -minfree -1 -dir %s", limit, path, t.TempDir()))
	r := &receiver{cmd: cmd}
	cmd.Stderr = &r.stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("receiver: %v\n%s", err, &r.stderr)
	}
	addr := strings.TrimSpace(line)
	// Idle associations take every descriptor.
	var open []*scp.Client
	contexts := []scp.PresentationContext{{AbstractSyntax: usmfClass, TransferSyntaxes: []string{jpegBaseline}}}
	d := dialer("ANY")
	d.Timeouts.ARTIM = 2 * time.Second
	for left := 60; ; left-- {
		if left == 0 {
			t.Fatalf("the limit had no effect: %d associations", len(open))
		}
		c, err := d.Dial(timeout(t), addr, contexts)
		if err == nil {
			open = append(open, c)
			continue
		}
		// Refused for want of descriptors, not slow.
		if fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", cmd.Process.Pid)); err != nil || len(fds) >= limit {
			break
		}
	}
	if len(open) == 0 {
		t.Fatal("no association")
	}
	before := processorTime(t, cmd.Process.Pid)
	time.Sleep(2 * time.Second)
	if used := processorTime(t, cmd.Process.Pid) - before; used > 500*time.Millisecond {
		t.Errorf("%v of processor time in two seconds without descriptors", used)
	}
	// An object on an open association fails for want of a descriptor, and the
	// association goes on.
	_, err = open[0].Store(timeout(t), scp.Object{SOPClassUID: usmfClass, SOPInstanceUID: "1.2", TransferSyntaxUID: jpegBaseline,
		DataSet: bytes.NewReader(make([]byte, 1000))})
	var se *scp.StatusError
	if !errors.As(err, &se) || se.Status != scp.StatusOutOfResources {
		t.Errorf("store without descriptors: %v", err)
	}
	for _, c := range open[1:] {
		c.Abort()
	}
	_, err = open[0].Store(timeout(t), scp.Object{SOPClassUID: usmfClass, SOPInstanceUID: "1.2", TransferSyntaxUID: jpegBaseline,
		DataSet: bytes.NewReader(make([]byte, 1000))})
	for deadline := time.Now().Add(patience); err != nil && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		_, err = open[0].Store(timeout(t), scp.Object{SOPClassUID: usmfClass, SOPInstanceUID: "1.2", TransferSyntaxUID: jpegBaseline,
			DataSet: bytes.NewReader(make([]byte, 1000))})
	}
	if err != nil {
		t.Errorf("store after descriptors are back: %v", err)
	}
	open[0].Abort()
	echo(t, dialer("ANY"), addr)
}

// processorTime is the user and system time of a process.
func processorTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Skip("no /proc:", err)
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * time.Second / 100
}
