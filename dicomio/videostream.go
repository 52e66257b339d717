package dicomio

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"math"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// joined reads the fragments of a video stream as one.
type joined struct {
	src   io.ReaderAt
	frags []span
	size  int64
}

func newJoined(src io.ReaderAt, frags []span) *joined {
	j := &joined{src: src, frags: frags}
	for _, s := range frags {
		j.size += s.n
	}
	return j
}

// ReadAt implements io.ReaderAt.
func (j *joined) ReadAt(b []byte, off int64) (n int, err error) {
	for _, s := range j.frags {
		if off >= s.n {
			off -= s.n
			continue
		}
		k := int(min(int64(len(b)-n), s.n-off))
		if err := readFull(j.src, b[n:n+k], s.off+off); err != nil {
			return n, err
		}
		if n += k; n == len(b) {
			return n, nil
		}
		off = 0
	}
	return n, io.EOF
}

// stream is the video stream as a decoder can take it from a pipe, and the name
// of its container. MP4 keeps its index, without which nothing can be decoded,
// in any place and by default at the end: it is moved to the front.
func (r *FrameReader) stream() (io.Reader, string, error) {
	j := newJoined(r.src, r.frames[0])
	head := make([]byte, min(j.size, 512))
	if _, err := j.ReadAt(head, 0); err != nil {
		return nil, "", &Error{Op: "video", Tag: tagPixels, Offset: r.frames[0][0].off, Err: err}
	}
	format := demuxer(head, r.ts.UID)
	if format != "mov" {
		return io.NewSectionReader(j, 0, j.size), format, nil
	}
	s, err := indexFirst(j, j.size)
	if err != nil {
		return nil, "", fail("video", tagPixels, r.frames[0][0].off, ErrCodestream, "MP4: %v", err)
	}
	return s, format, nil
}

// Bounds of an MP4 file: boxes in all, bytes of the index, nesting of the way
// to the chunk offsets.
const (
	maxBoxes = 100000
	maxIndex = 8 << 20
)

// box is one box of ISO/IEC 14496-12, header included.
type box struct {
	kind         string
	off, n, head int64
}

// boxes lists the boxes of one level, at most max of them. A rest that is no
// box, such as a padding byte, is left out.
func boxes(src io.ReaderAt, off, end int64, max int) ([]box, error) {
	var out []box
	for end-off >= 8 {
		if len(out) == max {
			return nil, errorString("too many boxes")
		}
		var h [16]byte
		k := min(end-off, 16)
		if err := readFull(src, h[:k], off); err != nil {
			return nil, err
		}
		b := box{string(h[4:8]), off, int64(binary.BigEndian.Uint32(h[:])), 8}
		switch {
		case b.n == 0:
			b.n = end - off // to the end of the file
		case b.n == 1 && k == 16:
			if n := binary.BigEndian.Uint64(h[8:]); n <= math.MaxInt64 {
				b.n, b.head = int64(n), 16
			}
		}
		if b.n < b.head || b.n > end-off {
			if len(out) > 0 && len(bytes.Trim(h[:k], "\x00")) == 0 {
				return out, nil // zeros behind the last box
			}
			return nil, errorString("a box " + strconv.Quote(b.kind) + " that is longer than what holds it")
		}
		out = append(out, b)
		off += b.n
	}
	return out, nil
}

// errorString is an error without anything around it.
type errorString string

func (e errorString) Error() string { return string(e) }

// indexFirst gives an MP4 file with its index (moov) before the media data, the
// chunk offsets in it adjusted.
func indexFirst(src io.ReaderAt, size int64) (io.Reader, error) {
	all, err := boxes(src, 0, size, maxBoxes)
	if err != nil {
		return nil, err
	}
	index := slices.IndexFunc(all, func(b box) bool { return b.kind == "moov" })
	media := slices.IndexFunc(all, func(b box) bool { return b.kind == "mdat" })
	if index < 0 {
		return nil, errorString("no index (moov)")
	}
	if media < 0 || index < media {
		return io.NewSectionReader(src, 0, size), nil
	}
	moov := all[index]
	if moov.n > maxIndex {
		return nil, errorString("an index of more than 8 MiB")
	}
	b := make([]byte, moov.n)
	if err := readFull(src, b, moov.off); err != nil {
		return nil, err
	}
	front := 0
	if all[0].kind == "ftyp" {
		front = 1
	}
	order := slices.Concat(all[:front], all[index:index+1], all[front:index], all[index+1:])
	moved := make(map[int64]int64, len(order)) // where each box comes to lie, by its offset
	at := int64(0)
	for _, o := range order {
		moved[o.off] = at
		at += o.n
	}
	place := func(off uint64) (uint64, bool) {
		// A search: there may be very many chunks and boxes.
		i, _ := slices.BinarySearchFunc(all, off, func(o box, off uint64) int {
			if uint64(o.off+o.n) <= off {
				return -1
			}
			return 1
		})
		if i == len(all) || off < uint64(all[i].off) {
			return 0, false
		}
		return off - uint64(all[i].off) + uint64(moved[all[i].off]), true
	}
	if err := shiftChunks(b, 0, int64(len(b)), 0, place); err != nil {
		return nil, err
	}
	var parts []io.Reader
	for _, o := range order {
		if o.off == moov.off {
			parts = append(parts, bytes.NewReader(b))
		} else {
			parts = append(parts, io.NewSectionReader(src, o.off, o.n))
		}
	}
	return io.MultiReader(parts...), nil
}

