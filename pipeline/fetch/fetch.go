// Package fetch gets studies from an archive by DICOM query and retrieve
// (PS3.4 C): it asks what there is (C-FIND, Study Root), and takes it on the
// same association (C-GET) or has it sent to an application entity (C-MOVE).
//
// What has been fetched is not fetched again: objects that lie in the folder
// are left out, and series that were done are noted in a file.
package fetch

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/echonode/echonode/dicomio/part10"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/scp"
)

// Query says which studies are wanted; at least one field is set.
type Query struct {
	StudyInstanceUID string
	Date             string // YYYYMMDD or a range YYYYMMDD-YYYYMMDD, either end open
	PatientID        string
	AccessionNumber  string
	Modality         string // of the series fetched; "" is all
}

// Study is a match of a Query.
type Study struct {
	StudyInstanceUID string
	Date             string
	Modalities       []string
	Description      string
	Instances        int // 0: the archive does not say
}

// Series is a series of a study.
type Series struct {
	StudyInstanceUID, SeriesInstanceUID string
	Modality                            string
	Instances                           []Instance
}

// Instance is an object of a series. The class is "" where the archive does not
// say it.
type Instance struct{ SOPInstanceUID, SOPClassUID string }

// Fetcher fetches from one archive.
type Fetcher struct {
	Dialer  *scp.Dialer
	Address string
	// Dir is where objects are kept, as STUDY/OBJECT.dcm. It may be "" with
	// MoveTo, when another program receives.
	Dir string
	// MoveTo is the AE title that the archive sends to; "" takes the objects by
	// C-GET.
	MoveTo string
	// Done is the file that notes series that were fetched whole; "" is none.
	Done string
	// BytesPerSecond bounds the rate of C-GET; 0 is no bound.
	BytesPerSecond int64
	// Pause is waited between series.
	Pause time.Duration
	// Syntaxes are the transfer syntaxes that objects may come in; nil: all that
	// scp knows.
	Syntaxes []string
	// Progress is told of every object and, with MoveTo, of the archive's counts.
	Progress func(Progress)

	done map[string]bool

	mu     sync.Mutex
	unkept error // why the first object could not be kept that was not
}

// Progress is how far a series is.
type Progress struct {
	Series      Series
	Have, Total int // objects
	Bytes       int64
}

// Result sums up what was fetched.
type Result struct {
	Studies, Series   int
	Fetched, Skipped  int // objects; with MoveTo as the archive counts
	Failed            int
	Bytes             int64
	SeriesAlreadyDone int
}

// ErrPartial says that some objects could not be had.
var ErrPartial = errors.New("fetch: not everything was fetched")

// ErrNothing says that none of the studies holds a series that was asked for.
var ErrNothing = errors.New("fetch: none of the studies holds such a series")

// maxStudies bounds the studies of one query.
const maxStudies = 100_000

// find runs one C-FIND on an association of its own and calls match for each
// data set.
func (f *Fetcher) find(ctx context.Context, keys *dicomio.DataSet, match func(*dicomio.DataSet) error) error {
	c, err := f.Dialer.Dial(ctx, f.Address, []scp.PresentationContext{{AbstractSyntax: uid.StudyRootQueryRetrieveInformationModelFind,
		TransferSyntaxes: []string{uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian}}})
	if err != nil {
		return err
	}
	defer c.Abort()
	err = c.Find(ctx, uid.StudyRootQueryRetrieveInformationModelFind, identifier(keys), func(ts string, data []byte) error {
		d, err := dicomio.Read(bytes.NewReader(data), int64(len(data)), dicomio.Options{TransferSyntax: ts})
		if err != nil {
			return fmt.Errorf("a match cannot be read: %w", err)
		}
		return match(d.DataSet)
	})
	if err != nil {
		return err
	}
	return c.Release(ctx)
}

// identifier encodes the keys of a query.
func identifier(keys *dicomio.DataSet) scp.Identifier {
	return func(ts string) ([]byte, error) {
		var b bytes.Buffer
		err := dicomio.Write(&b, keys, dicomio.WriteOptions{TransferSyntax: ts, Bare: true})
		return b.Bytes(), err
	}
}

