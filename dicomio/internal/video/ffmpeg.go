// Package video decodes MPEG-2, H.264 and HEVC streams with ffmpeg as a child
// process. It knows streams and sizes; data sets and files are its callers'.
package video

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/echonode/echonode/dicomio/internal/fault"
	"github.com/echonode/echonode/dicomio/internal/source"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
)

// Stream is an encoded video, what its object says of it, and what decoding it
// may cost.
type Stream struct {
	Source        io.ReaderAt
	Size          int64
	Offset        int64 // where it begins in the input, for errors
	Syntax        uid.Syntax
	Rows, Columns int
	MaxFrame      int64         // bytes of a decoded frame
	MaxFrames     int           // that Count counts up to
	Time          time.Duration // of one process
}

// Decoder gives the frames of a stream: the stream goes to ffmpeg over a pipe, raw
// frames come back over another. Frames are decoded in order; asking for an
// earlier one starts the process anew, and so does changing between gray and
// colour. Time, memory and threads of the process are bounded, and it may open no
// files and no network. It ends with the context and when the decoder is closed.
type Decoder struct {
	stream Stream
	frames int
	ctx    context.Context
	cancel context.CancelFunc

	mu     sync.Mutex
	proc   *process
	closed bool
}

// New makes a decoder of so many frames. No process runs until the first is
// asked for.
func New(ctx context.Context, s Stream, frames int) *Decoder {
	d := &Decoder{stream: s, frames: frames}
	d.ctx, d.cancel = context.WithCancel(ctx)
	return d
}

// process is a running ffmpeg.
type process struct {
	fed    *feed
	gray   bool
	next   int // frame that comes out next
	out    io.ReadCloser
	stderr *tailBuffer
	ctx    context.Context
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

// idle ends a decoder that nobody reads from.
const idle = 30 * time.Second

// pipeWait is how long the pipes of a decoder that was killed may stay open.
const pipeWait = time.Second

// addressSpace bounds the address space of a decoder, libraries included.
const addressSpace = 2 << 30

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

// start runs ffmpeg over the whole stream.
func (d *Decoder) start(gray bool) (*process, error) {
	path, err := exec.LookPath("ffmpeg")
	if err != nil {
		return nil, fault.New("video", tag.PixelData, -1, fault.ErrUnsupported, "%s needs the program ffmpeg: %v", d.stream.Syntax.Name, err)
	}
	in, format, err := d.stream.open()
	if err != nil {
		return nil, err
	}
	pix := "rgb24"
	if gray {
		pix = "gray"
	}
	ctx, cancel := context.WithTimeout(d.ctx, d.stream.Time)
	size := fmt.Sprintf("%dx%d", d.stream.Columns, d.stream.Rows)
	cmd := exec.CommandContext(ctx, path, append(d.stream.input(format),
		"-map", "0:v:0", "-an", "-sn", "-dn", "-vsync", "passthrough", "-threads", "1",
		"-frames:v", strconv.Itoa(d.frames), "-f", "rawvideo", "-pix_fmt", pix, "-s", size, "pipe:1")...)
	fed := &feed{Reader: in}
	cmd.Stdin, cmd.WaitDelay, cmd.Env = fed, pipeWait, environment()
	p := &process{fed: fed, gray: gray, stderr: &tailBuffer{}, ctx: ctx, cancel: cancel}
	cmd.Stderr = p.stderr
	if p.out, err = cmd.StdoutPipe(); err != nil {
		cancel()
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, &fault.Error{Op: "video", Tag: tag.PixelData, Offset: -1, Err: fmt.Errorf("%w: %w", fault.ErrUnsupported, err)}
	}
	limitProcess(cmd.Process.Pid, addressSpace, d.stream.Time)
	p.wait = cmd.Wait
	return p, nil
}

// feed is what a process reads. It keeps why it could not be read.
type feed struct {
	io.Reader
	failed atomic.Pointer[error]
}

func (f *feed) Read(b []byte) (int, error) {
	n, err := f.Reader.Read(b)
	if err != nil && err != io.EOF {
		f.failed.Store(&err)
	}
	return n, err
}

// stop ends a process and frees what it holds.
func (d *Decoder) stop() {
	if p := d.proc; p != nil {
		d.proc = nil
		p.cancel()
		p.out.Close()
		_ = p.wait() // killed on purpose: its status says nothing
		if p.timer != nil {
			p.timer.Stop()
		}
	}
}

// Close ends the decoder for good.
func (d *Decoder) Close() {
	// Not under the lock yet: a reader that waits for the process must end first.
	d.cancel()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	d.stop()
}

// Frame reads frame i into b: Rows x Columns bytes of luma, or three times as many
// of RGB. Errors are *fault.Error.
func (d *Decoder) Frame(i int, gray bool, b []byte) error {
	if i < 0 || i >= d.frames {
		return fault.New("video", tag.PixelData, -1, fault.ErrFrames, "frame %d of %d", i, d.frames)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return fault.New("video", tag.PixelData, -1, os.ErrClosed, "")
	}
	if err := d.ctx.Err(); err != nil {
		d.stop()
		return &fault.Error{Op: "video", Tag: tag.PixelData, Offset: -1, Err: err}
	}
	if d.proc != nil && (d.proc.gray != gray || d.proc.next > i) {
		d.stop()
	}
	if d.proc == nil {
		p, err := d.start(gray)
		if err != nil {
			return err
		}
		d.proc = p
	}
	p := d.proc
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
	for ; p.next <= i; p.next++ {
		if _, err := io.ReadFull(p.out, b); err != nil {
			at, said, late := p.next, p.stderr.line(), errors.Is(p.ctx.Err(), context.DeadlineExceeded)
			d.stop()
			if cerr := d.ctx.Err(); cerr != nil {
				return &fault.Error{Op: "video", Tag: tag.PixelData, Offset: -1, Err: cerr}
			}
			if late {
				return d.stream.late()
			}
			if failed := p.fed.failed.Load(); failed != nil { // and not the stream
				return &fault.Error{Op: "video", Tag: tag.PixelData, Offset: d.stream.Offset, Err: *failed}
			}
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return fault.New("video", tag.PixelData, d.stream.Offset, fault.ErrFrames, "the stream gave %d of %d frames: %s", at, d.frames, said)
			}
			return fault.New("video", tag.PixelData, d.stream.Offset, fault.ErrCodestream, "frame %d: %v %s", at, err, said)
		}
	}
	if p.next == d.frames {
		d.stop()
		return nil
	}
	p.timer = time.AfterFunc(idle, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.proc == p {
			d.stop()
		}
	})
	return nil
}

