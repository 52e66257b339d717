package pipeline

import "github.com/echonode/echonode/pipeline/result"

// setDerivedAside refuses the loops of a study that were derived from others of it:
// what another program has drawn into a loop, or cut from it, is not measured beside
// it. Of loops that are derived from each other alone, all stay.
func setDerivedAside(loops []result.Loop) {
	by := make(map[string]*result.Loop, len(loops))
	for i := range loops {
		by[loops[i].SOPInstanceUID] = &loops[i]
	}
	// rooted reports whether the sources of a loop lead to one of the study that
	// has none in it.
	var rooted func(l *result.Loop, way map[string]bool) bool
	rooted = func(l *result.Loop, way map[string]bool) bool {
		way[l.SOPInstanceUID] = true
		root := true
		for _, uid := range l.Sources {
			from := by[uid]
			if from == nil {
				continue
			}
			root = false
			if !way[uid] && rooted(from, way) {
				return true
			}
		}
		return root
	}
	var aside []*result.Loop
	for i := range loops {
		l := &loops[i]
		if l.Status != result.Analysed {
			continue
		}
		for _, uid := range l.Sources {
			if from := by[uid]; from != nil && from != l && rooted(from, map[string]bool{l.SOPInstanceUID: true}) {
				aside = append(aside, l)
				break
			}
		}
	}
	for _, l := range aside {
		reason := result.Reasonf(result.Derived, "derived from another loop of the study: it is not measured beside it")
		l.Status, l.Reason = result.Refused, &reason
		l.FrameResults, l.Curve, l.Beats, l.Measurements, l.Warnings = nil, nil, nil, nil, nil
	}
}
