package spool

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"strings"

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

// Intact compares the data set in a file with the sum that it had when it was
// received; any will do for "". An error wrapping objects.ErrDamaged: it is
// another, or no data set.
func Intact(path, sum string) error {
	if !strings.HasPrefix(sum, sumPrefix) {
		return nil
	}
	now, err := Sum(path)
	var unreadable *fs.PathError
	switch {
	case errors.As(err, &unreadable):
		return err
	case err != nil:
		return fmt.Errorf("%w: %w", objects.ErrDamaged, err)
	case now != sum:
		return fmt.Errorf("%s: %w: other bytes were received", path, objects.ErrDamaged)
	}
	return nil
}