// open is the stream as a decoder can take it from a pipe, and the name
// of its container. MP4 keeps its index, without which nothing can be decoded,
// in any place and by default at the end: it is moved to the front.
func (s Stream) open() (io.Reader, string, error) {
	head := make([]byte, min(s.Size, 512))
	if err := source.ReadFull(s.Source, head, 0); err != nil {
		return nil, "", &fault.Error{Op: "video", Tag: tag.PixelData, Offset: s.Offset, Err: err}
	}
	format := demuxer(head, s.Syntax.UID)
	if format != "mov" {
		return io.NewSectionReader(s.Source, 0, s.Size), format, nil
	}
	first, err := indexFirst(s.Source, s.Size)
	if err != nil {
		return nil, "", &fault.Error{Op: "video", Tag: tag.PixelData, Offset: s.Offset, Err: fmt.Errorf("%w: MP4: %w", fault.ErrCodestream, err)}
	}
	return first, format, nil
}

// late is the error of a process whose time is over: context.DeadlineExceeded is
// among what it wraps, as of nothing else that the stream itself is the cause of.
func (s Stream) late() error {
	return &fault.Error{Op: "video", Tag: tag.PixelData, Offset: s.Offset, Err: fmt.Errorf("%w: its decoder took more than %v: %w", fault.ErrLimit, s.Time,
		context.DeadlineExceeded)}
}

// Count is the number of frames that the stream holds, and false where it cannot
// be told. The packets of the stream are counted first, which decodes nothing;
// only when that is another number than announced are the frames counted that
// come out. A stream that takes too long for that would take too long again.
func (s Stream) Count(ctx context.Context, announced int) (int, bool, error) {
	n, whole, err := s.count(ctx, "-c", "copy")
	if err != nil || !whole || n == announced {
		return n, whole, err // an unreadable stream has its error when a frame is asked for
	}
	n, _, err = s.count(ctx, "-pix_fmt", "gray", "-s", "16x16", "-vsync", "passthrough")
	return n, n > 0 && n <= s.MaxFrames, err
}

// count lets ffmpeg list the frames of the stream, one line each, and counts
// the lines; whole says that it came to the end without an error.
func (s Stream) count(ctx context.Context, how ...string) (n int, whole bool, err error) {
	path, err := exec.LookPath("ffmpeg")
	if err != nil {
		return 0, false, nil
	}
	in, format, err := s.open()
	if err != nil {
		return 0, false, nil
	}
	bounded, cancel := context.WithTimeout(ctx, s.Time)
	defer cancel()
	args := append(s.input(format), "-map", "0:v:0", "-an", "-sn", "-dn")
	cmd := exec.CommandContext(bounded, path, append(append(args, how...), "-threads", "1", "-f", "framecrc", "pipe:1")...)
	cmd.Stdin, cmd.WaitDelay, cmd.Env = in, pipeWait, environment()
	out, err := cmd.StdoutPipe()
	if err != nil || cmd.Start() != nil {
		return 0, false, nil
	}
	limitProcess(cmd.Process.Pid, addressSpace, s.Time)
	lines := bufio.NewScanner(out)
	for lines.Scan() && n <= s.MaxFrames {
		if line := lines.Text(); line != "" && line[0] != '#' {
			n++
		}
	}
	if n > s.MaxFrames {
		cancel()
	}
	whole = cmd.Wait() == nil && n > 0
	if !whole && ctx.Err() == nil && errors.Is(bounded.Err(), context.DeadlineExceeded) {
		return 0, false, s.late()
	}
	return n, whole, nil
}

// input are the arguments by which ffmpeg reads the stream from its
// standard input: no other files, no network, bounded pictures.
func (s Stream) input(format string) []string {
	return []string{"-nostdin", "-hide_banner", "-v", "error", "-xerror", "-err_detect", "explode",
		"-protocol_whitelist", "pipe", "-max_alloc", strconv.FormatInt(max(4*s.MaxFrame, 64<<20), 10),
		"-threads", "1", "-max_pixels", strconv.Itoa(2*s.Rows*s.Columns + 1<<20),
		"-f", format, "-i", "pipe:0"}
}

// environment is that of a decoder.
func environment() []string { return []string{"PATH=/usr/bin:/bin", "LC_ALL=C"} }

// address is where ffmpeg keeps the part that complains: "[h264 @ 0x55d0c8a1]".
var address = regexp.MustCompile(` ?@ ?0x[0-9a-fA-F]+`)

// cleanComplaint makes one short line of what a decoder wrote: without memory
// addresses, which differ from run to run, and control characters.
func cleanComplaint(s string) string {
	s = address.ReplaceAllString(strings.ToValidUTF8(s, "?"), "")
	s = strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7F {
			return ' '
		}
		return c
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > 160 {
		s = string(r[:160]) + "..."
	}
	return s
}
