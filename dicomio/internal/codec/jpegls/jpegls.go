// Package jpegls decodes JPEG-LS frames (ITU-T T.87).
package jpegls

import (
	"bytes"
	"encoding/binary"
	"math/bits"

	"github.com/echonode/echonode/dicomio/internal/codec/jpeg"
	"github.com/echonode/echonode/dicomio/internal/fault"
	"github.com/echonode/echonode/dicomio/pixel"
	"github.com/echonode/echonode/dicomio/tag"
)

// lsBits reads JPEG-LS bits: after a byte 0xFF the next one holds seven.
type lsBits struct {
	b    []byte
	at   int
	acc  uint64
	n    int
	ff   bool
	over int
}

// fill tops the accumulator up to more than 32 bits.
func (r *lsBits) fill() {
	if !r.ff && r.at+8 <= len(r.b) && r.n <= 56 {
		v := binary.BigEndian.Uint64(r.b[r.at:])
		if !jpeg.HasFF(v) {
			k := (64 - r.n) >> 3
			r.acc = r.acc<<uint(8*k) | v>>uint(64-8*k)
			r.n += 8 * k
			r.at += k
			return
		}
	}
	for r.n <= 48 {
		if r.at >= len(r.b) || r.ff && r.b[r.at] >= 0x80 {
			r.acc <<= 8
			r.n += 8
			r.over += 8
			continue
		}
		c := r.b[r.at]
		r.at++
		if r.ff {
			r.acc = r.acc<<7 | uint64(c)
			r.n += 7
		} else {
			r.acc = r.acc<<8 | uint64(c)
			r.n += 8
		}
		r.ff = c == 0xFF
	}
}

// bits reads k bits, 0 to 32.
func (r *lsBits) bits(k int) int {
	if r.n < k {
		r.fill()
	}
	r.n -= k
	return int(r.acc>>uint(r.n)) & (1<<uint(k) - 1)
}

// golomb reads a limited Golomb code (annex A.5.3); it is negative when the
// code is longer than limit.
func (r *lsBits) golomb(k, limit, qbpp int) int {
	if r.n < 48 {
		r.fill()
	}
	zeros := bits.LeadingZeros64(r.acc << (uint(64-r.n) & 63))
	if zeros < 32 && k <= 16 && zeros < limit-qbpp-1 {
		// The usual case: all bits are in the accumulator.
		r.n -= zeros + 1 + k
		return zeros<<uint(k) | int(r.acc>>(uint(r.n)&63))&(1<<uint(k)-1)
	}
	if zeros >= r.n {
		zeros = r.n
		// Longer than the accumulator.
		r.n = 0
		for r.bits(1) == 0 {
			if zeros++; zeros > limit {
				return -1
			}
		}
	} else {
		r.n -= zeros + 1
	}
	switch top := limit - qbpp - 1; {
	case zeros < top:
		return zeros<<uint(k) | r.bits(k)
	case zeros == top:
		return r.bits(qbpp) + 1
	}
	return -1
}

// exhausted reports whether bits past the end were used.
func (r *lsBits) exhausted() bool { return r.over > r.n }

// lsPreset holds the coding parameters of LSE segment 1; 0 means default.
type lsPreset struct{ maxVal, t1, t2, t3, reset int }

// Codec decodes JPEG-LS.
type Codec struct{}

// Starts reports whether b is a JPEG-LS stream.
func (Codec) Starts(b []byte) bool {
	h, err := jpeg.Parse(b)
	return err == nil && h.SOF == 0xF7
}

// Decode decodes a JPEG-LS frame (ITU-T T.87), lossless or
// near-lossless, all three interleave modes, into dst, whose geometry is set.
func (Codec) Decode(b []byte, in pixel.Info, dst *pixel.Frame, _ int64) error {
	h, err := jpeg.Parse(b)
	if err != nil {
		return err
	}
	if err := h.Check(in); err != nil {
		return err
	}
	if dst.Bits != 8 && dst.Bits != 16 {
		return fault.New("jpeg-ls", tag.PixelData, -1, fault.ErrMismatch, "%d bits allocated", dst.Bits)
	}
	for i := range h.IDs {
		if h.H[i] != 1 || h.V[i] != 1 {
			return fault.New("jpeg-ls", tag.PixelData, -1, fault.ErrUnsupported, "subsampled components")
		}
	}
	s := stream{b: b, head: h}
	for at := 2; !s.seen.All(h); {
		if at, err = s.segment(at, dst); err != nil {
			return err
		}
	}
	return nil
}

