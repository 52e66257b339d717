package measure

import (
	"math"

	"github.com/echonode/echonode/pipeline/result"
)

// Own choice: an EF below this is reported in words where it cannot be measured.
const severeEF = 20

// severelyReduced is the answer for a ventricle that moves too little for beats
// to be told from noise: "severely reduced", with the EF that the motion and
// its noise allow at most. It is nil where the curve allows more, where the
// picture stands still, or where there is no curve.
func (l *loop) severelyReduced() *result.Reason {
	r := l.rhythm
	if len(r.Smoothed) == 0 || r.Noise < 1e-4 {
		return nil
	}
	// The volume follows the area to the power of 1.5; half of the noise stays
	// in the smoothed curve.
	most := 100 * (1 - math.Pow(1-min(r.Range+r.Noise/2, 1), 1.5))
	if most > severeEF {
		return nil
	}
	return severe(most)
}

func severe(most float64) *result.Reason {
	r := result.Reasonf(result.SeverelyReduced, "severely reduced, below what can be measured: EF is under about %.0f %%", math.Ceil(max(most, 5)/5)*5)
	return &r
}
