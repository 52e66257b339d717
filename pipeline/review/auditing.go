package review

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/echonode/echonode/pipeline/review/internal/dicomaudit"
	"github.com/echonode/echonode/pipeline/store"
)

// Syslog is a collector of audit messages (PS3.15 A.5 and A.6: DICOM audit
// messages by syslog over TLS).
type Syslog struct {
	Address string // host:port
	TLS     *tls.Config
	// Source names this node in the messages.
	Source string
	// Position is a file that keeps how far the trail has been told.
	Position string
}

const (
	// tellEvery is how often new entries are looked for; tellAfter is how old they
	// are by then.
	tellEvery, tellAfter = time.Second, time.Second
	// gapAfter is how old an entry is told whose predecessor is not there. Where
	// several processes write, the predecessor may be in a transaction that has yet
	// to end, which takes it the longest wait for the database twice (30 s each),
	// or have been rolled back.
	gapAfter = 2 * time.Minute
	// longestTellWait bounds the waits for a collector that cannot be reached.
	longestTellWait = time.Minute
)

// teller tells the trail to a collector. What could not be sent is sent once the
// collector can be reached again, also by the next process.
type teller struct {
	s         *Server
	opt       Syslog
	collector dicomaudit.Collector
	conn      *dicomaudit.Connection
	position  int64
	known     bool // the position is
}

// tell runs until ctx ends; what is left then is told by the next process. Nothing
// that goes wrong with it ends the node: it is logged and tried again.
func (s *Server) tell(ctx context.Context, o Syslog) {
	t := &teller{s: s, opt: o, collector: dicomaudit.Collector{Address: o.Address, TLS: o.TLS}}
	defer func() {
		if t.conn != nil {
			_ = t.conn.Close()
		}
	}()
	wait, failing := tellEvery, false
	for {
		err := t.round(ctx, s.now().Add(-tellAfter))
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failing:
			s.log.Error("review: audit messages wait", "address", o.Address, "error", err)
			failing = true
		case err == nil && failing:
			s.log.Info("review: audit messages are sent again", "address", o.Address)
			failing, wait = false, tellEvery
		}
		if err != nil {
			wait = min(2*wait, longestTellWait)
		}
		select {
		case <-ctx.Done():
			// The stop itself is in the trail by now.
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
			defer cancel()
			if !failing {
				_ = t.round(last, s.now().Add(time.Hour))
			}
			return
		case <-time.After(wait):
		}
	}
}

// round sends what is new up to a time.
func (t *teller) round(ctx context.Context, until time.Time) error {
	if !t.known {
		if err := t.load(ctx); err != nil {
			return fmt.Errorf("how far the trail has been told: %w", err)
		}
	}
	settled := t.s.now().Add(-gapAfter)
	for {
		entries, err := t.s.opt.Store.AuditAfter(ctx, t.position, 100)
		if err != nil || len(entries) == 0 {
			return err
		}
		sent := false
		for _, e := range entries {
			if e.At.After(until) || e.ID != t.position+1 && e.At.After(settled) {
				break
			}
			if err := t.send(ctx, e); err != nil {
				return errors.Join(err, t.save())
			}
			t.position, sent = e.ID, true
		}
		if !sent {
			return nil
		}
		if err := t.save(); err != nil {
			return err
		}
	}
}

func (t *teller) send(ctx context.Context, e store.AuditEntry) error {
	patient, err := t.s.patientOf(ctx, e)
	if err != nil {
		return err
	}
	b, err := dicomaudit.Encode(dicomaudit.Event{At: e.At, User: e.User, Address: e.Address, Action: e.Action, Detail: e.Detail, Study: e.Study,
		Patient: patient, Failed: e.Failed}, t.opt.Source)
	if err != nil {
		return err
	}
	if t.conn == nil {
		if t.conn, err = t.collector.Dial(ctx); err != nil {
			t.conn = nil
			return err
		}
	}
	if err := t.conn.Send(t.collector.Frame(e.At, b)); err != nil {
		_ = t.conn.Close()
		t.conn = nil
		return err
	}
	if e.Action == "remove" {
		t.s.removed.told(e.Study, e.At)
	}
	return nil
}

// load reads how far the trail has been told. The first time, what was before
// is not told, nor where the file says nothing that can be true.
func (t *teller) load(ctx context.Context) error {
	b, err := os.ReadFile(t.opt.Position)
	first := errors.Is(err, fs.ErrNotExist)
	if err != nil && !first {
		return err
	}
	newest, err := t.s.opt.Store.AuditTrail(ctx, "", 0, 1)
	if err != nil {
		return err
	}
	var last store.AuditEntry
	if len(newest) > 0 {
		last = newest[0]
	}
	if !first {
		position, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
		if err == nil && 0 <= position && position <= last.ID {
			t.position, t.known = position, true
			return nil
		}
		t.s.log.Error("review: it is not known how far the audit trail has been told: what was before is not", "file", t.opt.Position, "newest", last.ID)
	}
	t.position, t.known = last.ID, true
	// What this process has done since its start counts as new.
	if last.Action == "application start" {
		t.position--
	}
	return t.save()
}

// save keeps the position so that after a crash it is the old one or the new.
func (t *teller) save() error {
	tmp := t.opt.Position + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	_, err = f.WriteString(strconv.FormatInt(t.position, 10) + "\n")
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(tmp, t.opt.Position)
}

// patientOf is the Patient ID of the study of an entry, "" where it is not known
// any more: of what is there now, only where some of it was there then.
func (s *Server) patientOf(ctx context.Context, e store.AuditEntry) (string, error) {
	if e.Study == "" {
		return "", nil
	}
	if id, ok := s.removed.patient(e.Study, e.At); ok {
		return id, nil
	}
	l, err := s.opt.Store.Listing(ctx, e.Study)
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	instances, err := s.opt.Store.Instances(ctx, e.Study)
	if err != nil || !slices.ContainsFunc(instances, func(in store.Instance) bool { return !in.Received.After(e.At) }) {
		return "", err
	}
	return l.PatientID, nil
}
