package dicomio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// mutate damages a copy of b: bytes, lengths, cuts, insertions, swaps.
func mutate(rng *rand.Rand, b []byte) []byte {
	b = append([]byte(nil), b...)
	for range 1 + rng.IntN(4) {
		if len(b) < 16 {
			return b
		}
		// Headers are near the start: half of the damage goes there.
		at := rng.IntN(len(b) - 8)
		if rng.IntN(2) == 0 {
			at = rng.IntN(min(len(b)-8, 3000))
		}
		switch rng.IntN(7) {
		case 0:
			b[at] ^= 1 << rng.IntN(8)
		case 1:
			b[at] = byte(rng.UintN(256))
		case 2:
			binary.LittleEndian.PutUint32(b[at:], []uint32{0, 1, 0xFFFFFFFF, 0x7FFFFFFF, 0xFFFE, rng.Uint32()}[rng.IntN(6)])
		case 3:
			b = b[:at]
		case 4:
			n := rng.IntN(64)
			b = append(b[:at:at], append(make([]byte, n), b[at:]...)...)
		case 5:
			from := rng.IntN(len(b) - 8)
			copy(b[at:], b[from:min(len(b), from+rng.IntN(64))])
		case 6:
			b = append(b[:at:at], b[min(len(b), at+rng.IntN(16)):]...)
		}
	}
	return b
}

// Damaged files neither panic nor cost more than the limits, and fail typed.
// DICOMIO_MUTATIONS sets how many; with ECHO_DATA the corpus is damaged too.
func TestMutations(t *testing.T) {
	n := 3000
	if s := os.Getenv("DICOMIO_MUTATIONS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	var seeds [][]byte
	for _, name := range fixtures(t) {
		seeds = append(seeds, fixture(t, name))
	}
	if root := os.Getenv("ECHO_DATA"); root != "" && n > 3000 {
		dir, refs := corpus(t)
		for _, r := range refs {
			if b, err := os.ReadFile(filepath.Join(dir, r.Path)); err == nil && len(b) < 200_000 {
				seeds = append(seeds, b)
			}
		}
	}
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 1))
	refused, decoded := 0, 0
	var slowest time.Duration
	for i := range n {
		b := mutate(rng, seeds[rng.IntN(len(seeds))])
		watch := stopwatch()
		err := func() error {
			f, err := Read(bytes.NewReader(b), int64(len(b)), Options{Limits: fuzzLimits, Strict: i%4 == 0})
			if err != nil {
				return err
			}
			return useFile(t, f, b)
		}()
		took := watch()
		slowest = max(slowest, took)
		var typed *Error
		if err != nil && !errors.As(err, &typed) {
			t.Errorf("seed %d, input %d: untyped error %v", seed, i, err)
		}
		if took > 5*fuzzTime {
			t.Errorf("seed %d, input %d took %v", seed, i, took)
		}
		if t.Failed() {
			t.Logf("input: %d bytes, %x...", len(b), b[:min(len(b), 200)])
			return
		}
		if err != nil {
			refused++
		} else {
			decoded++
		}
	}
	t.Logf("%d inputs from %d files: %d refused, %d decoded; slowest %v", n, len(seeds), refused, decoded, slowest)
}
