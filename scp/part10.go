package scp

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os"

	"github.com/echonode/echonode/dicomio/uid"
)

// maxMeta bounds the file meta information read by FileObject.
const maxMeta = 1 << 20

// WritePart10Header writes what a bare data set needs before it to be a DICOM
// file (PS3.10 7.1): preamble, "DICM" and file meta information. sourceAE, the
// Source Application Entity Title, may be "".
func WritePart10Header(w io.Writer, sopClass, sopInstance, transferSyntax, sourceAE string) error {
	b := make([]byte, 128, 512)
	b = append(b, "DICM"...)
	b = appendMeta(b, 0x0000, "UL", "\x00\x00\x00\x00", 0)
	start := len(b)
	b = appendMeta(b, 0x0001, "OB", "\x00\x01", 0)
	b = appendMeta(b, 0x0002, "UI", sopClass, 0)
	b = appendMeta(b, 0x0003, "UI", sopInstance, 0)
	b = appendMeta(b, 0x0010, "UI", transferSyntax, 0)
	b = appendMeta(b, 0x0012, "UI", uid.ImplementationClass, 0)
	b = appendMeta(b, 0x0013, "SH", uid.ImplementationVersionName, ' ')
	if sourceAE != "" {
		b = appendMeta(b, 0x0016, "AE", sourceAE, ' ')
	}
	binary.LittleEndian.PutUint32(b[start-4:], uint32(len(b)-start))
	_, err := w.Write(b)
	return err
}

func appendMeta(b []byte, el uint16, vr, v string, pad byte) []byte {
	b = binary.LittleEndian.AppendUint16(b, 0x0002)
	b = binary.LittleEndian.AppendUint16(b, el)
	b = append(b, vr...)
	n := len(v) + len(v)%2
	if vr == "OB" {
		b = append(b, 0, 0)
		b = binary.LittleEndian.AppendUint32(b, uint32(n))
	} else {
		b = binary.LittleEndian.AppendUint16(b, uint16(n))
	}
	b = append(b, v...)
	if len(v)%2 == 1 {
		b = append(b, pad)
	}
	return b
}

// FileObject opens a DICOM Part 10 file for sending. Only the file meta
// information is read, at most 1 MiB of it; the object's DataSet is the file,
// positioned behind it. Close the object. Files that are not Part 10, or whose
// meta information lacks a UID, are ErrNotPart10.
func FileObject(path string) (Object, error) {
	f, err := os.Open(path)
	if err != nil {
		return Object{}, err
	}
	o, offset, err := readMeta(f)
	if err != nil {
		f.Close()
		return Object{}, fmt.Errorf("%s: %w", path, err)
	}
	fi, err := f.Stat()
	if err == nil {
		_, err = f.Seek(offset, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return Object{}, err
	}
	o.DataSet, o.Size = f, fi.Size()-offset
	return o, nil
}

// readMeta reads preamble and file meta information, and returns the offset of
// the data set. Elements are trusted more than the group length, which some
// writers get wrong.
func readMeta(r io.Reader) (o Object, offset int64, err error) {
	return readMetaFrom(bufio.NewReaderSize(io.LimitReader(r, maxMeta), 4096))
}

// ReadPart10 reads preamble and file meta information of a Part 10 file from a
// stream, and leaves r at the beginning of the data set. Streams that are not
// Part 10, or whose meta information lacks a UID, are ErrNotPart10.
func ReadPart10(r *bufio.Reader) (ObjectHeader, error) {
	o, _, err := readMetaFrom(r)
	return ObjectHeader{o.SOPClassUID, o.SOPInstanceUID, o.TransferSyntaxUID}, err
}

// readMetaFrom is readMeta without a bound of its own for the whole.
func readMetaFrom(br *bufio.Reader) (o Object, offset int64, err error) {
	var preamble [132]byte
	if _, err := io.ReadFull(br, preamble[:]); err != nil || string(preamble[128:]) != "DICM" {
		return o, 0, ErrNotPart10
	}
	offset = int64(len(preamble))
	for offset < maxMeta {
		h, err := br.Peek(8)
		if err != nil || binary.LittleEndian.Uint16(h) != 0x0002 {
			break
		}
		el, vr := binary.LittleEndian.Uint16(h[2:]), string(h[4:6])
		n, size := 8, int(binary.LittleEndian.Uint16(h[6:]))
		if vr == "OB" || vr == "UN" || vr == "OW" {
			long, err := br.Peek(12)
			if err != nil {
				return o, 0, ErrNotPart10
			}
			n, size = 12, int(binary.LittleEndian.Uint32(long[8:]))
		}
		if size > maxMeta {
			return o, 0, fmt.Errorf("%w: meta element of %d bytes", ErrNotPart10, size)
		}
		br.Discard(n)
		var dst *string
		switch el {
		case 0x0002:
			dst = &o.SOPClassUID
		case 0x0003:
			dst = &o.SOPInstanceUID
		case 0x0010:
			dst = &o.TransferSyntaxUID
		}
		if dst == nil {
			if _, err := br.Discard(size); err != nil {
				return o, 0, ErrNotPart10
			}
		} else {
			v := make([]byte, min(size, 4096))
			if _, err := io.ReadFull(br, v); err != nil || size > len(v) {
				return o, 0, ErrNotPart10
			}
			*dst = uid.Trim(v)
		}
		offset += int64(n + size)
	}
	if !uid.Valid(o.SOPClassUID) || !uid.Valid(o.SOPInstanceUID) || !uid.Valid(o.TransferSyntaxUID) {
		return o, 0, fmt.Errorf("%w: SOP class, instance or transfer syntax UID missing or malformed", ErrNotPart10)
	}
	return o, offset, nil
}