// shiftChunks changes the chunk offsets (stco, co64) within b[off:end].
func shiftChunks(b []byte, off, end int64, depth int, place func(uint64) (uint64, bool)) error {
	list, err := boxes(bytes.NewReader(b), off, end, maxBoxes)
	if err != nil {
		return err
	}
	for _, x := range list {
		body := b[x.off+x.head : x.off+x.n]
		size := 4
		switch x.kind {
		case "moov", "trak", "mdia", "minf", "stbl":
			if depth > 8 {
				return errorString("boxes nested too deeply")
			}
			if err := shiftChunks(b, x.off+x.head, x.off+x.n, depth+1, place); err != nil {
				return err
			}
			continue
		case "co64":
			size = 8
		case "stco":
		case "cmov":
			return errorString("a compressed index")
		default:
			continue
		}
		if len(body) < 8 || int64(len(body)-8) < int64(binary.BigEndian.Uint32(body[4:]))*int64(size) {
			return errorString("a short table of chunks")
		}
		for i := range int(binary.BigEndian.Uint32(body[4:])) {
			e := body[8+i*size:]
			old := uint64(binary.BigEndian.Uint32(e))
			if size == 8 {
				old = binary.BigEndian.Uint64(e)
			}
			to, ok := place(old)
			if !ok || size == 4 && to > math.MaxUint32 {
				return errorString("a chunk outside the file")
			}
			if size == 8 {
				binary.BigEndian.PutUint64(e, to)
			} else {
				binary.BigEndian.PutUint32(e, uint32(to))
			}
		}
	}
	return nil
}

// countVideo sets Info.Frames to the number of frames that the stream holds,
// where it can be told. The packets of the stream are counted first, which
// decodes nothing; only when that is another number than announced are the
// frames counted that come out.
func (r *FrameReader) countVideo() {
	n, whole := r.count("-c", "copy")
	if !whole || n == r.Info.Frames {
		return // an unreadable stream has its error when a frame is asked for
	}
	if n, _ = r.count("-pix_fmt", "gray", "-s", "16x16", "-vsync", "passthrough"); n > 0 && n <= r.limits.Frames {
		r.Info.Frames = n
	}
}

// count lets ffmpeg list the frames of the stream, one line each, and counts
// the lines; whole says that it came to the end without an error.
func (r *FrameReader) count(how ...string) (n int, whole bool) {
	path, err := exec.LookPath("ffmpeg")
	if err != nil {
		return 0, false
	}
	in, format, err := r.stream()
	if err != nil {
		return 0, false
	}
	ctx, cancel := context.WithTimeout(r.ctx, r.limits.Video)
	defer cancel()
	args := append(r.ffmpegInput(format), "-map", "0:v:0", "-an", "-sn", "-dn")
	cmd := exec.CommandContext(ctx, path, append(append(args, how...), "-threads", "1", "-f", "framecrc", "pipe:1")...)
	cmd.Stdin, cmd.WaitDelay, cmd.Env = in, videoWait, videoEnvironment()
	out, err := cmd.StdoutPipe()
	if err != nil || cmd.Start() != nil {
		return 0, false
	}
	limitProcess(cmd.Process.Pid, videoMemory, r.limits.Video)
	lines := bufio.NewScanner(out)
	for lines.Scan() && n <= r.limits.Frames {
		if line := lines.Text(); line != "" && line[0] != '#' {
			n++
		}
	}
	if n > r.limits.Frames {
		cancel()
	}
	return n, cmd.Wait() == nil && n > 0
}

// ffmpegInput are the arguments by which ffmpeg reads the stream from its
// standard input: no other files, no network, bounded pictures.
func (r *FrameReader) ffmpegInput(format string) []string {
	return []string{"-nostdin", "-hide_banner", "-v", "error", "-xerror", "-err_detect", "explode",
		"-protocol_whitelist", "pipe", "-max_alloc", strconv.FormatInt(max(4*r.limits.Frame, 64<<20), 10),
		"-threads", "1", "-max_pixels", strconv.Itoa(2*r.Rows*r.Columns + 1<<20),
		"-f", format, "-i", "pipe:0"}
}

// videoEnvironment is that of a decoder.
func videoEnvironment() []string { return []string{"PATH=/usr/bin:/bin", "LC_ALL=C"} }

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
