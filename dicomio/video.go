package dicomio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/echonode/echonode/dicomio/uid"
)

// video decodes MPEG-2, H.264 and HEVC streams with an ffmpeg process: the
// stream goes in over a pipe, raw frames come out over another. Frames are
// decoded in order; asking for an earlier one starts the process anew, and so
// does changing between gray and colour. Time, memory and threads of the
// process are bounded, and it may open no files and no network.
//
// A process belongs to its file: it ends with the file's context and when the
// file is closed, and while it runs it holds its part of Limits.Memory.
type video struct {
	r *FrameReader

	mu     sync.Mutex
	proc   *videoProcess
	closed bool
}

// videoProcess is a running decoder.
type videoProcess struct {
	gray   bool
	next   int // frame that comes out next
	out    io.ReadCloser
	stderr *tailBuffer
	cancel context.CancelFunc
	wait   func() error
	timer  *time.Timer
}

// tailBuffer keeps the beginning of what a process complains about.
type tailBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer; it never fails.
func (t *tailBuffer) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if room := 2048 - t.b.Len(); room > 0 {
		t.b.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// line is the text as one line for people.
func (t *tailBuffer) line() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return cleanComplaint(t.b.String())
}

// videoIdle ends a decoder that nobody reads from.
const videoIdle = 30 * time.Second

// videoWait is how long the pipes of a decoder that was killed may stay open.
const videoWait = time.Second

// videoMemory bounds the address space of a decoder, libraries included.
const videoMemory = 2 << 30

// newVideo makes a decoder for a file with a video transfer syntax.
func newVideo(r *FrameReader) *video { return &video{r: r} }

// takeVideoMemory waits for the part of Limits.Memory that the decoders of a file
// share, which only one of them uses at a time.
func (f *File) takeVideoMemory(r *FrameReader) (err error) {
	pool := r.limits.Memory.videoWork()
	if pool == nil || f.decoder.n > 0 {
		return nil
	}
	cost := videoCost + videoPictures*int64(r.Rows)*int64(r.Columns)*3/2
	if f.decoder, err = pool.take(r.ctx, min(cost, pool.size), 0); err != nil {
		return &Error{Op: "video", Tag: tagPixels, Offset: -1, Err: err}
	}
	return nil
}

// demuxer tells the container of a stream from its first bytes.
func demuxer(b []byte, syntax string) string {
	switch {
	case len(b) > 376 && b[0] == 0x47 && b[188] == 0x47 && b[376] == 0x47:
		return "mpegts"
	case bytes.HasPrefix(b, []byte{0, 0, 1, 0xBA}):
		return "mpeg"
	case len(b) > 12 && string(b[4:8]) == "ftyp":
		return "mov"
	case syntax == uid.HEVCMP51 || syntax == uid.HEVCM10P51:
		return "hevc"
	case strings.HasPrefix(syntax, uid.MPEG2MPML) || strings.HasPrefix(syntax, uid.MPEG2MPHL):
		return "mpegvideo"
	}
	return "h264"
}

// videoCost is what a decoder holds besides its pictures, and how many of
// those: up to 16 references, and some that are being converted.
const (
	videoCost     = 64 << 20
	videoPictures = 24
)

// start runs ffmpeg over the whole stream.
func (v *video) start(gray bool) (*videoProcess, error) {
	path, err := exec.LookPath("ffmpeg")
	if err != nil {
		return nil, fail("video", tagPixels, -1, ErrUnsupported, "%s needs the program ffmpeg: %v", v.r.ts.Name, err)
	}
	in, format, err := v.r.stream()
	if err != nil {
		return nil, err
	}
	pix := "rgb24"
	if gray {
		pix = "gray"
	}
	ctx, cancel := context.WithTimeout(v.r.ctx, v.r.limits.Video)
	size := fmt.Sprintf("%dx%d", v.r.Columns, v.r.Rows)
	cmd := exec.CommandContext(ctx, path, append(v.r.ffmpegInput(format),
		"-map", "0:v:0", "-an", "-sn", "-dn", "-vsync", "passthrough", "-threads", "1",
		"-frames:v", strconv.Itoa(v.r.Len()), "-f", "rawvideo", "-pix_fmt", pix, "-s", size, "pipe:1")...)
	cmd.Stdin, cmd.WaitDelay, cmd.Env = in, videoWait, videoEnvironment()
	p := &videoProcess{gray: gray, stderr: &tailBuffer{}, cancel: cancel}
	cmd.Stderr = p.stderr
	if p.out, err = cmd.StdoutPipe(); err != nil {
		cancel()
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, fail("video", tagPixels, -1, ErrUnsupported, "%v", err)
	}
	limitProcess(cmd.Process.Pid, videoMemory, v.r.limits.Video)
	p.wait = cmd.Wait
	return p, nil
}

