package dicomio

import (
	"compress/flate"
	"context"
	"io"
	"strings"
	"unsafe"

	"github.com/echonode/echonode/dicomio/encoding"
	"github.com/echonode/echonode/dicomio/frames"
	"github.com/echonode/echonode/dicomio/internal/source"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
)

// Identity says whose object an input is.
type Identity struct {
	SOPClassUID, SOPInstanceUID         string
	StudyInstanceUID, SeriesInstanceUID string
	TransferSyntax                      string
	PatientID, IssuerOfPatientID        string // UTF-8
	PatientName, PatientBirthDate       string // UTF-8
	PatientSex                          string
	Modality, Manufacturer              string
	ImageType                           []string
}

// identityTags are what Identify looks for, ascending.
var identityTags = []Tag{
	tagCharset, tag.ImageType, tag.SOPClassUID, tag.SOPInstanceUID, tag.Modality, tag.Manufacturer,
	tag.PatientName, tag.PatientID, tag.IssuerOfPatientID, tag.PatientBirthDate, tag.PatientSex,
	tag.StudyInstanceUID, tag.SeriesInstanceUID,
}

// identityUIDs must have been seen before the end of a data set may be left
// unread.
var identityUIDs = []Tag{tag.SOPClassUID, tag.SOPInstanceUID, tag.StudyInstanceUID, tag.SeriesInstanceUID}

// identityReach is how far into an inflated data set its identity is looked
// for. Everything before it in the order of tags is short.
const identityReach = 64 << 20

// identityValue is the longest value that is an identity.
const identityValue = 4 << 10

// Identify reads whose object an input is, and holds no more of it than that.
// The structure of a data set that is stored as it is is walked to its end, so
// that a truncated or malformed one is refused like Read does with
// Options.Strict; a deflated one is inflated as a stream, and no further than
// its identity.
func Identify(ctx context.Context, r io.ReaderAt, size int64, o Options) (Identity, error) {
	f := &File{ctx: ctx, src: r, size: size, limits: o.Limits.withDefaults(), Meta: NewDataSet()}
	p := &parser{lim: f.limits, ctx: ctx}
	p.use(r, size)
	at, err := p.readMeta(f, o)
	if err != nil {
		return Identity{}, err
	}
	syntax, enc, known, start := f.declared(o, at)
	f.body, f.bodySize = r, size
	s := &survey{want: identityTags}
	if t, _ := uid.LookupSyntax(syntax); t.Deflated {
		limit := min(f.limits.Inflated, identityReach)
		f.body, f.bodySize = &source.Stream{R: flate.NewReader(io.NewSectionReader(r, at, size-at)), Limit: limit}, limit
		start = 0
		p.use(f.body, f.bodySize)
		p.w.Open = true
		s.until = identityUIDs
	}
	if enc, err = p.told(f, start, syntax, known, enc); err != nil {
		return Identity{}, err
	}
	ds, err := p.survey(f, start, enc, s)
	if err != nil {
		return Identity{}, err
	}
	text := func(group, element uint16) string { return strings.TrimSpace(ds.String(tag.New(group, element))) }
	return Identity{
		SOPClassUID: text(8, 0x16), SOPInstanceUID: text(8, 0x18), Modality: text(8, 0x60), Manufacturer: text(8, 0x70),
		PatientName: text(0x10, 0x10), PatientID: text(0x10, 0x20), IssuerOfPatientID: text(0x10, 0x21),
		PatientBirthDate: text(0x10, 0x30), PatientSex: text(0x10, 0x40),
		StudyInstanceUID: text(0x20, 0x0D), SeriesInstanceUID: text(0x20, 0x0E), TransferSyntax: f.TransferSyntax,
		ImageType: ds.Strings(tag.ImageType),
	}, nil
}

// IdentifyFile is Identify for a file.
func IdentifyFile(ctx context.Context, path string, o Options) (Identity, error) {
	f, st, err := openRegular(path)
	if err != nil {
		return Identity{}, err
	}
	defer f.Close()
	return Identify(ctx, f, st.Size(), o)
}

// survey makes a parser walk a data set without keeping it: it counts what an
// index would hold, and keeps wanted values of the outermost level. The walk
// is the parser's own, so that both read the same.
type survey struct {
	want  []Tag // kept, if short
	until []Tag // not nil: the walk ends at the first tag above want after all of these
	kept  DataSet
	seen  int // of until

	sets  []*DataSet // one per depth, used over and over
	elems []*Element
	items int64
	frags int64
	other int64 // bytes of values that would be kept
	jumps bool  // tags do not ascend
}

// element is the one element of a depth.
func (s *survey) element(depth int) *Element {
	for len(s.elems) <= depth {
		s.elems = append(s.elems, new(Element))
	}
	return s.elems[depth]
}

// set is the one data set of a depth.
func (s *survey) set(depth int) *DataSet {
	for len(s.sets) <= depth {
		s.sets = append(s.sets, new(DataSet))
	}
	return s.sets[depth]
}

// wants reports whether the value of an element is kept.
func (s *survey) wants(t Tag, n int64, depth int) bool {
	if depth > 0 || n > identityValue {
		return false
	}
	for _, w := range s.want {
		if w == t {
			return true
		}
	}
	return false
}

// took keeps an element of the outermost level that is wanted.
func (s *survey) took(e *Element) {
	if e.val == nil && e.n > 0 || !s.wants(e.Tag, e.n, 0) {
		return
	}
	for _, u := range s.until {
		if u == e.Tag && !s.kept.Has(u) {
			s.seen++
		}
	}
	c := *e
	s.kept.put(&c)
}

// done reports whether nothing of interest follows at tag t.
func (s *survey) done(t Tag) bool {
	return s.until != nil && s.seen == len(s.until) && t > s.want[len(s.want)-1]
}

// survey walks the data set of a file; the parser can be used again after it.
func (p *parser) survey(f *File, start int64, enc encoding.Syntax, s *survey) (*DataSet, error) {
	p.org = &origin{r: f.body, maxValue: f.limits.Value}
	p.dry = s
	_, _, err := p.dataSet(start, f.bodySize, enc, nil, 0, topLevel)
	p.dry = nil
	s.kept.src = p.org
	return &s.kept, err
}

// cost is an upper bound of the bytes that an index takes.
func (s *survey) cost(elems int) int64 {
	perElement := int64(unsafe.Sizeof(Element{})) + 2*8 // the slice of elements, with its slack
	if s.jumps {
		perElement += 48 // the map of DataSet.settle
	}
	n := int64(elems)*perElement + s.items*(int64(unsafe.Sizeof(DataSet{}))+2*8) + s.other
	return n + 2*s.frags*int64(unsafe.Sizeof(frames.Span{})) + 64<<10
}
