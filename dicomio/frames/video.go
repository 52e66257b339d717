package frames

import (
	"image"
	"io"

	"github.com/echonode/echonode/dicomio/internal/budget"
	"github.com/echonode/echonode/dicomio/internal/fault"
	"github.com/echonode/echonode/dicomio/internal/source"
	"github.com/echonode/echonode/dicomio/internal/video"
	"github.com/echonode/echonode/dicomio/pixel"
	"github.com/echonode/echonode/dicomio/tag"
)

// What a process that decodes video holds besides its pictures, and how many of
// those: up to 16 references, and some that are being converted.
const (
	videoCost     = 64 << 20
	videoPictures = 24
)

// Processes are those that decode the video of one file. They end with the context
// of their reader, and by Close; while they run they hold their part of the memory
// together, for only one of them runs at a time.
type Processes struct {
	memory   budget.Lease
	decoders []*video.Decoder
}

// Close ends the processes and gives their memory back.
func (p *Processes) Close() {
	for _, d := range p.decoders {
		d.Close()
	}
	p.memory.Drop()
}

// openVideo prepares the decoder of a file with a video transfer syntax, and
// counts the frames that the stream holds, where that can be told.
func (r *Reader) openVideo() error {
	p := r.src.Processes
	if err := p.take(r); err != nil {
		return err
	}
	j := newJoined(r.src.Bytes, r.frames[0])
	s := video.Stream{Source: j, Size: j.size, Offset: r.frames[0][0].Off, Syntax: r.ts, Rows: r.Rows, Columns: r.Columns,
		MaxFrame: r.limits.Frame, MaxFrames: r.limits.Frames, Time: r.limits.Video}
	n, ok, err := s.Count(r.ctx, r.Info.Frames)
	if err != nil {
		return err
	}
	if ok {
		r.Info.Frames = n
	}
	r.video = video.New(r.ctx, s, r.Len())
	p.decoders = append(p.decoders, r.video)
	return nil
}

// take waits for the memory of the processes, unless they hold it already.
func (p *Processes) take(r *Reader) (err error) {
	pool := r.limits.Memory.Video()
	if pool == nil || p.memory.Held() {
		return nil
	}
	cost := videoCost + videoPictures*int64(r.Rows)*int64(r.Columns)*3/2
	if p.memory, err = pool.Take(r.ctx, min(cost, pool.Size()), 0); err != nil {
		return &fault.Error{Op: "video", Tag: tag.PixelData, Offset: -1, Err: err}
	}
	return nil
}

// joined reads the fragments of a video stream as one.
type joined struct {
	src   io.ReaderAt
	frags []Span
	size  int64
}

func newJoined(src io.ReaderAt, frags []Span) *joined {
	j := &joined{src: src, frags: frags}
	for _, s := range frags {
		j.size += s.N
	}
	return j
}

// ReadAt implements io.ReaderAt.
func (j *joined) ReadAt(b []byte, off int64) (n int, err error) {
	for _, s := range j.frags {
		if off >= s.N {
			off -= s.N
			continue
		}
		k := int(min(int64(len(b)-n), s.N-off))
		if err := source.ReadFull(j.src, b[n:n+k], s.Off+off); err != nil {
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
func (r *Reader) videoGray(i int, dst *image.Gray) error {
	pixel.SizeGray(dst, r.Columns, r.Rows)
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
func (r *Reader) videoDecode(i int, dst *pixel.Frame) error {
	*dst = pixel.Frame{Rows: r.Rows, Columns: r.Columns, Samples: 3, Bits: 8, Stored: 8, HighBit: 7, Photometric: "RGB", Data: dst.Data}
	dst.Data = pixel.Grow(dst.Data, 3*r.Rows*r.Columns)
	return r.video.Frame(i, false, dst.Data)
}

// videoRGB decodes frame i for people.
func (r *Reader) videoRGB(i int, dst *image.RGBA) error {
	var f pixel.Frame
	if err := r.videoDecode(i, &f); err != nil {
		return err
	}
	pixel.SizeRGBA(dst, r.Columns, r.Rows)
	return r.picture(&f, r.src.Display.RGB(&f, dst))
}
