package spool

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/echonode/echonode/dicomio/part10"
	"github.com/echonode/echonode/pipeline/objects"
)

// Intake is where received objects become durable: a [Spool] on this machine's
// disk, or a [Relay] to an object store.
type Intake interface {
	// Begin starts an object. It fails when another object cannot be taken.
	Begin(m part10.Meta) (Arrival, error)
	// Discard deletes an object, given its Entry.Path; an error wrapping
	// fs.ErrNotExist may say that there is none.
	Discard(ctx context.Context, name string) error
	// Each calls visit with the name of every object, except such as may be about
	// to be recorded by another process.
	Each(ctx context.Context, visit func(name string) error) error
	// Refuses is why a new object would be refused now, nil if it would not.
	Refuses() error
	// Space is the free and the total size, in bytes, of the file system that
	// objects arrive on; MinFree is the watermark.
	Space() (free, total uint64, err error)
	MinFree() uint64
}

// Arrival is an object that is arriving: its bare data set is written, then it
// is committed or aborted.
type Arrival interface {
	io.Writer
	io.ReaderFrom
	// Staged ends the writing and returns the file on this machine that holds the
	// object until it is committed.
	Staged() (path string, err error)
	// Commit makes the object durable and visible. After an error nothing is left
	// of it that would ever be treated as an object.
	Commit(ctx context.Context) (Entry, error)
	// Abort drops it. After Commit it does nothing.
	Abort() error
}

// onDisk is an Incoming as an Arrival.
type onDisk struct{ *Incoming }

func (a onDisk) Commit(context.Context) (Entry, error) { return a.Incoming.Commit() }

// Begin implements [Intake].
func (s *Spool) Begin(m part10.Meta) (Arrival, error) {
	in, err := s.Create(m)
	if err != nil {
		return nil, err
	}
	return onDisk{in}, nil
}

// Discard implements [Intake].
func (s *Spool) Discard(_ context.Context, name string) error { return s.Remove(name) }

// Each implements [Intake]. Nobody else writes to the directory.
func (s *Spool) Each(_ context.Context, visit func(name string) error) error { return s.Walk(visit) }

// Relay takes objects as they arrive and puts them into an object store, which
// other machines read too. Success is returned when they are durable there. On
// this machine's disk they only pass through.
//
// Every object gets a name of its own,
//
//	received/ab/<SOP Instance UID>.<random>.sha256-<digest>.dcm
//
// so that several processes may take the same object at the same time, and one
// may remove what another receives again. Which of them counts is the index's
// word; Entry.Duplicate and Entry.Conflict are never set.
type Relay struct {
	files *objects.Files
	local *Spool
}

// Received is the folder of received objects in a store.
const Received = "received"

// settled is how old an object must be before it counts as left behind by a
// process that died before it recorded it.
const settled = time.Hour

// OpenRelay takes objects through dir, which is emptied and belongs to this
// process alone, into a store. Of the options, MinFree and Logger count.
func OpenRelay(dir string, files *objects.Files, opt Options) (*Relay, error) {
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	local, err := Open(dir, Options{MinFree: opt.MinFree, NoSync: true, Logger: opt.Logger})
	if err != nil {
		return nil, err
	}
	return &Relay{files: files, local: local}, nil
}

// Close refuses further objects.
func (r *Relay) Close() error { return r.local.Close() }

// Refuses implements [Intake].
func (r *Relay) Refuses() error {
	if err := r.files.Trouble(); err != nil {
		return refusal(err)
	}
	return r.local.Refuses()
}

// refusal is an error that passes.
func refusal(err error) error {
	if Passes(err) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrObjectStore, err)
}

// Space implements [Intake].
func (r *Relay) Space() (free, total uint64, err error) { return r.local.Space() }

// MinFree implements [Intake].
func (r *Relay) MinFree() uint64 { return r.local.MinFree() }

// Begin implements [Intake].
func (r *Relay) Begin(m part10.Meta) (Arrival, error) {
	if err := r.Refuses(); err != nil {
		return nil, err
	}
	in, err := r.local.Create(m)
	if err != nil {
		return nil, err
	}
	return &relayed{Incoming: in, r: r}, nil
}

// relayed is an object on its way to a store.
type relayed struct {
	*Incoming
	r *Relay
}

// Commit implements [Arrival].
func (a *relayed) Commit(ctx context.Context) (Entry, error) {
	uid := a.meta.SOPInstanceUID
	e, err := a.Incoming.Commit()
	if err != nil {
		return Entry{}, err
	}
	name, err := a.r.files.NameOf(e.Path, Received, hex.EncodeToString([]byte{shardOf(uid)}), uid+"."+strings.ToLower(rand.Text()[:12])+fileSuffix)
	if err == nil {
		err = a.r.files.Adopt(ctx, name, e.Path)
	}
	// What is left here is of no use to anybody.
	if rerr := os.Remove(e.Path); rerr != nil && !errors.Is(rerr, os.ErrNotExist) {
		err = errors.Join(err, rerr)
	}
	if err != nil {
		return Entry{}, refusal(fmt.Errorf("object store: %w", full(err)))
	}
	return Entry{Path: name, Size: e.Size, FileSize: e.FileSize, Sum: e.Sum}, nil
}

// Discard implements [Intake].
func (r *Relay) Discard(ctx context.Context, name string) error { return r.files.Remove(ctx, name) }

// Each implements [Intake].
func (r *Relay) Each(ctx context.Context, visit func(name string) error) error {
	for e, err := range objects.Walk(ctx, r.files, r.files.Name(Received)) {
		if err != nil {
			return err
		}
		if time.Since(e.Modified) < settled {
			continue
		}
		if err := visit(e.Name); err != nil {
			return err
		}
	}
	return nil
}
