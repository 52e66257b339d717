package dicomweb

import (
	"crypto/sha256"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/echonode/echonode/pipeline/internal/origin"
)

// failures counts secrets that are no account's, by who came with them.
type failures struct {
	mu   sync.Mutex
	seen map[string]*failing
	good map[[sha256.Size]byte]bool // secrets that were right, with whose they were
}

// failing is what one subject came with.
type failing struct {
	free  time.Time // when as many as at first are allowed again
	wrong [][sha256.Size]byte
}

// How many wrong secrets may come at once, after how long one more may, of how many
// subjects they are counted, and how many of each are known again.
const (
	wrongAtOnce  = 10
	wrongEvery   = 3 * time.Second
	mostSubjects = 10_000
	knownWrong   = 2 * wrongAtOnce
)

// try asks whether a secret is right, unless as many wrong ones have come from a
// subject as may: then it says how long to wait. One that is known to be wrong is no
// guess, however often it comes: a sender whose secret has changed keeps nobody else out.
// Nor is one that was right before from the same subject, which is never made to wait: one
// whose wrong secret is another each time keeps out only who was not heard of yet.
func (f *failures) try(subject, secret string, now time.Time, right func() bool) (wait time.Duration, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	sum := sha256.Sum256([]byte(secret))
	good := sha256.Sum256(append([]byte(subject+"\x00"), sum[:]...))
	if f.good[good] {
		if right() {
			return 0, true
		}
		delete(f.good, good) // the accounts have changed
	}
	of := f.seen[subject]
	if of != nil && slices.Contains(of.wrong, sum) {
		return 0, right() // the accounts may have changed
	}
	at := now
	if of != nil && of.free.After(now) {
		at = of.free
	}
	if wait = at.Sub(now) - (wrongAtOnce-1)*wrongEvery; wait > 0 {
		return wait, false
	}
	if right() {
		if f.good == nil || len(f.good) >= mostSubjects {
			f.good = map[[sha256.Size]byte]bool{}
		}
		f.good[good] = true
		return 0, true
	}
	if f.seen == nil {
		f.seen = map[string]*failing{}
	}
	if of == nil {
		if len(f.seen) >= mostSubjects {
			for s := range f.seen { // any
				delete(f.seen, s)
				break
			}
		}
		of = &failing{}
		f.seen[subject] = of
	}
	of.free = at.Add(wrongEvery)
	if of.wrong = append(of.wrong, sum); len(of.wrong) > knownWrong {
		of.wrong = of.wrong[1:]
	}
	return 0, false
}

// subject is whose wrong secrets count together: those for a name from one origin.
func subject(r *http.Request) string {
	name, _, _ := r.BasicAuth()
	return origin.Of(r.RemoteAddr) + " " + name[:min(len(name), 64)]
}
