package sr

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/echonode/echonode/dicomio"
)

// A damaged report is read, checked and rendered without a panic, whatever
// bytes of it were changed, as far as it is still a data set.
func TestDamagedReports(t *testing.T) {
	var good bytes.Buffer
	r := report()
	if err := dicomio.Write(&good, build(t, r), dicomio.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(7, 8))
	read := 0
	for range 300 {
		b := bytes.Clone(good.Bytes())
		for range 1 + rng.IntN(3) {
			at := 140 + rng.IntN(len(b)-140)
			switch rng.IntN(6) {
			case 3, 4, 5:
				b[at] ^= 1 << rng.IntN(8)
			case 0:
				b[at] = byte(rng.Uint32())
			case 1:
				b = append(b[:at:at], b[min(at+1+rng.IntN(40), len(b)):]...)
			case 2:
				from := rng.IntN(len(b) - 30)
				copy(b[at:], b[from:from+rng.IntN(30)])
			}
			if len(b) < 200 {
				break
			}
		}
		f, err := dicomio.Read(bytes.NewReader(b), int64(len(b)), dicomio.Options{})
		if err != nil {
			continue
		}
		Check(f.DataSet, r.Evidence)
		doc, err := Parse(f.DataSet)
		if err != nil {
			continue
		}
		read++
		doc.Measurements()
		doc.NotMeasured()
		if err := doc.WriteText(io.Discard); err != nil {
			t.Fatal(err)
		}
		if read%10 == 0 { // the template is slow under the race detector
			if err := doc.WriteHTML(io.Discard); err != nil {
				t.Fatal(err)
			}
		}
	}
	if read < 30 {
		t.Errorf("only %d of 300 damaged reports could be read", read)
	}
}