// stream is a frame that is being read: its parameters, and the components that
// its scans have given.
type stream struct {
	b      []byte
	head   jpeg.Header
	preset lsPreset
	scans  int
	seen   jpeg.Components
}

// bad is an error at a place of the stream.
func (s *stream) bad(at int, kind error, why string) error {
	return fault.New("jpeg-ls", tag.PixelData, int64(at), kind, "%s", why)
}

// segment reads what begins at at, decodes a scan into dst, and returns where to
// go on.
func (s *stream) segment(at int, dst *pixel.Frame) (int, error) {
	if at+4 > len(s.b) {
		return 0, s.bad(at, fault.ErrTruncated, "components are missing")
	}
	m := s.b[at+1]
	if s.b[at] != 0xFF || m == 0xFF || m < 0x80 {
		return at + 1, nil
	}
	if m == 0xD9 {
		return 0, s.bad(at, fault.ErrCodestream, "the end before all components")
	}
	n := int(binary.BigEndian.Uint16(s.b[at+2:]))
	if n < 2 || at+2+n > len(s.b) {
		return 0, s.bad(at, fault.ErrTruncated, "inside a segment")
	}
	seg, next := s.b[at+4:at+2+n], at+2+n
	switch m {
	case 0xF8:
		return next, s.parameters(at, seg)
	case 0xDD:
		for _, c := range seg {
			if c != 0 {
				return 0, s.bad(at, fault.ErrUnsupported, "restart intervals")
			}
		}
	case 0xDA:
		return s.scan(at, seg, next, dst)
	}
	return next, nil
}

// parameters reads an LSE segment.
func (s *stream) parameters(at int, seg []byte) error {
	switch {
	case len(seg) < 1:
		return s.bad(at, fault.ErrCodestream, "an empty LSE segment")
	case seg[0] != 1:
		return s.bad(at, fault.ErrUnsupported, "mapping tables or large sizes")
	case len(seg) < 11:
		return s.bad(at, fault.ErrTruncated, "coding parameters")
	}
	v := func(i int) int { return int(binary.BigEndian.Uint16(seg[1+2*i:])) }
	s.preset = lsPreset{v(0), v(1), v(2), v(3), v(4)}
	return nil
}

// scan reads the header of a scan and decodes the data that begin at next.
func (s *stream) scan(at int, seg []byte, next int, dst *pixel.Frame) (int, error) {
	if s.scans++; s.scans > jpeg.MaxScans {
		return 0, s.bad(at, fault.ErrCodestream, "too many scans")
	}
	if len(seg) < 1 || seg[0] < 1 || seg[0] > 4 || len(seg) < 4+2*int(seg[0]) {
		return 0, s.bad(at, fault.ErrCodestream, "a scan header")
	}
	k := int(seg[0])
	var comps []int
	for i := range k {
		c := bytes.IndexByte(s.head.IDs, seg[1+2*i])
		if c < 0 || !s.seen.Add(c) {
			return 0, s.bad(at, fault.ErrCodestream, "a component of a scan")
		}
		if seg[2+2*i] != 0 {
			return 0, s.bad(at, fault.ErrUnsupported, "mapping tables")
		}
		comps = append(comps, c)
	}
	near, interleave := int(seg[1+2*k]), int(seg[2+2*k])
	d, err := newLS(s.head, s.preset, near, interleave, comps, s.b[next:], next)
	if err != nil {
		return 0, err
	}
	if err := d.decode(dst); err != nil {
		return 0, err
	}
	next += d.r.at
	if d.r.at > 0 && s.b[next-1] == 0xFF {
		next-- // the reader stopped inside a marker
	}
	return next, nil
}

// lsContext is the state of one context.
type lsContext struct{ a, b, c, n int32 }

// lsRun is the state of a run interruption context.
type lsRun struct{ a, n, nn int32 }

