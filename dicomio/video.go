package dicomio

import (
	"image"
	"io"

	"github.com/echonode/echonode/dicomio/internal/video"
)

// What a process that decodes video holds besides its pictures, and how many of
// those: up to 16 references, and some that are being converted.
const (
	videoCost     = 64 << 20
	videoPictures = 24
)

// openVideo prepares the decoder of a file with a video transfer syntax, and
// counts the frames that the stream holds, where that can be told. A process
// belongs to its file: it ends with the file's context and when the file is
// closed, and while it runs it holds its part of Limits.Memory.
func (f *File) openVideo(r *FrameReader) error {
	if err := f.takeVideoMemory(r); err != nil {
		return err
	}
	j := newJoined(r.src, r.frames[0])
	s := video.Stream{Source: j, Size: j.size, Offset: r.frames[0][0].off, Syntax: r.ts, Rows: r.Rows, Columns: r.Columns,
		MaxFrame: r.limits.Frame, MaxFrames: r.limits.Frames, Time: r.limits.Video}
	if n, ok := s.Count(r.ctx, r.Info.Frames); ok {
		r.Info.Frames = n
	}
	r.video = video.New(r.ctx, s, r.Len())
	f.videos = append(f.videos, r.video)
	return nil
}

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

// videoGray decodes frame i to luma.
func (r *FrameReader) videoGray(i int, dst *image.Gray) error {
	setGray(dst, r.Columns, r.Rows)
	if dst.Stride == r.Columns {
		return r.video.Frame(i, true, dst.Pix[:r.Rows*r.Columns])
	}
	b := make([]byte, r.Rows*r.Columns)
	if err := r.video.Frame(i, true, b); err != nil {
		return err
	}
	for y := range r.Rows {
		copy(dst.Pix[y*dst.Stride:][:r.Columns], b[y*r.Columns:])
	}
	return nil
}

// videoDecode decodes frame i to RGB samples.
func (r *FrameReader) videoDecode(i int, dst *Frame) error {
	*dst = Frame{Rows: r.Rows, Columns: r.Columns, Samples: 3, Bits: 8, Stored: 8, HighBit: 7, Photometric: "RGB", Data: dst.Data}
	dst.Data = grow(dst.Data, 3*r.Rows*r.Columns)
	return r.video.Frame(i, false, dst.Data)
}

// videoRGB decodes frame i for people.
func (r *FrameReader) videoRGB(i int, dst *image.RGBA) error {
	var f Frame
	if err := r.videoDecode(i, &f); err != nil {
		return err
	}
	setRGBA(dst, r.Columns, r.Rows)
	return r.toRGB(&f, dst)
}
