package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"time"

	"github.com/echonode/echonode/pipeline/objects"
	"github.com/echonode/echonode/pipeline/spool"
	"github.com/echonode/echonode/pipeline/store"
)

// Verified is what was found by comparing stored objects with what was received.
type Verified struct {
	Objects int   `json:"objects"`
	Bytes   int64 `json:"bytes"`
	// Unknown are those of which nothing was recorded that could be compared: in a
	// directory, by a version before 0.5.0. That they are there and have their
	// length was looked at.
	Unknown int `json:"unknown"`
	// Recorded are those of Unknown whose checksum was recorded, see [Node.Verify].
	Recorded int       `json:"recorded,omitempty"`
	Damaged  []Damaged `json:"damaged"`
	// Next is what to go on after; empty at the end.
	Next string `json:"next,omitempty"`
}

// Damaged is a stored object that is not what was received: "damaged", "missing",
// or "unreadable", so that nobody knows.
type Damaged struct {
	StudyInstanceUID string `json:"study_instance_uid"`
	SOPInstanceUID   string `json:"sop_instance_uid"`
	Reason           string `json:"reason"`
}

// verifyPage is how many objects are compared in one step, and verifyFor after
// how long it ends earlier.
const (
	verifyPage = 500
	verifyFor  = 5 * time.Second
)

// Verify compares stored objects with what was received, some at a time, in order
// of their UIDs. It changes nothing that is stored; what is damaged is healed
// when it is sent again: by a process that has a whole copy of what is damaged in
// a store elsewhere, when it has forgotten that. One that cannot be read keeps
// nothing from the others. The error is one that passes: the store or the
// database is away.
//
// With record, the checksum is recorded that objects of which nothing is known have
// now: what changes from then on is noticed. It does not prove that they are what
// was received; only sending them again does.
func (n *Node) Verify(ctx context.Context, after string, record bool) (Verified, error) {
	v := Verified{Damaged: []Damaged{}}
	some, err := n.store.InstancesAfter(ctx, after, verifyPage)
	if err != nil {
		return v, err
	}
	began := time.Now()
	for _, in := range some {
		if time.Since(began) > verifyFor {
			return v, nil
		}
		known, err := n.verify(ctx, in)
		if errors.Is(err, objects.ErrUnavailable) && ctx.Err() == nil && objects.Probe(ctx, n.files.Store) == nil {
			// The store is there: it may be this object alone.
			if known, err = n.verify(ctx, in); errors.Is(err, objects.ErrUnavailable) && objects.Probe(ctx, n.files.Store) == nil {
				err = fmt.Errorf("%w: %s", errUnreadable, err.Error())
			}
		}
		sound := err == nil
		if !sound && ctx.Err() == nil && !errors.Is(err, objects.ErrUnavailable) {
			// It may have been removed or corrected meanwhile.
			now, serr := n.store.Instance(ctx, in.SOPInstanceUID)
			switch {
			case errors.Is(serr, store.ErrNotFound), serr == nil && now.Path != in.Path:
				err = nil
			case serr != nil:
				return v, serr
			default:
				n.log.Warn("a stored object is not what was received", "study", in.StudyInstanceUID, "object", in.SOPInstanceUID, "error", err)
				n.files.DropCopy(in.Path) // which may be whole: what is sent again is compared with what is stored
				v.Damaged = append(v.Damaged, Damaged{in.StudyInstanceUID, in.SOPInstanceUID, reasonOf(err)})
				err = nil
			}
		}
		if err != nil {
			return v, fmt.Errorf("object %s: %w", in.SOPInstanceUID, err)
		}
		v.Objects++
		v.Bytes += in.Size
		if !known && sound {
			v.Unknown++
			if record {
				recorded, err := n.recordSum(ctx, in)
				if err != nil {
					return v, fmt.Errorf("object %s: %w", in.SOPInstanceUID, err)
				}
				if recorded {
					v.Recorded++
				}
			}
		}
		v.Next = in.SOPInstanceUID
	}
	if len(some) < verifyPage {
		v.Next = ""
	}
	return v, nil
}

// reasonOf says what is wrong with an object, without the names of files.
func reasonOf(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "missing"
	case errors.Is(err, objects.ErrDamaged):
		return "damaged"
	}
	return "unreadable"
}

// verify reads an object where it is stored, not a copy of it. known: there was
// something to compare it with.
func (n *Node) verify(ctx context.Context, in store.Instance) (known bool, err error) {
	if objects.HasDigest(in.Path) {
		return true, objects.VerifyStored(ctx, n.files.Store, in.Path)
	}
	hold := n.files.Hold()
	defer hold.Release()
	path, err := hold.File(ctx, in.Path)
	if err != nil {
		return false, err
	}
	if err := received(path, in); err != nil || in.Sum != "" {
		return true, err
	}
	size, err := dataSetSize(path)
	switch {
	case err != nil:
		return false, err
	case in.Size > 0 && size != in.Size:
		return false, fmt.Errorf("%w: %d bytes, %d were received", objects.ErrDamaged, size, in.Size)
	}
	return false, nil
}

// recordSum records the checksum that an object has now, if it is still the one
// that was looked at.
func (n *Node) recordSum(ctx context.Context, in store.Instance) (bool, error) {
	unlock, err := n.objects.Lock(ctx, in.SOPInstanceUID)
	if err != nil {
		return false, err
	}
	defer unlock()
	hold := n.files.Hold()
	defer hold.Release()
	path, err := hold.File(ctx, in.Path)
	if err == nil {
		in.Sum, err = spool.Sum(path)
	}
	switch {
	case errors.Is(err, objects.ErrUnavailable) || ctx.Err() != nil:
		return false, err
	case err != nil:
		return false, nil // it was there a moment ago: the next time says what is wrong
	}
	return n.store.SetSum(ctx, in)
}

func (n *Node) serveVerify(w http.ResponseWriter, r *http.Request) {
	v, err := n.Verify(r.Context(), r.URL.Query().Get("after"), r.URL.Query().Get("record") == "true")
	answer(w, v, err)
}
