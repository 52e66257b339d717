package dicomio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"io/fs"
	"os"
	"syscall"
	"testing"

	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
)

// Only what an input is itself the reason for is said of it.
func TestOfInput(t *testing.T) {
	stale := &fs.PathError{Op: "read", Path: "1.2.3.dcm", Err: syscall.ESTALE}
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{fail("frames", tag.PixelData, 8, ErrTruncated, ""), true},
		{fmt.Errorf("frame 3: %w", fail("jpeg", tag.PixelData, 8, ErrCodestream, "no scan")), true},
		{&Error{Op: "video", Err: fmt.Errorf("%w: its decoder took more than 5m: %w", ErrLimit, context.DeadlineExceeded)}, true},
		{&Error{Op: "frames", Err: stale}, false},
		{&Error{Op: "video", Err: fmt.Errorf("%w: %w", ErrUnsupported, &fs.PathError{Op: "fork/exec", Path: "ffmpeg", Err: syscall.EAGAIN})}, false},
		{&Error{Op: "video", Err: os.NewSyscallError("pipe2", syscall.EMFILE)}, false},
		{&Error{Op: "frames", Err: ErrBusy}, false},
		{&Error{Op: "frames", Err: context.Canceled}, false},
		{&Error{Op: "frames", Err: context.DeadlineExceeded}, false},
		{errors.New("something else"), false},
	} {
		if got := OfInput(c.err); got != c.want {
			t.Errorf("%v: %v", c.err, got)
		}
	}
}

// failing cannot be read from an offset on.
type failing struct {
	io.ReaderAt
	from int64
	err  error
}

func (f *failing) ReadAt(b []byte, off int64) (int, error) {
	if f.err != nil && off+int64(len(b)) > f.from {
		return 0, f.err
	}
	return f.ReaderAt.ReadAt(b, off)
}

// What cannot be read at the moment is no word on the input, whatever it is read for:
// its elements, the compressed data set, a frame, or to be written in another encoding.
func TestReadErrorsPass(t *testing.T) {
	stale := &fs.PathError{Op: "read", Path: "1.2.3.dcm", Err: syscall.ESTALE}
	check := func(t *testing.T, what string, err error) {
		t.Helper()
		if err == nil || OfInput(err) || !errors.Is(err, syscall.ESTALE) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, name := range fixtures(t) {
		t.Run(name, func(t *testing.T) {
			b := fixture(t, name)
			for _, from := range []int64{0, int64(len(b)) - 1} {
				src := &failing{ReaderAt: bytes.NewReader(b), from: from, err: stale}
				f, err := Read(src, int64(len(b)), Options{})
				if err == nil {
					var frames *FrameReader
					if frames, err = f.Frames(); err == nil {
						err = frames.RGB(frames.Len()-1, new(image.RGBA))
					}
				}
				check(t, fmt.Sprintf("from %d on", from), err)
			}
			src := &failing{ReaderAt: bytes.NewReader(b)}
			f, err := Read(src, int64(len(b)), Options{})
			if err != nil {
				t.Fatal(err)
			}
			frames, err := f.Frames()
			if err != nil {
				t.Fatal(err)
			}
			src.err = stale
			if f.Syntax.Deflated {
				return // it is held
			}
			check(t, "a frame", frames.RGB(0, new(image.RGBA)))
			check(t, "another encoding", f.Transcode(io.Discard, WriteOptions{TransferSyntax: uid.ExplicitVRBigEndian}))
		})
	}
}