// lsDecoder decodes one scan.
type lsDecoder struct {
	r       lsBits
	base    int
	comps   []int
	ilv     int
	w, h    int
	near    int
	maxVal  int
	rng     int
	qbpp    int
	limit   int
	reset   int32
	mask    int32  // of lossless samples whose range is a power of two, else 0
	quant   []int8 // of a gradient, shifted by maxVal
	ctx     [365]lsContext
	run     [2]lsRun
	runIdx  [4]int
	lines   [][]int32 // two per component: with one border value on each side
	aborted error
}

// runOrder is the table J of A.7.1.1.
var runOrder = [32]int{0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13, 14, 15}

// newLS checks the parameters of a scan and prepares its contexts.
func newLS(h jpeg.Header, pre lsPreset, near, ilv int, comps []int, data []byte, base int) (*lsDecoder, error) {
	bad := func(why string) (*lsDecoder, error) {
		return nil, fault.New("jpeg-ls", tag.PixelData, int64(base), fault.ErrCodestream, "%s", why)
	}
	d := &lsDecoder{r: lsBits{b: data}, base: base, comps: comps, ilv: ilv, w: h.Columns, h: h.Rows, near: near}
	d.maxVal = 1<<h.Precision - 1
	if pre.maxVal > 0 {
		if pre.maxVal > d.maxVal {
			return bad("MAXVAL")
		}
		d.maxVal = pre.maxVal
	}
	if near > min(255, d.maxVal/2) || ilv > 2 || ilv == 0 && len(comps) != 1 || ilv > 0 && len(comps) == 1 && ilv > 2 {
		return bad("NEAR or interleave mode")
	}
	if len(comps) == 1 {
		d.ilv = 0
	}
	d.rng = (d.maxVal+2*near)/(2*near+1) + 1
	if near == 0 && d.rng&(d.rng-1) == 0 {
		d.mask = int32(d.maxVal)
	}
	d.qbpp = bits.Len(uint(d.rng - 1))
	bpp := max(2, bits.Len(uint(d.maxVal)))
	d.limit = 2 * (bpp + max(8, bpp))
	t1, t2, t3 := lsThresholds(d.maxVal, near)
	if pre.t1 > 0 {
		t1 = pre.t1
	}
	if pre.t2 > 0 {
		t2 = pre.t2
	}
	if pre.t3 > 0 {
		t3 = pre.t3
	}
	d.reset = 64
	if pre.reset > 0 {
		d.reset = int32(pre.reset)
	}
	if t1 < near+1 || t2 < t1 || t3 < t2 || t3 > d.maxVal || d.reset < 3 {
		return bad("thresholds")
	}
	d.quant = make([]int8, 2*d.maxVal+1)
	for i := range d.quant {
		g := i - d.maxVal
		q := int8(0)
		switch a := max(g, -g); {
		case a >= t3:
			q = 4
		case a >= t2:
			q = 3
		case a >= t1:
			q = 2
		case a > near:
			q = 1
		}
		if g < 0 {
			q = -q
		}
		d.quant[i] = q
	}
	a := int32(max(2, (d.rng+32)/64))
	for i := range d.ctx {
		d.ctx[i] = lsContext{a: a, n: 1}
	}
	d.run = [2]lsRun{{a: a, n: 1}, {a: a, n: 1}}
	d.lines = make([][]int32, 2*len(comps))
	for i := range d.lines {
		d.lines[i] = make([]int32, d.w+2)
	}
	return d, nil
}

// lsThresholds are the defaults of C.2.4.1.1.
func lsThresholds(maxVal, near int) (t1, t2, t3 int) {
	limit := func(v, lo int) int {
		if v > maxVal || v < lo {
			return lo
		}
		return v
	}
	if maxVal >= 128 {
		f := (min(maxVal, 4095) + 128) / 256
		t1 = limit(f+2+3*near, near+1)
		t2 = limit(f*4+3+5*near, t1)
		t3 = limit(f*17+4+7*near, t2)
		return
	}
	f := 256 / (maxVal + 1)
	t1 = limit(max(2, 3/f+3*near), near+1)
	t2 = limit(max(3, 7/f+5*near), t1)
	t3 = limit(max(4, 21/f+7*near), t2)
	return
}