// Studies asks for the studies of a query, oldest first.
func (f *Fetcher) Studies(ctx context.Context, q Query) ([]Study, error) {
	if q == (Query{Modality: q.Modality}) {
		return nil, errors.New("fetch: a query needs a study, a date, a patient or an accession number")
	}
	keys := dicomio.NewDataSet().SetString(tag.QueryRetrieveLevel, "STUDY").SetEmpty(tag.StudyDescription).SetEmpty(tag.NumberOfStudyRelatedInstances)
	for t, v := range map[dicomio.Tag]string{tag.StudyInstanceUID: q.StudyInstanceUID, tag.PatientID: q.PatientID, tag.AccessionNumber: q.AccessionNumber,
		tag.ModalitiesInStudy: q.Modality} {
		if keys.SetEmpty(t); v != "" {
			keys.SetString(t, v)
		}
	}
	if keys.SetEmpty(tag.StudyDate); q.Date != "" {
		keys.SetBytes(tag.StudyDate, "DA", []byte(q.Date))
	}
	if err := keys.Err(); err != nil {
		return nil, err
	}
	var out []Study
	alike := map[string]bool{} // studies whose numbers were written with other capitals
	err := f.find(ctx, keys, func(d *dicomio.DataSet) error {
		n, _ := d.Int(tag.NumberOfStudyRelatedInstances)
		s := Study{d.String(tag.StudyInstanceUID), d.String(tag.StudyDate), d.Strings(tag.ModalitiesInStudy), d.String(tag.StudyDescription), int(max(0, n))}
		if !uid.Valid(s.StudyInstanceUID) || !q.names(d, strings.EqualFold) {
			return nil // no answer to what was asked
		}
		// Archives may ignore Modalities in Study, an optional key.
		if q.Modality != "" && len(s.Modalities) > 0 && !slices.Contains(s.Modalities, q.Modality) {
			return nil
		}
		if !q.names(d, equal) {
			alike[s.StudyInstanceUID] = true
		}
		if out = append(out, s); len(out) >= maxStudies {
			return scp.ErrEnough
		}
		return nil
	})
	out = asWritten(out, alike)
	slices.SortStableFunc(out, func(a, b Study) int { return cmp.Compare(a.Date, b.Date) })
	return slices.CompactFunc(out, func(a, b Study) bool { return a.StudyInstanceUID == b.StudyInstanceUID }), err
}

// asWritten leaves out those studies whose numbers are only alike, if there are others.
// Archives may compare numbers without case, and have none that is written so; where
// they have, the rest is somebody else's.
func asWritten(all []Study, alike map[string]bool) []Study {
	if !slices.ContainsFunc(all, func(s Study) bool { return !alike[s.StudyInstanceUID] }) {
		return all
	}
	return slices.DeleteFunc(all, func(s Study) bool { return alike[s.StudyInstanceUID] })
}

func equal(a, b string) bool { return a == b }

