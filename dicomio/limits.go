package dicomio

import (
	"time"

	"github.com/echonode/echonode/dicomio/internal/budget"
)

// Limits bounds what one input may cost. A zero field takes its default.
type Limits struct {
	Nesting     int           // depth of sequences; default 64
	Elements    int           // elements, items and fragments in one file; default 1,000,000
	InlineValue int64         // longest value held in memory, longer ones stay in the source; default 1 MiB
	InlineTotal int64         // all values held in memory by one file; default 64 MiB
	Value       int64         // longest value that Element.Bytes will load; default 512 MiB
	Frame       int64         // one frame, compressed or decoded; default 64 MiB
	Inflated    int64         // a deflated data set after inflation; default 512 MiB, and 64 MiB more than 64 times its length at most
	Frames      int           // frames in one file; default 1,000,000
	Video       time.Duration // wall time of one video decoder process; default 2 minutes
	Memory      *Memory       // shared by all inputs of a process; nil: each is bounded by the limits above alone
	Scratch     string        // directory for large inflated data sets, in files without a name; default os.TempDir
}

// DefaultLimits returns the limits that a zero Limits stands for.
func DefaultLimits() Limits {
	return Limits{
		Nesting:     64,
		Elements:    1_000_000,
		InlineValue: 1 << 20,
		InlineTotal: 64 << 20,
		Value:       512 << 20,
		Frame:       64 << 20,
		Inflated:    512 << 20,
		Frames:      1_000_000,
		Video:       2 * time.Minute,
	}
}

// withDefaults fills the zero fields.
func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	set(&l.Nesting, d.Nesting)
	set(&l.Elements, d.Elements)
	set(&l.InlineValue, d.InlineValue)
	set(&l.InlineTotal, d.InlineTotal)
	set(&l.Value, d.Value)
	set(&l.Frame, d.Frame)
	set(&l.Inflated, d.Inflated)
	set(&l.Frames, d.Frames)
	set(&l.Video, d.Video)
	return l
}

// set gives p its default when it is not positive.
func set[T int | int64 | time.Duration](p *T, def T) {
	if *p <= 0 {
		*p = def
	}
}

// Options says how to read.
type Options struct {
	// TransferSyntax of a bare data set, as negotiated for it. Empty: a Part
	// 10 file, or a bare data set whose encoding is told from its first bytes.
	TransferSyntax string
	// Strict refuses an input that ends early. Without it what is whole of the
	// data set is read, and File.Truncated tells that there is more.
	Strict bool
	Limits Limits
}

// Memory is one budget for what all inputs together make a process hold: the
// indexes of their data sets and the frames that are being decoded. Inputs share
// it by Limits.Memory. An input that alone is over its part is refused (ErrLimit),
// others wait their turn.
type Memory = budget.Memory

// NewMemory makes a budget of so many bytes.
func NewMemory(bytes int64) *Memory { return budget.New(bytes) }

// ErrBusy: the memory budget is held by other inputs, for longer than this one
// may wait. The input is not at fault; trying again later helps.
var ErrBusy = budget.ErrBusy

// indexShare is the part of all indexes that one may take: an input can be
// opened while another one is open.
const indexShare = 2

// indexWait is how long an input waits for others to be closed. It is bounded
// because a caller may keep several inputs open.
const indexWait = time.Minute
