package review

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/echonode/echonode/pipeline/objects"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/pipeline/store"
)

// record is everything that is kept of a study.
type record struct {
	study      store.Study
	listing    store.Listing
	runs       []store.Run // newest first
	deliveries []store.Delivery
	run        *store.Run        // the latest that is finished
	doc        *result.Document  // of it; shared: not to be changed
	result     *result.Study     // in it
	files      map[string]string // paths by SOP Instance UID
	versions   map[string]string // of the objects, likewise
	instances  []store.Instance
}

func (s *Server) record(ctx context.Context, uid string) (*record, error) {
	st := s.opt.Store
	rec := &record{files: map[string]string{}, versions: map[string]string{}}
	var err error
	if rec.study, err = st.Study(ctx, uid); err != nil {
		return nil, err
	}
	// A study that came a moment ago may not be listed yet.
	if rec.listing, err = st.Listing(ctx, uid); errors.Is(err, store.ErrNotFound) {
		var l *store.Listing
		if l, err = s.listing(ctx, uid); err == nil {
			rec.listing = *l
		}
	}
	if err != nil {
		return nil, err
	}
	if rec.instances, err = st.Instances(ctx, uid); err != nil {
		return nil, err
	}
	for _, in := range rec.instances {
		rec.files[in.SOPInstanceUID], rec.versions[in.SOPInstanceUID] = in.Path, in.Version()
	}
	if rec.runs, err = st.Runs(ctx, uid); err != nil {
		return nil, err
	}
	if rec.deliveries, err = st.Deliveries(ctx, uid); err != nil {
		return nil, err
	}
	if rec.run = runShown(rec.runs); rec.run == nil {
		return rec, nil
	}
	if rec.doc, err = s.documents.get(ctx, *rec.run); err != nil {
		return nil, err
	}
	for i := range rec.doc.Studies {
		if rec.doc.Studies[i].StudyInstanceUID == uid {
			rec.result = &rec.doc.Studies[i]
		}
	}
	return rec, nil
}

// runShown is the run of a study, of which the newest come first, whose result is
// shown; nil where none has one.
func runShown(runs []store.Run) *store.Run {
	i := slices.IndexFunc(runs, func(r store.Run) bool { return !r.Finished.IsZero() && r.Error == "" && r.Directory != "" })
	if i < 0 {
		return nil
	}
	return &runs[i]
}

func (rec *record) loop(sop string) *result.Loop {
	if rec.result == nil {
		return nil
	}
	for i := range rec.result.Loops {
		if rec.result.Loops[i].SOPInstanceUID == sop {
			return &rec.result.Loops[i]
		}
	}
	return nil
}

// documents keeps the results that were read last, by the versions of their
// runs. A finished run's result does not change.
type documents struct {
	objects *objects.Files

	reading singleflight.Group // by version

	mu    sync.Mutex
	order []string // versions of runs, the one that was asked for last at the end
	by    map[string]*keptDocument
	size  int64
}

type keptDocument struct {
	*result.Document
	size int64
	used time.Time
}

// maxDocuments bounds the JSON whose contents are kept.
const maxDocuments = 16 << 20

func newDocuments(files *objects.Files) *documents {
	return &documents{objects: files, by: map[string]*keptDocument{}}
}

func (d *documents) get(ctx context.Context, run store.Run) (*result.Document, error) {
	version := run.Version()
	if doc := d.kept(version); doc != nil {
		return doc, nil
	}
	// Several readers of one run wait for one reading; whoever leaves does not end it.
	reading := d.reading.DoChan(version, func() (doc any, err error) {
		defer func() {
			if r := recover(); r != nil { // it would end the process
				doc, err = nil, fmt.Errorf("reading the result of run %d panicked: %v\n%s", run.ID, r, debug.Stack())
			}
		}()
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), readFor)
		defer cancel()
		return d.read(bounded, run)
	})
	select {
	case r := <-reading:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(*result.Document), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// readFor bounds one reading: all who want the result wait for it.
const readFor = 2 * time.Minute

// kept is the document of a version, nil where it is not kept.
func (d *documents) kept(version string) *result.Document {
	d.mu.Lock()
	defer d.mu.Unlock()
	doc, ok := d.by[version]
	if !ok {
		return nil
	}
	i := slices.Index(d.order, version)
	d.order = append(slices.Delete(d.order, i, i+1), version)
	doc.used = time.Now()
	return doc.Document
}

// read reads the document of a run and keeps it.
func (d *documents) read(ctx context.Context, run store.Run) (*result.Document, error) {
	version := run.Version()
	path := run.Directory + "/result.json"
	b, err := objects.ReadAll(ctx, d.objects, path, 1<<30)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the result of run %d is gone: %w", run.ID, err)
	}
	if err != nil {
		return nil, err
	}
	doc, err := result.Decode(b, run.Summary)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.by[version]; ok {
		return doc, nil
	}
	d.by[version] = &keptDocument{doc, int64(len(b)), time.Now()}
	d.order = append(d.order, version)
	d.size += int64(len(b))
	for len(d.order) > 1 && d.size > maxDocuments {
		d.dropFirst()
	}
	return doc, nil
}

// forget lets go of what nobody has asked for for so long.
func (d *documents) forget(unused time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.order) > 0 && time.Since(d.by[d.order[0]].used) >= unused {
		d.dropFirst()
	}
}

// dropFirst is called with the lock held.
func (d *documents) dropFirst() {
	d.size -= d.by[d.order[0]].size
	delete(d.by, d.order[0])
	d.order = d.order[1:]
}
