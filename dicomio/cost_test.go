package dicomio

import (
	"bytes"
	"encoding/binary"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/echonode/echonode/dicomio/tag"
)

// slowness is the factor that this build may be slower by.
var slowness time.Duration = 1

// spent is the processor time of this process, which what else the machine
// does leaves alone.
func spent(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Inputs made to cost as much as they can, each within the default limits and
// each at least 1 MiB or as large as its kind allows. None takes 2 s.
func TestWorstCases(t *testing.T) {
	el := func(tag string, vr string, v string) string {
		return tag + vr + string(binary.LittleEndian.AppendUint16(nil, uint16(len(v)))) + v
	}
	long := func(tag, vr, v string) string {
		return tag + vr + "\x00\x00" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(v)))) + v
	}
	nest := strings.Repeat("\x08\x00\x40\x11SQ\x00\x00\xFF\xFF\xFF\xFF\xFE\xFF\x00\xE0\xFF\xFF\xFF\xFF", 60) +
		strings.Repeat("\xFE\xFF\x0D\xE0\x00\x00\x00\x00\xFE\xFF\xDD\xE0\x00\x00\x00\x00", 60)
	// A public sequence as UN, whose attempt to parse as one fails at its end.
	un := "\x08\x00\x40\x11UN\x00\x00\x0C\x00\x00\x00\xFE\xFF\x00\xE0\x00\x00\x00\x00junk"
	deepUN := "junkjunk"
	for range 60 {
		inner := deepUN
		item := "\xFE\xFF\x00\xE0" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(inner)+12))) + "\x08\x00\x40\x11" +
			string(binary.LittleEndian.AppendUint32(nil, uint32(len(inner)))) + inner + "junk"
		deepUN = item
	}
	cases := map[string]string{
		"zeros before an end": class + strings.Repeat("\x00", 1<<20-100) + "\x01\x00\x00\x00\x00\x00\x00\x00",
		"empty elements":      class + strings.Repeat("\x10\x00\x10\x00PN\x00\x00", 900_000),
		"descending elements": func() string {
			var b strings.Builder
			b.WriteString(class)
			for i := range 900_000 {
				b.WriteString(string([]byte{byte(i % 251), 0x11, byte(i >> 8), byte(i), 'U', 'S', 2, 0, 1, 0}))
			}
			return b.String()
		}(),
		"empty items": class + long("\x08\x00\x40\x11", "SQ", strings.Repeat("\xFE\xFF\x00\xE0\x00\x00\x00\x00", 900_000)),
		"nested":      class + strings.Repeat(nest, 2000),
		"failing UN":  class + strings.Repeat(un, 300_000),
		"deep UN":     class + strings.Repeat(long("\x08\x00\x40\x11", "UN", deepUN), 3000),
		"fragments":   class + "\xE0\x7F\x10\x00OB\x00\x00\xFF\xFF\xFF\xFF" + strings.Repeat("\xFE\xFF\x00\xE0\x02\x00\x00\x00ab", 900_000) + "\xFE\xFF\xDD\xE0\x00\x00\x00\x00",
		"charset of many terms": class + "\x08\x00\x05\x00UC\x00\x00" + string(binary.LittleEndian.AppendUint32(nil, 1<<20)) +
			strings.Repeat("\\ISO 2022 IR 87 ", 1<<16) +
			strings.Repeat(el("\x10\x00\x10\x00", "PN", "\x1b$B;3ED\x1b(B "), 40_000),
		"escapes":       class + el("\x08\x00\x05\x00", "CS", "\\ISO 2022 IR 87") + long("\x10\x00\x00\x40", "UT", strings.Repeat("\x1b$B;3\x1b(B", 200_000)),
		"two-byte text": class + el("\x08\x00\x05\x00", "CS", "\\ISO 2022 IR 87") + long("\x10\x00\x00\x40", "UT", "\x1b$B"+strings.Repeat(";3", 1<<20-4)),
		"values":        class + long("\x18\x00\x65\x10", "UC", strings.Repeat("1\\", 1<<23)),
	}
	for name, s := range cases {
		start := spent(t)
		f, err := Read(strings.NewReader(s), int64(len(s)), Options{})
		took := spent(t) - start
		var use time.Duration
		if err == nil {
			start = spent(t)
			for _, e := range f.DataSet.All() {
				if e.Len() > 0 {
					e.strings(f.DataSet.charset())
				}
			}
			f.DataSet.Floats(tag.FrameTimeVector)
			f.DataSet.Strings(tag.PatientComments)
			if _, ferr := f.Frames(); ferr == nil {
				t.Errorf("%s: frames", name)
			}
			use = spent(t) - start
			start = spent(t)
			var out bytes.Buffer
			if _, werr := f.WriteTo(&out); werr != nil && f.Truncated() == nil {
				t.Errorf("%s: %v", name, werr)
			}
		}
		t.Logf("%-22s %5d kB: read %v, use %v, write %v; %v", name, len(s)/1024, took.Round(time.Millisecond), use.Round(time.Millisecond),
			(spent(t) - start).Round(time.Millisecond), err)
		if limit := 2 * time.Second * slowness; took > limit || use > limit {
			t.Errorf("%s: too slow", name)
		}
	}
}
