package pipeline

import "github.com/echonode/echonode/pipeline/result"

// setDerivedAside refuses the loops of a study that were derived from others of it
// that are measured, over however many steps: what another program has drawn into a
// loop, or cut from it, is not measured beside it. Of loops that are derived from
// each other alone, all stay, and so does what was derived from a loop that could
// not be measured.
func setDerivedAside(loops []result.Loop) {
	const (
		open  = iota // not known yet
		stays        // is measured
		aside        // something that is measured stands for it
		lost         // is not measured, nor anything that it was made from
	)
	by := make(map[string]int, len(loops))
	for i := range loops {
		by[loops[i].SOPInstanceUID] = i
	}
	state := make([]int, len(loops))
	judge := func(i int) int {
		next := lost
		if loops[i].Status == result.Analysed {
			next = stays
		}
		for _, uid := range loops[i].Sources {
			from, here := by[uid]
			if !here || from == i {
				continue
			}
			switch state[from] {
			case stays, aside:
				return aside
			case open:
				next = open
			}
		}
		return next
	}
	for changed := true; changed; {
		changed = false
		for i := range loops {
			if state[i] == open {
				state[i] = judge(i)
				changed = changed || state[i] != open
			}
		}
	}
	for i := range loops {
		l := &loops[i]
		if state[i] != aside || l.Status != result.Analysed {
			continue
		}
		reason := result.Reasonf(result.Derived, "derived from another loop of the study: it is not measured beside it")
		l.Status, l.Reason = result.Refused, &reason
		l.FrameResults, l.Curve, l.Beats, l.Measurements, l.Warnings, l.Beside = nil, nil, nil, nil, nil, nil
	}
}
