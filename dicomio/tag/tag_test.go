package tag

import (
	"bufio"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"
)

func TestFind(t *testing.T) {
	for _, tt := range []struct {
		tag  Tag
		want Info
		ok   bool
	}{
		{PatientName, Info{"PN", "1", "PatientName"}, true},
		{SmallestImagePixelValue, Info{"US or SS", "1", "SmallestImagePixelValue"}, true},
		{0x60023000, Info{"OB or OW", "1", "OverlayData"}, true},
		{0x50FE3000, Info{"OB or OW", "1", "CurveData"}, true},
		{0x60033000, Info{}, false}, // odd: private
		{0x00203142, Info{"CS", "1-n", "SourceImageIDs"}, true},
		{0x00090010, Info{}, false},
		{0xFFFFFFFF, Info{}, false},
	} {
		if got, ok := Find(tt.tag); got != tt.want || ok != tt.ok {
			t.Errorf("%v: %v, %v, expected %v", tt.tag, got, ok, tt.want)
		}
	}
	if !slices.IsSorted(tags[:]) {
		t.Error("the tags do not ascend")
	}
	if len(tags) != len(infos) {
		t.Errorf("%d tags, %d entries", len(tags), len(infos))
	}
	if s := SpecificCharacterSet.String(); s != "(0008,0005)" {
		t.Error(s)
	}
	if s := Keyword(0x00091001); s != "(0009,1001)" {
		t.Error(s)
	}
	if New(0x0010, 0x0020) != PatientID || PatientID.Group() != 0x10 || PatientID.Element() != 0x20 {
		t.Error("group and element")
	}
}

// TestBesideDCMTK holds the VRs against another dictionary, that of an
// installed dcmtk.
func TestBesideDCMTK(t *testing.T) {
	found, _ := filepath.Glob("/usr/share/*dcmtk*/dicom.dic")
	if len(found) == 0 {
		t.Skip("no dictionary of dcmtk on this machine")
	}
	f, err := os.Open(found[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	line := regexp.MustCompile(`^\(([0-9a-fA-F]{4}),([0-9a-fA-F]{4})\)\t([A-Z]{2})\t(\w+)\t\S+\tDICOM(/retired)?$`)
	n := 0
	for s := bufio.NewScanner(f); s.Scan(); {
		m := line.FindStringSubmatch(s.Text())
		if m == nil {
			continue
		}
		v, _ := strconv.ParseUint(m[1]+m[2], 16, 32)
		n++
		if got, ok := Find(Tag(v)); !ok || got.VR != m[3] {
			t.Errorf("%v %s: %q, dcmtk says %s", Tag(v), m[4], got.VR, m[3])
		}
	}
	if n < 4000 {
		t.Errorf("only %d attributes were compared", n)
	}
}
