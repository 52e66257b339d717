package spool

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"strings"

	"github.com/echonode/echonode/dicomio/part10"
	"github.com/echonode/echonode/pipeline/objects"
)

// sumPrefix names how a sum was computed.
const sumPrefix = "crc32c:"

// Sum is a checksum of the data set in a file of the spool, as [Entry.Sum] has
// it: what was received and what is there can be compared without a second copy.
// It notices what disks do, and that another object of the same length is
// another one; it is no proof against somebody who wants to deceive.
func Sum(path string) (string, error) {
	o, err := openObject(path)
	if err != nil {
		return "", full(err)
	}
	defer o.Close()
	return o.sum()
}

// sum reads the data set.
func (o *object) sum() (string, error) {
	h := crc32.New(castagnoli)
	if _, err := io.Copy(h, o); err != nil {
		return "", err
	}
	return sumText(h.Sum32()), nil
}

func sumText(crc uint32) string { return fmt.Sprintf("%s%08x", sumPrefix, crc) }

// without is the CRC-32C of what follows head bytes in a stream: of the whole
// stream, that of the head, and the length of what follows. So the one pass over
// a file that its sealed name needs gives the sum of its data set too. The CRC
// of a||b is that of a, multiplied by x to the number of bits of b, plus that of
// b, over the polynomials modulo Castagnoli's.
func without(head, whole uint32, length int64) uint32 {
	power, square := uint32(1)<<31, uint32(1)<<23 // x^0 and x^8; the highest bit is the lowest power
	for n := uint64(length); n > 0; n >>= 1 {
		if n&1 != 0 {
			power = multiply(power, square)
		}
		square = multiply(square, square)
	}
	return whole ^ multiply(head, power)
}

// multiply multiplies polynomials modulo Castagnoli's.
func multiply(a, b uint32) (product uint32) {
	for bit := uint32(1) << 31; bit != 0; bit >>= 1 {
		if a&bit != 0 {
			product ^= b
		}
		if b&1 != 0 {
			b = b>>1 ^ crc32.Castagnoli
		} else {
			b >>= 1
		}
	}
	return product
}

// Intact compares a file with what was received: what its head says it is, and
// the sum that its data set had; any will do for "". An error wrapping
// objects.ErrDamaged: it is another, or no DICOM file. Other errors are those of
// reading, after which nothing is known.
func Intact(path string, was part10.Meta, sum string) error {
	damaged := func(why string) error { return fmt.Errorf("%s: %w: %s", path, objects.ErrDamaged, why) }
	o, err := openObject(path)
	if errors.As(err, new(*fs.PathError)) {
		return full(err)
	}
	if err != nil {
		return damaged(err.Error())
	}
	defer o.Close()
	is := [...]string{o.SOPClassUID, o.SOPInstanceUID, o.TransferSyntaxUID}
	for i, uid := range [...]string{was.SOPClassUID, was.SOPInstanceUID, was.TransferSyntaxUID} {
		if is[i] != uid && uid != "" {
			return damaged(fmt.Sprintf("its head says %q, %q was received", is[i], uid))
		}
	}
	if !strings.HasPrefix(sum, sumPrefix) {
		return nil
	}
	now, err := o.sum()
	if err != nil {
		return err
	}
	if now != sum {
		return damaged("other bytes were received")
	}
	return nil
}
