package derived

import (
	"errors"
	"fmt"
	"image"
	"os"

	"github.com/echonode/echonode/dicomio"
)

// spill holds compressed frames until the sizes of all are known, as the header of an
// object needs them: the first in memory, and from where that has no room in a file.
type spill struct {
	memory int64  // bytes held there at most
	folder string // of the file

	held   [][]byte
	inside int64 // bytes of held
	file   *os.File
	sizes  []int64
	at     []int64 // in the file, of the frames that are not held
	end    int64   // of the file
	buf    []byte
}

func (s *spill) add(b []byte) (err error) {
	s.sizes = append(s.sizes, int64(len(b)))
	if s.file == nil && s.inside+int64(len(b)) <= s.memory {
		s.held, s.inside = append(s.held, b), s.inside+int64(len(b))
		return nil
	}
	if s.file == nil {
		if s.file, err = os.CreateTemp(s.folder, "frames-*.tmp"); err != nil {
			return err
		}
	}
	s.at = append(s.at, s.end)
	n, err := s.file.Write(b)
	s.end += int64(n)
	return err
}

// frame is done with when the next is asked for.
func (s *spill) frame(i int) ([]byte, error) {
	if i < len(s.held) {
		return s.held[i], nil
	}
	n := s.sizes[i]
	if int64(cap(s.buf)) < n {
		s.buf = make([]byte, n)
	}
	s.buf = s.buf[:n]
	if k, err := s.file.ReadAt(s.buf, s.at[i-len(s.held)]); int64(k) < n {
		return nil, fmt.Errorf("%d of the %d bytes of a frame: %w", k, n, err)
	}
	return s.buf, nil
}

func (s *spill) pixels() *dicomio.Pixels { return dicomio.FrameSizes(s.sizes, s.frame) }

// close removes the file.
func (s *spill) close() error {
	if s.file == nil {
		return nil
	}
	return errors.Join(s.file.Close(), os.Remove(s.file.Name()))
}

// leastQuality is the lowest quality that frames are compressed with so that all find
// room, and qualityStep by how much it is lowered at a time. Own choice: outlines and
// words stay legible.
const leastQuality, qualityStep = 25, 10

// compress compresses a frame with a quality, or less where it would be larger than
// room, and returns what it took.
func compress(img *image.RGBA, quality int, room int64) ([]byte, int, error) {
	for {
		b, err := dicomio.EncodeJPEG(img, quality)
		if err != nil {
			return nil, quality, fmt.Errorf("%w: %w", ErrCine, err)
		}
		if int64(len(b)) <= room || quality <= leastQuality {
			return b, quality, nil
		}
		quality = max(quality-qualityStep, leastQuality)
	}
}
