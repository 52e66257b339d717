package review

import (
	"bytes"
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"net/http"
	"slices"
	"strconv"
	"sync"
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
)

// frame serves one frame, counted from 0, as JPEG: the stored bytes where a
// browser shows them right, else decoded and encoded again. Frames never
// change, so browsers keep them for the length of a reading.
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
	b, err := s.loops.frame(r.Context(), in, number)
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
	sum := sha256.Sum256(b)
	h := w.Header()
	h.Set("Content-Type", "image/jpeg")
	h.Set("Cache-Control", "private, max-age=3600, immutable")
	h.Set("ETag", `"`+hex.EncodeToString(sum[:12])+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
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

// openLoops keeps recently used objects open and recently made frames encoded.
type openLoops struct {
	objects *objects.Files
	limits  dicomio.Limits

	mu     sync.Mutex
	order  *list.List // of *openLoop, most recently used first
	by     map[string]*list.Element
	cached *list.List // of *cachedFrame
	frames map[frameKey]*list.Element
	bytes  int

	making singleflight.Group
	canvas chan *image.RGBA // as many as frames are made at once
}

// openLoop is an object that frames are read from. It is closed when nobody
// uses it any more and it has left the list.
type openLoop struct {
	in     store.Instance
	hold   *objects.Hold
	once   sync.Once
	file   *dicomio.File
	frames *dicomio.FrameReader
	stored bool // stored JPEG frames may go out as they are
	err    error

	users   int
	dropped bool
}

type frameKey struct {
	path  string
	frame int
}

type cachedFrame struct {
	key frameKey
	b   []byte
}

func newOpenLoops(files *objects.Files, l dicomio.Limits) *openLoops {
	o := &openLoops{objects: files, limits: l, order: list.New(), by: map[string]*list.Element{}, cached: list.New(), frames: map[frameKey]*list.Element{},
		canvas: make(chan *image.RGBA, maxMaking)}
	for range maxMaking {
		o.canvas <- new(image.RGBA)
	}
	return o
}

// frame returns an encoded frame. The caller must not change it.
func (o *openLoops) frame(ctx context.Context, in store.Instance, number int) ([]byte, error) {
	key := frameKey{in.Path, number}
	if b := o.kept(key); b != nil {
		return b, nil
	}
	o.mu.Lock()
	l := o.acquire(in)
	o.mu.Unlock()
	defer o.release(l)
	l.once.Do(func() { l.open(o.objects, o.limits) })
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
	made, err, _ := o.making.Do(fmt.Sprintf("%s %d", in.Path, number), func() (any, error) {
		canvas := <-o.canvas
		defer func() { o.canvas <- canvas }()
		if b := o.kept(key); b != nil {
			return b, nil
		}
		b, err := l.encode(number, canvas)
		if err == nil {
			o.keep(key, b)
		}
		return b, err
	})
	if err != nil {
		return nil, err
	}
	return made.([]byte), nil
}

// kept is a frame that is encoded already, or nil.
func (o *openLoops) kept(key frameKey) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	e, ok := o.frames[key]
	if !ok {
		return nil
	}
	o.cached.MoveToFront(e)
	return e.Value.(*cachedFrame).b
}

// acquire is called with the lock held.
func (o *openLoops) acquire(in store.Instance) *openLoop {
	if e, ok := o.by[in.Path]; ok {
		o.order.MoveToFront(e)
		l := e.Value.(*openLoop)
		l.users++
		return l
	}
	l := &openLoop{in: in, users: 1}
	o.by[in.Path] = o.order.PushFront(l)
	for o.order.Len() > maxOpenLoops {
		o.drop(o.order.Back())
	}
	return l
}

// drop is called with the lock held.
func (o *openLoops) drop(e *list.Element) {
	l := o.order.Remove(e).(*openLoop)
	delete(o.by, l.in.Path)
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
		o.drop(o.by[l.in.Path]) // the next request tries again
	}
}

func (o *openLoops) keep(key frameKey, b []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, ok := o.frames[key]; ok || len(b) > maxFrameCache/8 {
		return
	}
	o.frames[key] = o.cached.PushFront(&cachedFrame{key, b})
	o.bytes += len(b)
	for o.bytes > maxFrameCache {
		f := o.cached.Remove(o.cached.Back()).(*cachedFrame)
		delete(o.frames, f.key)
		o.bytes -= len(f.b)
	}
}

func (o *openLoops) close() {
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

func (l *openLoop) open(files *objects.Files, limits dicomio.Limits) {
	l.hold = files.Hold()
	node.Expect(l.hold, l.in)
	path := ""
	// Others wait for it too: it does not end with one request.
	if path, l.err = l.hold.File(context.Background(), l.in.Path); l.err != nil {
		return
	}
	l.file, l.err = dicomio.Open(path, dicomio.Options{Limits: limits})
	if l.err != nil {
		return
	}
	if l.frames, l.err = l.file.Frames(); l.err != nil {
		return
	}
	info := l.frames.Info
	colours := info.Photometric == "YBR_FULL_422" || info.Photometric == "YBR_FULL" || info.Photometric == "MONOCHROME2" && !l.file.DataSet.Has(tag.WindowCenter)
	l.stored = l.file.TransferSyntax == uid.JPEGBaseline8Bit && colours
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
