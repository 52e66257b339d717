package pixel

import "encoding/binary"

// Info is the Image Pixel module (PS3.3 C.7.6.3).
type Info struct {
	Rows, Columns, Samples int
	BitsAllocated          int
	BitsStored             int
	HighBit                int
	Signed                 bool
	Planar                 int    // Planar Configuration: 0 by pixel, 1 by plane
	Photometric            string // upper case
	Frames                 int
}

// Values is the number of sample values in a frame.
func (p Info) Values() int64 {
	return int64(p.Rows) * int64(p.Columns) * int64(p.Samples)
}

// FrameBytes is the length of a native frame. Native YBR_FULL_422 stores two
// chroma samples for two pixels (PS3.3 C.7.6.3.1.2).
func (p Info) FrameBytes() int64 {
	switch {
	case p.BitsAllocated == 1:
		return (p.Values() + 7) / 8
	case p.Subsampled():
		return int64(p.Rows) * int64(p.Columns) * 2 * int64(p.BitsAllocated/8)
	}
	return p.Values() * int64(p.BitsAllocated/8)
}

// DecodedBytes is the length of Frame.Data of a decoded frame.
func (p Info) DecodedBytes() int64 {
	return p.Values() * int64(max(p.BitsAllocated, 8)/8)
}

// Subsampled reports native chroma subsampling.
func (p Info) Subsampled() bool {
	return p.Samples == 3 && (p.Photometric == "YBR_FULL_422" || p.Photometric == "YBR_PARTIAL_422")
}

// Frame is one decoded frame: the stored sample values, by pixel (planar
// configuration 0), little endian, Bits per sample. Colour components are as
// Photometric says; chroma is at full resolution.
type Frame struct {
	Rows, Columns, Samples int
	Bits                   int // 8, 16, 32 or 64
	Stored                 int // bits in use
	HighBit                int
	Signed                 bool
	Photometric            string
	Data                   []byte
}

// Value reads stored sample k of a frame, overlay bits masked away.
func (f *Frame) Value(k int) int64 {
	var u uint64
	switch f.Bits {
	case 8:
		u = uint64(f.Data[k])
	case 16:
		u = uint64(binary.LittleEndian.Uint16(f.Data[2*k:]))
	case 32:
		u = uint64(binary.LittleEndian.Uint32(f.Data[4*k:]))
	default:
		u = binary.LittleEndian.Uint64(f.Data[8*k:])
	}
	if s := f.HighBit + 1 - f.Stored; s > 0 {
		u >>= uint(s)
	}
	sh := uint(64 - f.Stored)
	if f.Signed {
		return int64(u<<sh) >> sh
	}
	return int64(u << sh >> sh)
}

// Monochrome reports whether the frame holds one gray value per pixel.
func (f *Frame) Monochrome() bool {
	return f.Samples == 1 && f.Photometric != "PALETTE COLOR"
}

// Grow returns a slice of length n, in buf if it fits.
func Grow(buf []byte, n int) []byte {
	if cap(buf) >= n {
		return buf[:n]
	}
	return make([]byte, n)
}
