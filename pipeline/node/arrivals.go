package node

import (
	"maps"
	"sync"
	"time"

	"github.com/echonode/echonode/pipeline/store"
)

// arrivals tells when a study is complete. DICOM has no message for it, so it
// is three inputs: no association is sending for the study, nothing has arrived
// for the idle time, or the cap has passed.
//
// Waits are measured by this process's own clock, which nobody sets: a study
// that was received while the time of day was wrong, in either direction, does
// not wait for it. After a restart both waits begin anew.
type arrivals struct {
	idle, cap time.Duration
	now       func() time.Time // with a monotonic reading

	mu      sync.Mutex
	sending map[uint64]string   // association → the study that it sent for last
	studies map[string]*arrival // studies that are being received
}

// arrival is what this process knows of a study that is being received.
type arrival struct {
	first   time.Time // when it was first heard of
	quiet   time.Time // since when nothing has happened to it
	senders int       // associations that sent for it last
	last    time.Time // when it was last touched, as the store has it
}

func newArrivals(idle, limit time.Duration) *arrivals {
	return &arrivals{idle: idle, cap: limit, now: time.Now, sending: map[uint64]string{}, studies: map[string]*arrival{}}
}

// of returns what is known of a study, from now on if nothing was.
func (a *arrivals) of(study string) *arrival {
	s := a.studies[study]
	if s == nil {
		now := a.now()
		s = &arrival{first: now, quiet: now}
		a.studies[study] = s
	}
	return s
}

// received notes that an association sent an object of a study, and reports
// whether it is the first of them. An association that goes on with another
// study has finished the one before.
func (a *arrivals) received(study string, association uint64) (first bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.of(study)
	s.quiet = a.now()
	if last, ok := a.sending[association]; ok && last == study {
		return false
	}
	a.leave(association)
	a.sending[association] = study
	s.senders++
	return true
}

// elsewhere notes what other processes have received: n of their associations
// send for the study, which was last touched at a time by the store's account.
// Changes of these count as arrivals now, by this process's own clock.
func (a *arrivals) elsewhere(study string, n int, last time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.of(study)
	if n > 0 || !s.last.Equal(last) && !s.last.IsZero() {
		s.quiet = a.now()
	}
	s.last = last
}

// associations are the studies that associations send for.
func (a *arrivals) associations() map[uint64]string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.sending)
}

// ended notes that an association is over.
func (a *arrivals) ended(association uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.leave(association)
}

// leave takes an association from the study that it sent for last.
func (a *arrivals) leave(association uint64) {
	study, ok := a.sending[association]
	if !ok {
		return
	}
	delete(a.sending, association)
	if s := a.studies[study]; s != nil {
		s.senders--
		s.quiet = a.now()
	}
}

// complete says why a study is complete, or "" if it is not. It has to be
// asked about every study that is being received, every time.
func (a *arrivals) complete(s store.Study) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	now, at := a.now(), a.of(s.StudyInstanceUID)
	switch {
	case now.Sub(at.first) >= a.cap:
		return "cap"
	case at.senders == 0 && now.Sub(at.quiet) >= a.idle:
		return "idle"
	}
	return ""
}

// forget drops what is known of studies that are not being received any more.
func (a *arrivals) forget(receiving []store.Study) {
	still := make(map[string]bool, len(receiving))
	for _, s := range receiving {
		still[s.StudyInstanceUID] = true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for uid, s := range a.studies {
		// An object that is being recorded may not be in the list yet.
		if !still[uid] && s.senders == 0 && a.now().Sub(s.quiet) > a.idle {
			delete(a.studies, uid)
		}
	}
}

// queued notes that a study was queued: what arrives from now on begins a new
// round.
func (a *arrivals) queued(study string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.studies[study]; s != nil {
		if s.senders == 0 {
			delete(a.studies, study)
		} else {
			s.first = a.now()
		}
	}
}
