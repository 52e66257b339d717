package measure

import (
	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/result"
)

// readersBeats are the beats that a reader chose, as the rhythm has them; ok is
// false where the reader left them to the curve.
func (l *loop) readersBeats() (beats []lv.Beat, ok bool) {
	if l.Reader == nil || l.Reader.Beats == nil {
		return nil, false
	}
	inside := func(i int) bool { return i >= 0 && i < len(l.frames) }
	for _, b := range l.Reader.Beats {
		if inside(b.ED) && inside(b.ES) && b.ED != b.ES {
			beats = append(beats, lv.Beat{ED: b.ED, ES: b.ES, NextED: b.NextED, BeforeMS: b.BeforeMS, AfterMS: b.AfterMS, Clipped: b.Partial})
		}
	}
	return beats, true
}

// byReader reports whether a reader drew the outline of a frame, or placed the
// points of the parasternal view in it.
func (l *loop) byReader(i int) bool { return i >= 0 && i < len(l.frames) && l.frames[i].byReader }

// placed reports whether a reader placed points in any frame, and whether in both
// phases of a beat of theirs.
func (l *loop) placed() (some, beat bool) {
	for i := range l.frames {
		some = some || l.byReader(i)
	}
	beats, _ := l.readersBeats()
	for _, b := range beats {
		beat = beat || l.byReader(b.ED) && l.byReader(b.ES)
	}
	return some, beat
}

// trusts reports whether every phase that is measured lies on a frame that a
// reader drew: what would have kept the network's outlines from being measured
// is then a remark.
func (l *loop) trusts() bool {
	n := 0
	for _, b := range l.Beats {
		if b.Rejected != nil {
			continue
		}
		if !l.byReader(b.ED) || !l.byReader(b.ES) {
			return false
		}
		n++
	}
	return n > 0
}

// remarks turns rejections into warnings.
func remarks(findings []lv.Finding) []lv.Finding {
	out := make([]lv.Finding, len(findings))
	for i, f := range findings {
		if f.Severity == lv.Reject {
			f.Severity = lv.Warn
		}
		out[i] = f
	}
	return out
}

// MarkReader marks the values that depend on what a reader corrected: those
// with a source in a loop that has a decision or a corrected frame.
func MarkReader(r *result.Study) {
	touched := map[string]bool{}
	for i := range r.Loops {
		l := &r.Loops[i]
		if l.CorrectedByReader() {
			touched[l.SOPInstanceUID] = true
		}
		for k := range l.FrameResults {
			if l.FrameResults[k].Network != nil {
				touched[l.SOPInstanceUID] = true
			}
		}
	}
	mark := func(ms []result.Measurement) {
		for i := range ms {
			ms[i].ByReader = false
			for _, s := range ms[i].Sources {
				if touched[s.SOPInstanceUID] && !s.Beside && ms[i].Name != result.HR {
					ms[i].ByReader = true
				}
			}
		}
	}
	mark(r.Measurements)
	for i := range r.Loops {
		if l := &r.Loops[i]; touched[l.SOPInstanceUID] {
			mark(l.Measurements)
		}
	}
}