// stop ends a process and frees what it holds.
func (v *video) stop() {
	if p := v.proc; p != nil {
		v.proc = nil
		p.cancel()
		p.out.Close()
		_ = p.wait() // killed on purpose: its status says nothing
		if p.timer != nil {
			p.timer.Stop()
		}
	}
}

// close ends the decoder for good.
func (v *video) close() {
	// Not under the lock yet: a reader that waits for the process must end first.
	v.r.stopVideo()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closed = true
	v.stop()
}

// frame reads frame i into b.
func (v *video) frame(i int, gray bool, b []byte) error {
	if i < 0 || i >= v.r.Len() {
		return fail("video", tagPixels, -1, ErrFrames, "frame %d of %d", i, v.r.Len())
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return fail("video", tagPixels, -1, os.ErrClosed, "")
	}
	if err := v.r.ctx.Err(); err != nil {
		v.stop()
		return &Error{Op: "video", Tag: tagPixels, Offset: -1, Err: err}
	}
	if v.proc != nil && (v.proc.gray != gray || v.proc.next > i) {
		v.stop()
	}
	if v.proc == nil {
		p, err := v.start(gray)
		if err != nil {
			return err
		}
		v.proc = p
	}
	p := v.proc
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
	for ; p.next <= i; p.next++ {
		if _, err := io.ReadFull(p.out, b); err != nil {
			at, said := p.next, p.stderr.line()
			v.stop()
			if cerr := v.r.ctx.Err(); cerr != nil {
				return &Error{Op: "video", Tag: tagPixels, Offset: -1, Err: cerr}
			}
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return fail("video", tagPixels, v.r.frames[0][0].off, ErrFrames, "the stream gave %d of %d frames: %s", at, v.r.Len(), said)
			}
			return fail("video", tagPixels, v.r.frames[0][0].off, ErrCodestream, "frame %d: %v %s", at, err, said)
		}
	}
	if p.next == v.r.Len() {
		v.stop()
		return nil
	}
	p.timer = time.AfterFunc(videoIdle, func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		if v.proc == p {
			v.stop()
		}
	})
	return nil
}

// gray decodes frame i to luma.
func (v *video) gray(i int, dst *image.Gray) error {
	setGray(dst, v.r.Columns, v.r.Rows)
	if dst.Stride == v.r.Columns {
		return v.frame(i, true, dst.Pix[:v.r.Rows*v.r.Columns])
	}
	b := make([]byte, v.r.Rows*v.r.Columns)
	if err := v.frame(i, true, b); err != nil {
		return err
	}
	for y := 0; y < v.r.Rows; y++ {
		copy(dst.Pix[y*dst.Stride:][:v.r.Columns], b[y*v.r.Columns:])
	}
	return nil
}

// decode decodes frame i to RGB samples.
func (v *video) decode(i int, dst *Frame) error {
	*dst = Frame{Rows: v.r.Rows, Columns: v.r.Columns, Samples: 3, Bits: 8, Stored: 8, HighBit: 7, Photometric: "RGB", Data: dst.Data}
	dst.Data = grow(dst.Data, 3*v.r.Rows*v.r.Columns)
	return v.frame(i, false, dst.Data)
}

// rgb decodes frame i for people.
func (v *video) rgb(i int, dst *image.RGBA) error {
	var f Frame
	if err := v.decode(i, &f); err != nil {
		return err
	}
	setRGBA(dst, v.r.Columns, v.r.Rows)
	return v.r.toRGB(&f, dst)
}
