package result

import (
	"cmp"
	"fmt"
)

// LoopName is what people call a loop of a study, which no other loop of it is called:
// by its Instance Number, with the Series Number where several have the same, else by
// its place in the study.
type LoopName struct {
	Series int // 0 where the number alone tells
	Number int
	// Place says that Number is the loop's place, since numbers do not tell.
	Place bool
}

// String is the name in English: "loop 7", "series 3 loop 1", "object 2".
func (n LoopName) String() string {
	switch {
	case n.Place:
		return fmt.Sprintf("object %d", n.Number)
	case n.Series > 0:
		return fmt.Sprintf("series %d loop %d", n.Series, n.Number)
	}
	return fmt.Sprintf("loop %d", n.Number)
}

// LoopNames are the names of the loops of a study by their SOP Instance UIDs.
func (s *Study) LoopNames() map[string]LoopName {
	byInstance, bySeries := map[int]int{}, map[[2]int]int{}
	for _, l := range s.Loops {
		byInstance[max(l.InstanceNumber, 0)]++
		bySeries[[2]int{l.SeriesNumber, l.InstanceNumber}]++
	}
	names := map[string]LoopName{}
	for i, l := range s.Loops {
		name := LoopName{Number: cmp.Or(l.Number, i+1), Place: true}
		switch once := bySeries[[2]int{l.SeriesNumber, l.InstanceNumber}] == 1; {
		case byInstance[0] == len(s.Loops):
			name.Place = false // none has a number: there is nothing to be taken for one
		case l.InstanceNumber <= 0:
		case byInstance[l.InstanceNumber] == 1, once && l.SeriesNumber == 0:
			name = LoopName{Number: l.InstanceNumber}
		case once:
			name = LoopName{Series: l.SeriesNumber, Number: l.InstanceNumber}
		}
		names[l.SOPInstanceUID] = name
	}
	return names
}