// decode decodes all lines of the scan.
func (d *lsDecoder) decode(dst *pixel.Frame) error {
	nc := len(d.comps)
	for y := range d.h {
		for i := range nc {
			cur, up := d.lines[2*i], d.lines[2*i+1]
			cur[0] = up[1]      // the value left of the line
			up[d.w+1] = up[d.w] // and right above its end
		}
		switch {
		case d.ilv == 2:
			d.lineBySample()
		default:
			for i := range nc {
				d.line(d.lines[2*i], d.lines[2*i+1], &d.runIdx[i])
			}
		}
		if d.aborted != nil {
			return d.aborted
		}
		if d.r.exhausted() {
			return fault.New("jpeg-ls", tag.PixelData, int64(d.base+d.r.at), fault.ErrTruncated, "line %d of %d", y, d.h)
		}
		for i, c := range d.comps {
			jpeg.StoreRow(dst, y, c, d.lines[2*i][1:d.w+1], 1, 0)
			d.lines[2*i], d.lines[2*i+1] = d.lines[2*i+1], d.lines[2*i]
		}
	}
	return nil
}

// abort remembers damage and makes the line loops end.
func (d *lsDecoder) abort() {
	if d.aborted == nil {
		d.aborted = fault.New("jpeg-ls", tag.PixelData, int64(d.base+d.r.at), fault.ErrCodestream, "a Golomb code")
	}
}

// line decodes a line of one component.
func (d *lsDecoder) line(cur, up []int32, runIdx *int) {
	for x := 1; x <= d.w; {
		ra, rb, rc, rd := cur[x-1], up[x], up[x-1], up[x+1]
		q := d.context(ra, rb, rc, rd)
		if q != 0 {
			cur[x] = d.regular(q, ra, rb, rc)
			x++
			if d.aborted != nil {
				return
			}
			continue
		}
		n, stop := d.runLength(d.w+1-x, runIdx)
		for i := range n {
			cur[x+i] = ra
		}
		x += n
		if stop {
			cur[x] = d.interruption(ra, up[x], *runIdx)
			x++
			if *runIdx > 0 {
				*runIdx--
			}
		}
		if d.aborted != nil {
			return
		}
	}
}

// lineBySample decodes a line of all components, pixel by pixel.
func (d *lsDecoder) lineBySample() {
	nc := len(d.comps)
	var q [4]int
	for x := 1; x <= d.w; {
		any := false
		for i := range nc {
			cur, up := d.lines[2*i], d.lines[2*i+1]
			q[i] = d.context(cur[x-1], up[x], up[x-1], up[x+1])
			any = any || q[i] != 0
		}
		if any {
			for i := range nc {
				cur, up := d.lines[2*i], d.lines[2*i+1]
				cur[x] = d.regular(q[i], cur[x-1], up[x], up[x-1])
			}
			x++
			if d.aborted != nil {
				return
			}
			continue
		}
		n, stop := d.runLength(d.w+1-x, &d.runIdx[0])
		for i := range nc {
			cur := d.lines[2*i]
			for k := range n {
				cur[x+k] = cur[x-1]
			}
		}
		x += n
		if stop {
			for i := range nc {
				cur, up := d.lines[2*i], d.lines[2*i+1]
				// Components share the context of differing neighbours.
				e := d.runError(0, d.runIdx[0])
				if up[x] < cur[x-1] {
					e = -e
				}
				cur[x] = d.restore(up[x], e)
			}
			x++
			if d.runIdx[0] > 0 {
				d.runIdx[0]--
			}
		}
		if d.aborted != nil {
			return
		}
	}
}

// context quantises the gradients; 0 is run mode, negative means the sign is
// flipped.
func (d *lsDecoder) context(ra, rb, rc, rd int32) int {
	m := int32(d.maxVal)
	return (int(d.quant[rd-rb+m])*9+int(d.quant[rb-rc+m]))*9 + int(d.quant[rc-ra+m])
}

// golombK is the parameter of the Golomb code of a context that has seen n
// errors of the sum a (A.5.1): how often n is doubled until it reaches a.
func golombK(n int32, a int64) int {
	k := 0
	for m := int64(n); m < a; m <<= 1 { // of 32 bits it would pass its largest value, and never reach a
		k++
	}
	return k
}