// names reports whether a match is of the patient and the accession number that
// were asked for, which archives take for patterns where they hold * or ?. Same
// compares them.
func (q Query) names(d *dicomio.DataSet, same func(a, b string) bool) bool {
	is := func(t dicomio.Tag, want string) bool {
		got := d.String(t)
		// An archive that does not say it has compared it, unless with a pattern.
		return want == "" || same(got, strings.TrimSpace(want)) || got == "" && !strings.ContainsAny(want, `*?\`)
	}
	return is(tag.PatientID, q.PatientID) && is(tag.AccessionNumber, q.AccessionNumber)
}

// Series asks for the series of a study, and for the objects of each.
func (f *Fetcher) Series(ctx context.Context, study, modality string) ([]Series, error) {
	keys := dicomio.NewDataSet().SetString(tag.QueryRetrieveLevel, "SERIES").SetString(tag.StudyInstanceUID, study).SetEmpty(tag.SeriesInstanceUID)
	if keys.SetEmpty(tag.Modality); modality != "" {
		keys.SetString(tag.Modality, modality)
	}
	var out []Series
	err := f.find(ctx, keys, func(d *dicomio.DataSet) error {
		s := Series{StudyInstanceUID: study, SeriesInstanceUID: d.String(tag.SeriesInstanceUID), Modality: d.String(tag.Modality)}
		if uid.Valid(s.SeriesInstanceUID) && (modality == "" || s.Modality == modality) {
			out = append(out, s)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range out {
		s := &out[i]
		keys := dicomio.NewDataSet().SetString(tag.QueryRetrieveLevel, "IMAGE").SetString(tag.StudyInstanceUID, study).
			SetString(tag.SeriesInstanceUID, s.SeriesInstanceUID).
			SetEmpty(tag.SOPInstanceUID).SetEmpty(tag.SOPClassUID)
		err := f.find(ctx, keys, func(d *dicomio.DataSet) error {
			if in := (Instance{d.String(tag.SOPInstanceUID), d.String(tag.SOPClassUID)}); uid.Valid(in.SOPInstanceUID) {
				s.Instances = append(s.Instances, in)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Fetch fetches the studies one after the other. What fails of a study does not
// keep back the others: it is in the error, which wraps ErrPartial then. Studies
// in which there is nothing to fetch are ErrNothing.
func (f *Fetcher) Fetch(ctx context.Context, studies []Study, modality string) (Result, error) {
	var r Result
	if err := f.readDone(); err != nil {
		return r, err
	}
	var problems []error
	for _, s := range studies {
		series, err := f.Series(ctx, s.StudyInstanceUID, modality)
		if err != nil {
			problems = append(problems, fmt.Errorf("study %s: %w", s.StudyInstanceUID, err))
		}
		r.Studies++
		for _, x := range series {
			if err := f.series(ctx, x, &r); err != nil {
				problems = append(problems, fmt.Errorf("series %s: %w", x.SeriesInstanceUID, err))
			}
			if err := ctx.Err(); err != nil {
				return r, err
			}
		}
		if err := ctx.Err(); err != nil {
			return r, err
		}
	}
	switch {
	case len(problems) > 0:
		return r, fmt.Errorf("%w: %w", ErrPartial, errors.Join(problems...))
	case r.Series+r.SeriesAlreadyDone == 0 && modality != "":
		return r, fmt.Errorf("%w: modality %s", ErrNothing, modality)
	case r.Series+r.SeriesAlreadyDone == 0:
		return r, ErrNothing
	}
	return r, nil
}

// series fetches what is missing of a series.
func (f *Fetcher) series(ctx context.Context, s Series, r *Result) error {
	if f.done[s.SeriesInstanceUID] {
		r.SeriesAlreadyDone++
		r.Skipped += len(s.Instances)
		return nil
	}
	missing := s.Instances
	if f.Dir != "" {
		missing = slices.DeleteFunc(slices.Clone(s.Instances), func(in Instance) bool {
			_, err := os.Stat(f.path(s.StudyInstanceUID, in.SOPInstanceUID))
			return err == nil
		})
	}
	r.Series++
	r.Skipped += len(s.Instances) - len(missing)
	if len(missing) > 0 {
		if r.Series > 1 && f.Pause > 0 {
			select {
			case <-time.After(f.Pause):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if f.MoveTo != "" {
			if err := f.move(ctx, s, missing, r); err != nil {
				return err
			}
		} else if err := f.get(ctx, s, missing, r); err != nil {
			return err
		}
	}
	return f.note(s.SeriesInstanceUID)
}

// keys of what is missing: the series where all of it is, otherwise objects.
func keys(s Series, missing []Instance) *dicomio.DataSet {
	d := dicomio.NewDataSet().SetString(tag.StudyInstanceUID, s.StudyInstanceUID).SetString(tag.SeriesInstanceUID, s.SeriesInstanceUID)
	if len(missing) == len(s.Instances) {
		return d.SetString(tag.QueryRetrieveLevel, "SERIES")
	}
	var uids []string
	for _, in := range missing {
		uids = append(uids, in.SOPInstanceUID)
	}
	return d.SetString(tag.QueryRetrieveLevel, "IMAGE").SetString(tag.SOPInstanceUID, uids...)
}

// maxWanted bounds the objects that one request names.
const maxWanted = 100

// batches are the requests for what is missing.
func batches(s Series, missing []Instance) [][]Instance {
	if len(missing) == len(s.Instances) {
		return [][]Instance{missing}
	}
	return slices.Collect(slices.Chunk(missing, maxWanted))
}

func (f *Fetcher) move(ctx context.Context, s Series, missing []Instance, r *Result) error {
	c, err := f.Dialer.Dial(ctx, f.Address, []scp.PresentationContext{{AbstractSyntax: uid.StudyRootQueryRetrieveInformationModelMove,
		TransferSyntaxes: []string{uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian}}})
	if err != nil {
		return err
	}
	defer c.Abort()
	have := len(s.Instances) - len(missing)
	for _, b := range batches(s, missing) {
		sub, err := c.Move(ctx, uid.StudyRootQueryRetrieveInformationModelMove, f.MoveTo, identifier(keys(s, b)), func(sub scp.SubOperations) {
			f.progress(Progress{Series: s, Have: have + int(sub.Completed+sub.Warnings), Total: len(s.Instances)})
		})
		// The last answer need not have counts (PS3.4 C.4.2.1.6).
		got := int(sub.Completed + sub.Warnings)
		if got == 0 && sub.Failed == 0 && err == nil {
			got = len(b)
		}
		have += got
		r.Fetched += got
		r.Failed += int(sub.Failed)
		f.progress(Progress{Series: s, Have: have, Total: len(s.Instances)})
		if unkept := f.notKept(); unkept != nil && (err != nil || sub.Failed > 0) {
			err = errors.Join(err, unkept)
		}
		if err == nil && sub.Failed > 0 {
			err = fmt.Errorf("%d objects were not sent", sub.Failed)
		}
		if err != nil {
			return err
		}
	}
	return c.Release(ctx)
}

// get takes what is missing by C-GET. Some archives send everything of a class
// on the first context of that class that they accepted, whatever its transfer
// syntax, and fail where they cannot convert: what did not come is asked for
// again, with one transfer syntax at a time.
func (f *Fetcher) get(ctx context.Context, s Series, missing []Instance, r *Result) error {
	for _, group := range f.byClass(missing) {
		left, accepted, err := f.getOnce(ctx, s, group, f.contexts(group), r)
		for _, ts := range accepted {
			if len(left) == 0 || err != nil || ctx.Err() != nil {
				break
			}
			left, _, err = f.getOnce(ctx, s, left, f.contexts(left, ts), r)
		}
		r.Failed += len(left)
		if unkept := f.notKept(); unkept != nil && (err != nil || len(left) > 0) {
			return errors.Join(unkept, err)
		}
		if err != nil {
			return err
		}
		if len(left) > 0 {
			return fmt.Errorf("%d of %d objects did not come", len(left), len(group))
		}
	}
	return nil
}

// getOnce takes a group of objects on one association. It returns those that
// did not come, and the transfer syntaxes that the archive accepted for any
// class.
func (f *Fetcher) getOnce(ctx context.Context, s Series, group []Instance, contexts []scp.PresentationContext, r *Result) (left []Instance,
	accepted []string, err error) {
	d := &scp.Dialer{CallingAE: f.Dialer.CallingAE, CalledAE: f.Dialer.CalledAE, TLSConfig: f.Dialer.TLSConfig, Identity: f.Dialer.Identity,
		Roles: scp.GetRoles(contexts), Limits: f.Dialer.Limits, Timeouts: f.Dialer.Timeouts, Logger: f.Dialer.Logger, NetDial: f.Dialer.NetDial}
	c, err := d.Dial(ctx, f.Address, contexts)
	if err != nil {
		return group, nil, err
	}
	defer c.Abort()
	for _, pc := range contexts[1:] {
		for _, ts := range pc.TransferSyntaxes {
			if !slices.Contains(accepted, ts) && c.Accepts(pc.AbstractSyntax, ts) == nil {
				accepted = append(accepted, ts)
			}
		}
	}
	wanted := map[string]bool{}
	for _, in := range group {
		wanted[in.SOPInstanceUID] = true
	}
	missing := func() []Instance {
		return slices.DeleteFunc(slices.Clone(group), func(in Instance) bool { return !wanted[in.SOPInstanceUID] })
	}
	h := scp.HandlerFunc(func(ctx context.Context, req *scp.StoreRequest, body io.Reader) error {
		n, err := f.keepOrSay(ctx, s.StudyInstanceUID, req, body)
		if err != nil {
			return err
		}
		if wanted[req.SOPInstanceUID] {
			delete(wanted, req.SOPInstanceUID)
			r.Fetched++
		}
		r.Bytes += n
		f.progress(Progress{Series: s, Have: len(s.Instances) - len(wanted), Total: len(s.Instances), Bytes: n})
		return nil
	})
	for _, b := range batches(s, group) {
		_, err := c.Get(ctx, uid.StudyRootQueryRetrieveInformationModelGet, identifier(keys(s, b)), h, nil)
		// A failure that leaves the association is about objects: see what is left.
		var status *scp.StatusError
		if err != nil && !errors.As(err, &status) {
			return missing(), accepted, err
		}
		if err != nil && len(wanted) == len(group) && scp.ClassOf(status.Status) == scp.ClassFailure && status.Status&0xF000 != 0xA000 {
			return missing(), accepted, err // not about single objects
		}
	}
	return missing(), accepted, c.Release(ctx)
}

// maxContexts of one association, the one of the query included.
const maxContexts = 128

// byClass splits instances so that the classes of each group leave room for
// all transfer syntaxes.
func (f *Fetcher) byClass(in []Instance) [][]Instance {
	per := max(1, (maxContexts-1)/len(f.syntaxes()))
	var groups [][]Instance
	var classes []map[string]bool
	for _, x := range in {
		k := slices.IndexFunc(classes, func(c map[string]bool) bool { return c[x.SOPClassUID] || len(c) < per })
		if k < 0 {
			k = len(groups)
			groups, classes = append(groups, nil), append(classes, map[string]bool{})
		}
		classes[k][x.SOPClassUID] = true
		groups[k] = append(groups[k], x)
	}
	return groups
}

func (f *Fetcher) syntaxes() []string {
	if f.Syntaxes != nil {
		return f.Syntaxes
	}
	return scp.DefaultTransferSyntaxes()
}

// contexts are those for a C-GET: every class with each syntax in a context of
// its own, so that the archive can send every object as it has it. Where it did
// not tell the classes, all that are known come with the uncompressed syntaxes
// and ultrasound with the usual compressed ones. With only, they are for these
// syntaxes alone.
func (f *Fetcher) contexts(in []Instance, only ...string) []scp.PresentationContext {
	little := []string{uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian}
	out := []scp.PresentationContext{{AbstractSyntax: uid.StudyRootQueryRetrieveInformationModelGet, TransferSyntaxes: little}}
	var classes []string
	for _, x := range in {
		if x.SOPClassUID == "" {
			classes = nil
			break
		}
		if !slices.Contains(classes, x.SOPClassUID) {
			classes = append(classes, x.SOPClassUID)
		}
	}
	if classes == nil && only != nil {
		classes = scp.DefaultStorageClasses()
		classes = classes[:min(len(classes), maxContexts-1)]
	}
	syntaxes := f.syntaxes()
	if only != nil {
		syntaxes = only
	}
	for _, c := range classes {
		for _, ts := range syntaxes {
			out = append(out, scp.PresentationContext{AbstractSyntax: c, TransferSyntaxes: []string{ts}})
		}
	}
	if classes != nil {
		return out
	}
	for _, c := range scp.DefaultStorageClasses() {
		out = append(out, scp.PresentationContext{AbstractSyntax: c, TransferSyntaxes: little})
	}
	for _, ts := range []string{uid.JPEGBaseline8Bit, uid.JPEGLosslessSV1, uid.JPEG2000Lossless, uid.JPEG2000, uid.JPEGLSLossless,
		uid.RLELossless, uid.MPEG4HP41} {
		for _, c := range []string{uid.UltrasoundMultiFrameImageStorage, uid.UltrasoundImageStorage, uid.UltrasoundMultiFrameImageStorageRetired,
			uid.MultiFrameTrueColorSecondaryCaptureImageStorage} {
			out = append(out, scp.PresentationContext{AbstractSyntax: c, TransferSyntaxes: []string{ts}})
		}
	}
	return out[:min(len(out), maxContexts)]
}

func (f *Fetcher) path(study, object string) string {
	return filepath.Join(f.Dir, study, object+".dcm")
}

// keepOrSay is keep for a handler: the archive is told that it failed, and whoever
// fetches is told why, see notKept.
func (f *Fetcher) keepOrSay(ctx context.Context, study string, req *scp.StoreRequest, body io.Reader) (int64, error) {
	n, err := f.keep(ctx, study, req, body)
	if err == nil {
		return n, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.unkept == nil {
		f.unkept = fmt.Errorf("object %s cannot be kept: %w", req.SOPInstanceUID, err)
	}
	return n, &scp.StatusError{Status: scp.StatusOutOfResources, Comment: "cannot be kept", Err: err}
}

// notKept is why an object could not be kept since it was asked last.
func (f *Fetcher) notKept() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.unkept
	f.unkept = nil
	return err
}

// keep writes an object: whole under its name or not at all. UIDs were checked,
// so they can be names.
func (f *Fetcher) keep(ctx context.Context, study string, req *scp.StoreRequest, body io.Reader) (int64, error) {
	if !uid.Valid(study) || !uid.Valid(req.SOPInstanceUID) {
		return 0, fmt.Errorf("fetch: %q or %q is no UID", study, req.SOPInstanceUID)
	}
	path := f.path(study, req.SOPInstanceUID)
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return 0, err
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".part-*")
	if err != nil {
		return 0, err
	}
	defer os.Remove(file.Name())
	w := bufio.NewWriterSize(file, 256<<10)
	err = part10.Write(w, part10.Meta{SOPClassUID: req.SOPClassUID, SOPInstanceUID: req.SOPInstanceUID, TransferSyntaxUID: req.TransferSyntaxUID,
		SourceAETitle: req.Association.CallingAE})
	var n int64
	if err == nil {
		n, err = io.Copy(w, f.throttle(ctx, body))
	}
	if err := errors.Join(err, w.Flush(), file.Chmod(0o640), file.Sync(), file.Close()); err != nil {
		return n, err
	}
	return n, os.Rename(file.Name(), path)
}

// Store keeps what an archive sends for a C-MOVE to this program. It implements
// scp.Handler.
func (f *Fetcher) Store(ctx context.Context, req *scp.StoreRequest, body io.Reader) error {
	b := bufio.NewReaderSize(body, 256<<10)
	study, head, err := studyOf(b, req.TransferSyntaxUID)
	if err != nil {
		return &scp.StatusError{Status: scp.StatusCannotUnderstand, Comment: "no Study Instance UID", Err: err}
	}
	n, err := f.keepOrSay(ctx, study, req, io.MultiReader(bytes.NewReader(head), b))
	if err != nil {
		return err
	}
	f.progress(Progress{Series: Series{StudyInstanceUID: study}, Bytes: n})
	return nil
}

// studyOf reads the Study Instance UID from the beginning of a data set, and
// returns what it has read.
func studyOf(r io.Reader, ts string) (study string, head []byte, err error) {
	if t, ok := uid.LookupSyntax(ts); ok && t.Deflated {
		return "", nil, errors.New("fetch: deflated data sets are not taken by C-MOVE")
	}
	for _, n := range []int{16 << 10, 240 << 10} {
		more, rerr := io.ReadAll(io.LimitReader(r, int64(n-len(head))))
		head = append(head, more...)
		if rerr != nil {
			return "", head, rerr
		}
		d, err := dicomio.Read(bytes.NewReader(head), int64(len(head)), dicomio.Options{TransferSyntax: ts})
		if err == nil {
			if study = d.DataSet.String(tag.StudyInstanceUID); study != "" {
				return study, head, nil
			}
		}
	}
	return "", head, errors.New("fetch: no Study Instance UID at the beginning of the object")
}

func (f *Fetcher) progress(p Progress) {
	if f.Progress != nil {
		f.Progress(p)
	}
}

// throttle slows r down to the rate: TCP then slows the archive.
func (f *Fetcher) throttle(ctx context.Context, r io.Reader) io.Reader {
	if f.BytesPerSecond <= 0 {
		return r
	}
	return &slowReader{ctx: ctx, r: r, rate: f.BytesPerSecond, start: time.Now()}
}

type slowReader struct {
	ctx   context.Context
	r     io.Reader
	rate  int64
	n     int64
	start time.Time
}

// Read implements io.Reader.
func (s *slowReader) Read(p []byte) (int, error) {
	p = p[:min(int64(len(p)), max(s.rate/4, 1024))]
	n, err := s.r.Read(p)
	s.n += int64(n)
	due := time.Duration(float64(s.n) / float64(s.rate) * float64(time.Second))
	if wait := due - time.Since(s.start); wait > 0 && err == nil {
		select {
		case <-time.After(wait):
		case <-s.ctx.Done():
			return n, s.ctx.Err()
		}
	}
	return n, err
}

// readDone reads which series were fetched before.
func (f *Fetcher) readDone() error {
	f.done = map[string]bool{}
	if f.Done == "" {
		return nil
	}
	b, err := os.ReadFile(f.Done)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, line := range strings.Fields(string(b)) {
		f.done[line] = true
	}
	return err
}

// note remembers that a series was fetched whole.
func (f *Fetcher) note(series string) error {
	f.done[series] = true
	if f.Done == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(f.Done), 0o750); err != nil {
		return err
	}
	file, err := os.OpenFile(f.Done, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(file, series)
	return errors.Join(err, file.Close())
}
