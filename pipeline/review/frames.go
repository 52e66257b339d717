package review

import (
	"bytes"
	"container/list"
	"context"
	"errors"
	"fmt"
	"image"
	"io/fs"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/pipeline/node"
	"github.com/echonode/echonode/pipeline/objects"
	"github.com/echonode/echonode/pipeline/store"
)

const (
	frameQuality = 90
	// maxOpenLoops is how many objects are kept open for their frames.
	maxOpenLoops = 24
	// maxFrameCache is how many bytes of encoded frames are kept, about one
	// and a half loops of 60 frames of 800x600: what several people look at is encoded once. Frames that
	// go out as they are stored are not kept; the system keeps their file.
	maxFrameCache = 12 << 20
	// maxMaking is how many frames are decoded and encoded at once.
	maxMaking = 2
	// maxScarce is how many frames are asked for at once of objects of which few may
	// be open, see scarce.
	maxScarce = 4
	// maxCanvas is how many bytes of a decoded frame are kept for the next one.
	maxCanvas = 16 << 20
	// maxUnused is how long an object is kept open, and frames and results of
	// studies in memory, that nobody asks for: they may have been removed.
	maxUnused = 5 * time.Minute
)

// frame serves one frame, counted from 0, as JPEG: the stored bytes where a
// browser shows them right, else decoded and encoded again. A page asks for the
// version of the object that it is of, and gets no other one: under the same UIDs
// another patient's object may have come. Browsers keep frames, and ask each time
// whether they are still what is there.
func (s *Server) frame(w http.ResponseWriter, r *http.Request) {
	number, err := strconv.Atoi(r.PathValue("frame"))
	if err != nil || number < 0 {
		http.NotFound(w, r)
		return
	}
	in, err := s.instance(r.Context(), r.PathValue("study"), r.PathValue("loop"))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	if v := r.URL.Query().Get("v"); v != "" && v != in.Version() {
		s.gone(w, r)
		return
	}
	file := s.loops.file(in)
	h := w.Header()
	h.Set("Cache-Control", "private, no-cache")
	tag := etag(in, file, number)
	if r.Header.Get("If-None-Match") == tag {
		h.Set("ETag", tag)
		w.WriteHeader(http.StatusNotModified)
		return
	}
	b, err := s.loops.frame(r.Context(), in, file, number)
	switch {
	case errors.Is(err, errNoFrame):
		http.NotFound(w, r)
		return
	case errors.Is(err, context.Canceled):
		return
	case err != nil:
		// The reason is in the study's result; a picture cannot say it.
		s.log.Debug("review: frame", "object", in.SOPInstanceUID, "frame", number, "error", err)
		http.Error(w, "the frame cannot be decoded", http.StatusUnprocessableEntity)
		return
	}
	h.Set("Content-Type", "image/jpeg")
	h.Set("ETag", tag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}

// etag names a frame as it is answered: of a version of an object, and of the file
// that it is in, which is another one once a damaged one was healed.
func etag(in store.Instance, file fs.FileInfo, number int) string {
	var at int64
	var inode uint64
	if file != nil {
		at = file.ModTime().UnixNano()
		if st, ok := file.Sys().(*syscall.Stat_t); ok {
			inode = st.Ino
		}
	}
	return fmt.Sprintf(`"%s-%x-%x-%d"`, in.Version(), at, inode, number)
}

// instance finds an object of a study.
func (s *Server) instance(ctx context.Context, study, sop string) (store.Instance, error) {
	in, err := s.opt.Store.Instance(ctx, sop)
	if err != nil {
		return in, err
	}
	if in.StudyInstanceUID != study {
		return in, fmt.Errorf("object %s: %w", sop, store.ErrNotFound)
	}
	return in, nil
}

var errNoFrame = errors.New("no such frame")

// openLoops keeps recently used objects open and recently made frames encoded, by
// the version of their object and the file that it was in.
type openLoops struct {
	objects *objects.Files
	limits  dicomio.Limits

	mu     sync.Mutex
	order  *list.List               // of *openLoop, most recently used first
	by     map[string]*list.Element // by the version
	cached *list.List               // of *cachedFrame
	frames map[frameKey]*list.Element
	bytes  int

	making singleflight.Group
	canvas chan *image.RGBA // as many as frames are made at once

	ctx  context.Context // of what is opened and decoded, which is for several requests
	stop context.CancelFunc

	asking  chan struct{} // by whoever asks for frames of scarce objects
	opening int           // of scarce objects, here or elsewhere: idle ones give way
}

// openLoop is an object that frames are read from. It is closed when nobody
// uses it any more and it has left the list.
type openLoop struct {
	in     store.Instance
	is     fs.FileInfo // see openLoops.file
	hold   *objects.Hold
	once   sync.Once
	file   *dicomio.File
	frames *dicomio.FrameReader
	stored bool // stored JPEG frames may go out as they are
	err    error

	users   int
	used    time.Time
	dropped bool
}

type frameKey struct {
	version string
	frame   int
}

type cachedFrame struct {
	key  frameKey
	is   fs.FileInfo
	b    []byte
	used time.Time
}

func newOpenLoops(files *objects.Files, l dicomio.Limits) *openLoops {
	o := &openLoops{objects: files, limits: l, order: list.New(), by: map[string]*list.Element{}, cached: list.New(), frames: map[frameKey]*list.Element{},
		canvas: make(chan *image.RGBA, maxMaking), asking: make(chan struct{}, maxScarce)}
	o.ctx, o.stop = context.WithCancel(context.Background())
	for range maxMaking {
		o.canvas <- new(image.RGBA)
	}
	return o
}

// file is the file that an object is in now, nil where objects are no files of this
// machine: there they are never changed under their name.
func (o *openLoops) file(in store.Instance) fs.FileInfo {
	path, ok := o.objects.Place(in.Path)
	if !ok {
		return nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil // whoever opens it finds out
	}
	return info
}

func sameFile(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// frame returns an encoded frame of an object in a file. The caller must not change it.
func (o *openLoops) frame(ctx context.Context, in store.Instance, file fs.FileInfo, number int) ([]byte, error) {
	key := frameKey{in.Version(), number}
	if b := o.kept(key, file); b != nil {
		return b, nil
	}
	if scarce(in) {
		select {
		case o.asking <- struct{}{}:
			defer func() { <-o.asking }()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	o.mu.Lock()
	l := o.acquire(in, file)
	o.mu.Unlock()
	defer o.release(l)
	l.once.Do(func() {
		defer o.room(scarce(in))()
		l.open(o.ctx, o.objects, o.limits)
	})
	if l.err != nil {
		return nil, l.err
	}
	if number >= l.frames.Len() {
		return nil, errNoFrame
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if l.stored {
		if b, err := l.frames.Raw(number); err != nil || plainJPEG(b) {
			return b, err
		}
	}
	// Several who ask for a frame at once have it made once, and few are made at
	// a time: decoded, a frame is many times as large as what is kept of it.
	made, err, _ := o.making.Do(fmt.Sprintf("%p %d", l, number), func() (any, error) {
		canvas := <-o.canvas
		defer func() {
			if cap(canvas.Pix) > maxCanvas {
				canvas = new(image.RGBA)
			}
			o.canvas <- canvas
		}()
		if b := o.kept(key, l.is); b != nil {
			return b, nil
		}
		b, err := l.encode(number, canvas)
		if err == nil {
			o.keep(key, l.is, b)
		}
		return b, err
	})
	if err != nil {
		return nil, err
	}
	return made.([]byte), nil
}

// scarce reports whether an open object holds what there is little of: the memory of
// a video decoder, or the disk for what is inflated.
func scarce(in store.Instance) bool {
	t, _ := uid.LookupSyntax(in.TransferSyntaxUID)
	return t.Video || t.Deflated
}

// room has objects that nobody looks at just now give way to others that are opened,
// until done.
func (o *openLoops) room(scarce bool) (done func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if scarce {
		o.opening++
	}
	o.yield()
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		if scarce {
			o.opening--
		}
	}
}

// yield closes objects that nobody looks at just now: scarce ones while others are
// opened, and those unused for the longest while more than half of the memory for
// indexes is taken, so that there is always enough for one more. It is called with the
// lock held.
func (o *openLoops) yield() {
	indexes := o.limits.Memory.Indexes()
	for e := o.order.Back(); e != nil; {
		l, last := e.Value.(*openLoop), e
		e = e.Prev()
		if l.users == 0 && (o.opening > 0 && scarce(l.in) || indexes.InUse() > indexes.Size()/2) {
			o.drop(last)
		}
	}
}

// kept is a frame that is encoded already, or nil.
func (o *openLoops) kept(key frameKey, file fs.FileInfo) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	e, ok := o.frames[key]
	if !ok {
		return nil
	}
	f := e.Value.(*cachedFrame)
	if !sameFile(f.is, file) {
		o.lose(e)
		return nil
	}
	f.used = time.Now()
	o.cached.MoveToFront(e)
	return f.b
}

// lose is called with the lock held.
func (o *openLoops) lose(e *list.Element) {
	f := o.cached.Remove(e).(*cachedFrame)
	delete(o.frames, f.key)
	o.bytes -= len(f.b)
}

// acquire is called with the lock held.
func (o *openLoops) acquire(in store.Instance, file fs.FileInfo) *openLoop {
	version := in.Version()
	if e, ok := o.by[version]; ok {
		l := e.Value.(*openLoop)
		if sameFile(l.is, file) {
			o.order.MoveToFront(e)
			l.users++
			l.used = time.Now()
			return l
		}
		o.drop(e)
	}
	l := &openLoop{in: in, is: file, users: 1, used: time.Now()}
	o.by[version] = o.order.PushFront(l)
	for o.order.Len() > maxOpenLoops {
		o.drop(o.order.Back())
	}
	return l
}

// drop is called with the lock held.
func (o *openLoops) drop(e *list.Element) {
	l := o.order.Remove(e).(*openLoop)
	delete(o.by, l.in.Version())
	l.dropped = true
	if l.users == 0 {
		l.close()
	}
}

func (o *openLoops) release(l *openLoop) {
	o.mu.Lock()
	defer o.mu.Unlock()
	l.users--
	switch {
	case l.dropped && l.users == 0:
		l.close()
	case l.err != nil && !l.dropped:
		o.drop(o.by[l.in.Version()]) // the next request tries again
	}
	o.yield()
}

func (o *openLoops) keep(key frameKey, file fs.FileInfo, b []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(b) > maxFrameCache/8 {
		return
	}
	if e, ok := o.frames[key]; ok {
		o.lose(e)
	}
	o.frames[key] = o.cached.PushFront(&cachedFrame{key, file, b, time.Now()})
	o.bytes += len(b)
	for o.bytes > maxFrameCache {
		o.lose(o.cached.Back())
	}
}

// forget closes the objects, and lets go of the frames, that nobody has asked for
// for so long.
func (o *openLoops) forget(unused time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for e := o.order.Back(); e != nil && time.Since(e.Value.(*openLoop).used) >= unused; e = o.order.Back() {
		o.drop(e)
	}
	for e := o.cached.Back(); e != nil && time.Since(e.Value.(*cachedFrame).used) >= unused; e = o.cached.Back() {
		o.lose(e)
	}
}

// close ends what is being opened and decoded, and closes the objects.
func (o *openLoops) close() {
	o.stop()
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.order.Len() > 0 {
		o.drop(o.order.Back())
	}
}

func (l *openLoop) close() {
	if l.file != nil {
		_ = l.file.Close() // read only
	}
	if l.hold != nil {
		l.hold.Release()
	}
}

func (l *openLoop) open(ctx context.Context, files *objects.Files, limits dicomio.Limits) {
	l.hold = files.Hold()
	node.Expect(l.hold, l.in)
	path := ""
	// Others wait for it too: it does not end with one request.
	if path, l.err = l.hold.File(ctx, l.in.Path); l.err != nil {
		return
	}
	l.file, l.err = dicomio.OpenContext(ctx, path, dicomio.Options{Limits: limits})
	if l.err != nil {
		return
	}
	if l.frames, l.err = l.file.Frames(); l.err != nil {
		return
	}
	info := l.frames.Info
	colours := info.Photometric == "YBR_FULL_422" || info.Photometric == "YBR_FULL" || info.Photometric == "MONOCHROME2" && !l.file.DataSet.Has(tag.WindowCenter)
	l.stored = l.file.TransferSyntax == uid.JPEGBaseline8Bit && colours && !l.frames.Inverted()
}

// encode makes the JPEG of a frame, decoded into a picture that is used again.
func (l *openLoop) encode(number int, into *image.RGBA) ([]byte, error) {
	if err := l.frames.RGB(number, into); err != nil {
		return nil, err
	}
	return dicomio.EncodeJPEG(into, frameQuality)
}

// plainJPEG reports whether a browser is sure to read the bytes as gray or
// YCbCr: no Adobe marker, whose word on colours decoders follow, and component
// numbers that do not spell RGB.
func plainJPEG(b []byte) bool {
	if len(b) < 4 || b[0] != 0xFF || b[1] != 0xD8 {
		return false
	}
	for i := 2; i+4 <= len(b); {
		if b[i] != 0xFF {
			return false
		}
		marker := b[i+1]
		if marker == 0xFF {
			i++
			continue
		}
		n := int(b[i+2])<<8 | int(b[i+3])
		if n < 2 || i+2+n > len(b) {
			return false
		}
		segment := b[i+4 : i+2+n]
		switch {
		case marker == 0xEE && bytes.HasPrefix(segment, []byte("Adobe")):
			return false
		case marker == 0xC0 || marker == 0xC1:
			if len(segment) < 6 || segment[0] != 8 || len(segment) < 6+3*int(segment[5]) {
				return false
			}
			var ids []byte
			for c := range int(segment[5]) {
				ids = append(ids, segment[6+3*c])
			}
			return len(ids) == 1 || len(ids) == 3 && !slices.Equal(ids, []byte("RGB"))
		case marker == 0xDA:
			return false
		}
		i += 2 + n
	}
	return false
}
