package dicomweb

import (
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// failures counts secrets that are no account's, by who came with them.
type failures struct {
	mu   sync.Mutex
	free map[string]time.Time // when as many as at first are allowed again
}

// How many wrong secrets may come at once, after how long one more may, and of how many
// subjects they are counted.
const (
	wrongAtOnce  = 10
	wrongEvery   = 3 * time.Second
	mostSubjects = 10_000
)

// try asks whether a secret is right, unless as many wrong ones have come from a
// subject as may: then it says how long to wait.
func (f *failures) try(subject string, now time.Time, right func() bool) (wait time.Duration, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := f.free[subject]
	if at.Before(now) {
		at = now
	}
	if wait = at.Sub(now) - (wrongAtOnce-1)*wrongEvery; wait > 0 {
		return wait, false
	}
	if right() {
		return 0, true
	}
	if f.free == nil {
		f.free = map[string]time.Time{}
	}
	if _, known := f.free[subject]; !known && len(f.free) >= mostSubjects {
		for s := range f.free { // any
			delete(f.free, s)
			break
		}
	}
	f.free[subject] = at.Add(wrongEvery)
	return 0, false
}

// subject is whose wrong secrets count together: those for a name from an address, of
// IPv6 from a network of one subscriber.
func subject(r *http.Request) string {
	address := r.RemoteAddr
	if at, err := netip.ParseAddrPort(address); err == nil {
		a := at.Addr().Unmap().WithZone("")
		bits := a.BitLen()
		if a.Is6() {
			bits = 64
		}
		network, _ := a.Prefix(bits) // there are as many bits
		address = network.String()
	}
	name, _, _ := r.BasicAuth()
	return address + " " + name[:min(len(name), 64)]
}
