package node

import (
	"errors"
	"testing"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
)

// An object of very many elements is not held whole while it is received for what it
// says of its sources, nor are long values; what can't be told so is told in its analysis.
func TestDerivationInBoundedMemory(t *testing.T) {
	for _, c := range []struct {
		name     string
		elements int
		length   int // of each of their values
		read     bool
	}{{"a usual one", 200, 100, true}, {"many elements", 40_000, 0, false}, {"long values", 10, 1 << 20, true}} {
		path := writeObject(t, t.TempDir(), "1.2.3", "1.2.3.10", func(ds *dicomio.DataSet) {
			ds.SetString(tag.ImageType, `DERIVED\PRIMARY`)
			for i := range c.elements {
				ds.SetBytes(tag.New(0x0031+2*uint16(i/0xF000), 0x1000+uint16(i%0xF000)), "OB", make([]byte, c.length))
			}
		})
		d, err := derivationOf(t.Context(), path, uid.ExplicitVRLittleEndian)
		if (err == nil) != c.read || !c.read && !errors.Is(err, dicomio.ErrLimit) {
			t.Errorf("%s: %+v, %v", c.name, d, err)
		}
		// It is received all the same, as a loop.
		if in, err := readIdentity(t.Context(), path); err != nil || !in.Loop {
			t.Errorf("%s: %+v, %v", c.name, in, err)
		}
	}
}
