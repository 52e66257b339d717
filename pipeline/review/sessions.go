package review

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/echonode/echonode/pipeline/store"
)

// session is one signed-in browser.
type session struct {
	user    string
	account *User  // of an OpenID provider; nil for one of the file
	mark    string // of what the account's rights came from when it signed in
	csrf    string
}

// sessions are kept in the database, so that a sign-in holds on every process
// that serves the page, and over a restart; by the hash of their token, so that
// a copy of the database opens nothing.
type sessions struct {
	store.Lifetime
	store *store.Store
	late  *late
	now   func() time.Time
	log   *slog.Logger
}

const maxSessions = 10000

func token() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// hashed is what a secret is known by.
func hashed(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// markOf is what a session keeps of an account's password: with another
// password it is over.
func markOf(u User) string { return hashed(u.Password)[:16] }

// open starts a session and returns its token. From is the provider that an
// account comes from, nil for one of the file of users.
func (s *sessions) open(ctx context.Context, u User, from *relying) (string, error) {
	now := s.now()
	v := store.Session{Account: u.Name, Mark: markOf(u), CSRF: token(), Created: now, Seen: now}
	if from != nil {
		v.Mark = from.mark
		b, err := json.Marshal(u)
		if err != nil {
			return "", err
		}
		v.Profile = string(b)
	}
	t := token()
	return t, s.store.OpenSession(ctx, hashed(t), v, s.Lifetime, maxSessions)
}

// touches is how many times a session's activity is written down before it would
// end for want of any: not with each of the hundreds of frames of a cine.
const touches = 20

// get returns the live session of a token. With touch, it counts as activity.
func (s *sessions) get(ctx context.Context, t string, touch bool) (session, bool, error) {
	v, err := s.store.Session(ctx, hashed(t))
	if errors.Is(err, store.ErrNotFound) {
		return session{}, false, nil
	}
	if err != nil {
		return session{}, false, err
	}
	now := s.now()
	if s.Over(v, now) {
		s.later(ctx, func(ctx context.Context) error { return s.store.CloseSession(ctx, hashed(t)) }) // it is over all the same
		return session{}, false, nil
	}
	if touch && now.Sub(v.Seen) >= s.Idle/touches {
		s.later(ctx, func(ctx context.Context) error { return s.store.TouchSession(ctx, hashed(t), now) }) // else it goes on until it would have ended
	}
	out := session{user: v.Account, mark: v.Mark, csrf: v.CSRF}
	if v.Profile != "" {
		out.account = new(User)
		if err := json.Unmarshal([]byte(v.Profile), out.account); err != nil {
			return session{}, false, err
		}
	}
	return out, true, nil
}

// later writes what no page waits for long.
func (s *sessions) later(ctx context.Context, write func(context.Context) error) {
	ctx = context.WithoutCancel(ctx)
	s.late.do(func() error { return write(ctx) }, func(err error) { s.log.Error("review: session", "error", err) })
}

func (s *sessions) close(ctx context.Context, t string) error {
	return s.store.CloseSession(ctx, hashed(t))
}

// attempts counts failed sign-ins by subject, on all processes together, and
// says when the next is allowed: a few at once, then one in a while. One that is
// under way counts as failed.
type attempts struct {
	store.Attempts
	kind  string
	store *store.Store
	now   func() time.Time
}

const maxAttemptKeys = 10000

func newAttempts(kind string, burst int, every time.Duration, st *store.Store, now func() time.Time) *attempts {
	return &attempts{store.Attempts{Burst: burst, Every: every, AtMost: maxAttemptKeys}, kind, st, now}
}

// subject hides what was typed as a name, which may be a password.
func (a *attempts) subject(key string) string { return a.kind + " " + hashed(key) }

// take counts an attempt of key that begins now. Where there is none left it says
// how long key has to wait.
func (a *attempts) take(ctx context.Context, key string) (time.Duration, error) {
	return a.store.TakeAttempt(ctx, a.subject(key), a.now(), a.Attempts)
}

// giveBack is for an attempt that was right, or was not made.
func (a *attempts) giveBack(ctx context.Context, key string) error {
	return a.store.ReturnAttempt(ctx, a.subject(key), a.Attempts)
}