// regular decodes a sample in regular mode (A.4 to A.6). A mapped error above
// the range is damage (A.4.5, A.5.2): the context's sum would grow without end.
func (d *lsDecoder) regular(q int, ra, rb, rc int32) int32 {
	sign := int32(1)
	if q < 0 {
		q, sign = -q, -1
	}
	c := &d.ctx[q]
	var px int32
	switch {
	case rc >= max(ra, rb):
		px = min(ra, rb)
	case rc <= min(ra, rb):
		px = max(ra, rb)
	default:
		px = ra + rb - rc
	}
	px = max(0, min(px+sign*c.c, int32(d.maxVal)))
	k := golombK(c.n, int64(c.a))
	m := d.r.golomb(k, d.limit, d.qbpp)
	if m < 0 || m > d.rng {
		d.abort()
		return 0
	}
	e := int32(m>>1) ^ -int32(m&1)
	if k == 0 && d.near == 0 && 2*c.b <= -c.n {
		e = ^e
	}
	// Update of the context (A.6).
	c.b += e * int32(2*d.near+1)
	c.a += max(e, -e)
	if c.n == d.reset {
		c.a >>= 1
		c.b >>= 1
		c.n >>= 1
	}
	c.n++
	if c.b <= -c.n {
		c.b += c.n
		if c.c > -128 {
			c.c--
		}
		if c.b <= -c.n {
			c.b = -c.n + 1
		}
	} else if c.b > 0 {
		c.b -= c.n
		if c.c < 127 {
			c.c++
		}
		if c.b > 0 {
			c.b = 0
		}
	}
	return d.restore(px, sign*e)
}

// restore adds a quantised error to a prediction, modulo the range (A.4.5).
func (d *lsDecoder) restore(px, e int32) int32 {
	if d.mask > 0 {
		return (px + e) & d.mask
	}
	step := int32(2*d.near + 1)
	v := px + e*step
	if v < -int32(d.near) {
		v += int32(d.rng) * step
	} else if v > int32(d.maxVal+d.near) {
		v -= int32(d.rng) * step
	}
	return max(0, min(v, int32(d.maxVal)))
}

// runLength decodes a run of at most left samples (A.7.1); stop says that a
// run interruption sample follows.
func (d *lsDecoder) runLength(left int, idx *int) (n int, stop bool) {
	for d.r.bits(1) == 1 {
		seg := 1 << uint(runOrder[*idx])
		if n+seg <= left {
			n += seg
			if *idx < 31 {
				*idx++
			}
		} else {
			n = left
		}
		if n == left {
			return n, false
		}
		if d.r.exhausted() {
			return n, false
		}
	}
	n += d.r.bits(runOrder[*idx])
	if n >= left {
		d.abort()
		return left, false
	}
	return n, true
}

// interruption decodes the sample that ends a run (A.7.2).
func (d *lsDecoder) interruption(ra, rb int32, idx int) int32 {
	if diff := ra - rb; max(diff, -diff) <= int32(d.near) {
		return d.restore(ra, d.runError(1, idx))
	}
	e := d.runError(0, idx)
	if ra > rb {
		e = -e
	}
	return d.restore(rb, e)
}

// runError decodes the error of a run interruption sample of the given type.
func (d *lsDecoder) runError(kind int32, idx int) int32 {
	c := &d.run[kind]
	t := int64(c.a)
	if kind == 1 {
		t += int64(c.n >> 1)
	}
	k := golombK(c.n, t)
	m := d.r.golomb(k, d.limit-runOrder[idx]-1, d.qbpp)
	if m < 0 || m > d.rng {
		d.abort()
		return 0
	}
	v := int32(m) + kind
	odd := v&1 == 1
	e := (v + v&1) / 2
	if (k != 0 || 2*c.nn >= c.n) == odd {
		e = -e
	}
	if e < 0 {
		c.nn++
	}
	c.a += (int32(m) + 1 - kind) >> 1
	if c.n == d.reset {
		c.a >>= 1
		c.n >>= 1
		c.nn >>= 1
	}
	c.n++
	return e
}
