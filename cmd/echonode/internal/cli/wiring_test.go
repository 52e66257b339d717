package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/echonode/echonode/cmd/echonode/internal/config"
	"github.com/echonode/echonode/conformance/freeport"
	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/scp"
)

// startNode runs `echonode serve` in this process on a configuration beside its
// address and data directory, and returns these when the node accepts
// associations. It stops when the test ends.
func startNode(t *testing.T, configuration string) (addr, data string) {
	t.Helper()
	dir := t.TempDir()
	addr, data = freeport.Addr(t), filepath.Join(dir, "data")
	path := filepath.Join(dir, "echonode.yaml")
	configuration += fmt.Sprintf("dicom: {listen: %q}\nhttp: {listen: \"\"}\nstorage: {directory: %q, min_free: 1MiB}\n", addr, data)
	if err := os.WriteFile(path, []byte(configuration), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	p := &program{version: "0.5.0-test", out: io.Discard, err: log}
	serve := p.root()
	serve.SetArgs([]string{"serve", "-c", path})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- serve.ExecuteContext(ctx) }()
	said := func() string {
		b, _ := os.ReadFile(log.Name()) // for a message
		return string(b)
	}
	up := false
	t.Cleanup(func() {
		stop()
		if !up {
			return // its end is told
		}
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("serve: %v\n%s", err, said())
			}
		case <-time.After(3 * time.Minute):
			t.Errorf("the node does not stop\n%s", said())
		}
		log.Close()
	})
	dialer := scp.Dialer{CallingAE: "TESTER", CalledAE: "ECHONODE"}
	for deadline := time.After(3 * time.Minute); ; {
		c, err := dialer.Dial(ctx, addr, []scp.PresentationContext{{AbstractSyntax: uid.Verification, TransferSyntaxes: []string{uid.ImplicitVRLittleEndian}}})
		if err == nil {
			up = true
			c.Abort()
			return addr, data
		}
		select {
		case err := <-ended:
			t.Fatalf("serve ended: %v\n%s", err, said())
		case <-deadline:
			t.Fatalf("the node does not answer: %v\n%s", err, said())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Who reads objects has limits from the configuration, and a budget that nobody else
// takes from: pages hold what is looked at.
func TestBudgetsOfObjects(t *testing.T) {
	c, err := config.Parse([]byte("storage: {directory: data}\nmemory: {budget: 300MiB}\nanalysis: {object_timeout: 30s}\n"))
	if err != nil {
		t.Fatal(err)
	}
	one, other := objectLimits(c, "scratch"), objectLimits(c, "scratch")
	if one.Memory == nil || one.Memory == other.Memory || one.Memory.Total() != 300<<20 || one.Scratch != "scratch" || one.Video != 30*time.Second {
		t.Errorf("%+v, %+v", one, other)
	}
	for listen, want := range map[string]bool{"": false, "127.0.0.1:0": true} {
		c.Review.Listen = listen
		if showsPages(c) != want {
			t.Errorf("review.listen %q: pages %v", listen, !want)
		}
	}
}

// What the configuration promises reaches the node that `serve` runs: any
// storage class by default, of those that are known only the transfer syntaxes
// that can be decoded, the runtime's memory limit from the budget, and files
// that are nobody else's to read.
func TestServeIsWired(t *testing.T) {
	if os.Getenv("ECHONODE_ONNXRUNTIME") == "" {
		t.Skip("needs ONNX Runtime")
	}
	const vendor = "1.3.46.670589.2.4.1.1"
	t.Setenv("GOMEMLIMIT", "")
	t.Setenv("GOGC", "")
	limit, percent, mask := debug.SetMemoryLimit(-1), debug.SetGCPercent(100), unix.Umask(0)
	t.Cleanup(func() { // after the node has stopped
		debug.SetMemoryLimit(limit)
		debug.SetGCPercent(percent)
		unix.Umask(mask)
	})
	addr, data := startNode(t, "memory: {budget: 300MiB}\n")

	if got, want := debug.SetMemoryLimit(-1), int64(300<<20+runtimeBase); got != want {
		t.Errorf("the runtime's memory limit is %d, want %d", got, want)
	}
	if got := unix.Umask(0); got != 0o027 {
		t.Errorf("the node's umask is %04o, want 0027", got)
	}

	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	dialer := scp.Dialer{CallingAE: "TESTER", CalledAE: "ECHONODE"}
	client, err := dialer.Dial(ctx, addr, []scp.PresentationContext{
		{AbstractSyntax: uid.UltrasoundMultiFrameImageStorage, TransferSyntaxes: []string{uid.JPEGXL}},
		{AbstractSyntax: uid.UltrasoundMultiFrameImageStorage, TransferSyntaxes: []string{uid.JPEGBaseline8Bit}},
		{AbstractSyntax: uid.UltrasoundImageStorage, TransferSyntaxes: []string{uid.JPEGXL, uid.JPEGBaseline8Bit}},
		{AbstractSyntax: uid.TwelveLeadECGWaveformStorage, TransferSyntaxes: []string{uid.ExplicitVRLittleEndian}},
		{AbstractSyntax: vendor, TransferSyntaxes: []string{uid.ExplicitVRLittleEndian}},
		{AbstractSyntax: vendor, TransferSyntaxes: []string{uid.JPEGXL}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		class, syntax string
		want          bool
	}{
		{uid.UltrasoundMultiFrameImageStorage, uid.JPEGXL, false},
		{uid.UltrasoundMultiFrameImageStorage, uid.JPEGBaseline8Bit, true},
		{uid.UltrasoundImageStorage, uid.JPEGXL, false},
		{uid.UltrasoundImageStorage, uid.JPEGBaseline8Bit, true}, // though the other was offered first
		{uid.TwelveLeadECGWaveformStorage, uid.ExplicitVRLittleEndian, true},
		{vendor, uid.ExplicitVRLittleEndian, true},
		{vendor, uid.JPEGXL, true}, // nothing of it is decoded
	} {
		if err := client.Accepts(c.class, c.syntax); (err == nil) != c.want {
			t.Errorf("%s in %s: %v, want accepted %v", c.class, c.syntax, err, c.want)
		}
	}
	for i, class := range []string{uid.TwelveLeadECGWaveformStorage, vendor} {
		if _, err := client.Store(ctx, smallObject(t, class, fmt.Sprintf("1.2.3.%d", i+1))); err != nil {
			t.Errorf("an object of %s: %v", class, err)
		}
	}
	if err := client.Release(ctx); err != nil {
		t.Error(err)
	}

	files := 0
	err = filepath.WalkDir(data, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // taken away in the meantime
		}
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // taken away in the meantime
		}
		if err != nil {
			return err
		}
		files++
		if mode := info.Mode().Perm(); mode != 0o640 && mode != 0o600 {
			t.Errorf("%s has mode %04o", path, mode)
		}
		return nil
	})
	if err != nil || files < 4 {
		t.Errorf("%d files in the node's folder, %v", files, err)
	}
}

// smallObject is an object without pictures.
func smallObject(t *testing.T, class, instance string) scp.Object {
	t.Helper()
	ds := dicomio.NewDataSet()
	ds.SetString(tag.SOPClassUID, class)
	ds.SetString(tag.SOPInstanceUID, instance)
	ds.SetString(tag.StudyInstanceUID, "1.2.3")
	ds.SetString(tag.SeriesInstanceUID, instance+".1")
	ds.SetString(tag.PatientID, "WIRED")
	path := filepath.Join(t.TempDir(), "object.dcm")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := dicomio.Write(f, ds, dicomio.WriteOptions{TransferSyntax: uid.ExplicitVRLittleEndian}); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	o, err := scp.FileObject(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Close() })
	return o
}
