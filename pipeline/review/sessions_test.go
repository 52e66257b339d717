package review

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"testing"
	"time"
)

// beside is another process's page on the same database and accounts.
func (s *site) beside() *site {
	s.t.Helper()
	server, err := New(s.server.opt)
	if err != nil {
		s.t.Fatal(err)
	}
	other := &site{t: s.t, store: s.store, server: server, dir: s.dir, clock: s.now(), http: httptest.NewServer(server)}
	s.t.Cleanup(func() {
		other.http.Close()
		server.loops.close()
	})
	return other
}

// at is the same browser at another process.
func (b *browser) at(s *site) *browser { return &browser{s, b.client, b.cookie, b.csrf} }

// A sign-in holds on every process, ends on all of them, and failed ones are
// counted together.
func TestTwoProcesses(t *testing.T) {
	one := newSite(t)
	two := one.beside()
	b := one.as("viewer")
	b.at(two).want(http.StatusOK, http.MethodGet, "/", "")
	b.at(two).want(http.StatusOK, http.MethodPost, "/export/values.csv", "") // with the page's token
	one.pass(29 * time.Minute)
	b.at(two).want(http.StatusOK, http.MethodGet, "/", "")
	one.pass(29 * time.Minute)
	b.want(http.StatusOK, http.MethodGet, "/", "")
	b.at(two).want(http.StatusSeeOther, http.MethodPost, "/logout", "")
	b.want(http.StatusSeeOther, http.MethodGet, "/", "")

	// In all browsers, and nobody else.
	b, other, reader := one.as("viewer"), two.as("viewer"), two.as("reader")
	b.want(http.StatusSeeOther, http.MethodPost, "/logout", "everywhere=1")
	other.want(http.StatusSeeOther, http.MethodGet, "/", "")
	reader.want(http.StatusOK, http.MethodGet, "/", "")

	try := func(s *site, pass string) int {
		res, _ := s.browser().do(http.MethodPost, "/login", url.Values{"name": {"viewer"}, "password": {pass}}.Encode())
		return res.StatusCode
	}
	for i := range 5 {
		if got := try([]*site{one, two}[i%2], "wrong"); got != http.StatusForbidden {
			t.Errorf("attempt %d: %d", i, got)
		}
	}
	if got := try(two, password); got != http.StatusTooManyRequests {
		t.Errorf("after five: %d", got)
	}
}

// Another password ends the sessions that the one before opened.
func TestNewPasswordEndsSessions(t *testing.T) {
	s := newSite(t)
	b, other := s.as("viewer"), s.as("reader")
	again, err := HashPassword(password)
	if err != nil {
		t.Fatal(err)
	}
	err = EditUsers(filepath.Join(s.dir, "users.yaml"), func(u []User) ([]User, error) { u[0].Password = again; return u, nil })
	if err != nil {
		t.Fatal(err)
	}
	b.want(http.StatusSeeOther, http.MethodGet, "/", "")
	other.want(http.StatusOK, http.MethodGet, "/", "")
	s.as("viewer")
}

// While the database is away nobody is sent to the sign-in, where nobody could
// sign in.
func TestNoDatabaseIsNoSignOut(t *testing.T) {
	s := newSite(t)
	b := s.as("viewer")
	if err := s.store.Close(); err != nil {
		t.Fatal(err)
	}
	b.want(http.StatusInternalServerError, http.MethodGet, "/", "")
	s.browser().want(http.StatusServiceUnavailable, http.MethodPost, "/login", url.Values{"name": {"viewer"}, "password": {password}}.Encode())
}
