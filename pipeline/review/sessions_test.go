package review

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/echonode/echonode/pipeline/store"
)

// beside is another process's page on the same database and accounts.
func (s *site) beside(edit ...func(*Options)) *site {
	s.t.Helper()
	o := s.server.opt
	for _, e := range edit {
		e(&o)
	}
	server, err := New(o)
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

// Sign-ins at the same time are no more than those one after the other, lock an
// account for no longer, and cost one that was right nothing.
func TestAttemptsAtOnce(t *testing.T) {
	s := newSite(t)
	try := func(pass string) int {
		res, _ := s.browser().do(http.MethodPost, "/login", url.Values{"name": {"viewer"}, "password": {pass}}.Encode())
		return res.StatusCode
	}
	var g sync.WaitGroup
	for range 8 {
		g.Go(func() {
			if got := try(password); got != http.StatusSeeOther {
				t.Errorf("the right password: %d", got)
			}
		})
	}
	g.Wait()
	var mu sync.Mutex
	got := map[int]int{}
	for range 30 {
		g.Go(func() {
			code := try("wrong")
			mu.Lock()
			defer mu.Unlock()
			got[code]++
		})
	}
	g.Wait()
	if got[http.StatusForbidden] != 5 || got[http.StatusTooManyRequests] != 25 {
		t.Errorf("%v", got)
	}
	s.pass(30 * time.Second)
	if got := try(password); got != http.StatusSeeOther {
		t.Errorf("half a minute later: %d", got)
	}
}

// A session of an OpenID provider's account is over when that provider, or what
// its groups may do, is configured no more, whoever asks.
func TestSessionsOfProvider(t *testing.T) {
	provider := func() *OIDC {
		return &OIDC{Issuer: "http://127.0.0.1:1", ClientID: "x", NameClaim: "name", GroupsClaim: "groups",
			Roles: map[string][]Role{"ops": {Administrator}, "staff": {Viewer}}, Client: http.DefaultClient}
	}
	s := newSite(t, func(o *Options) { o.OIDC = provider() })
	v, err := s.server.sessions.open(t.Context(), User{Name: "eve", Roles: []Role{Administrator}}, s.server.oidc)
	if err != nil {
		t.Fatal(err)
	}
	b := s.browser()
	b.cookie = s.server.cookieName() + "=" + v
	b.want(http.StatusOK, http.MethodGet, "/audit", "")
	b.at(s.beside()).want(http.StatusOK, http.MethodGet, "/audit", "") // the same after a restart
	for name, change := range map[string]func(*Options){
		"no provider":   func(o *Options) { o.OIDC = nil },
		"another":       func(o *Options) { o.OIDC.Issuer = "http://127.0.0.1:2" },
		"client":        func(o *Options) { o.OIDC.ClientID = "y" },
		"claim":         func(o *Options) { o.OIDC.GroupsClaim = "roles" },
		"name":          func(o *Options) { o.OIDC.NameClaim = "email" },
		"roles":         func(o *Options) { o.OIDC.Roles["ops"] = []Role{Viewer} },
		"group gone":    func(o *Options) { delete(o.OIDC.Roles, "ops") },
		"of the file":   func(o *Options) { o.OIDC, o.Users = nil, nil },
		"organisation":  func(o *Options) { o.OIDC.Organisation = "Other Hospital" },
		"one more role": func(o *Options) { o.OIDC.Roles["readers"] = []Role{Reader} },
	} {
		other := s.beside(func(o *Options) { o.OIDC = provider(); change(o) })
		if res, _ := b.at(other).do(http.MethodGet, "/audit", ""); res.StatusCode != http.StatusSeeOther {
			t.Errorf("%s: %d", name, res.StatusCode)
		}
	}
}

// A session that has ended leads to the sign-in, also while the database takes
// nothing.
func TestEndedSessionInFullDatabase(t *testing.T) {
	s := newSite(t)
	b := s.as("viewer")
	if _, err := s.store.SQLite().ExecContext(t.Context(), `CREATE TRIGGER full BEFORE DELETE ON sessions BEGIN SELECT RAISE(FAIL, 'full'); END`); err != nil {
		t.Fatal(err)
	}
	s.pass(31 * time.Minute)
	b.want(http.StatusSeeOther, http.MethodGet, "/", "")
}

// Behind a proxy failed sign-ins are those of the browsers' addresses, which the
// proxy adds last; who locks himself out of an account locks nobody else out.
func TestBehindProxy(t *testing.T) {
	s := newSite(t, func(o *Options) { o.Proxied = true })
	try := func(name, pass string, header ...string) int {
		res, _ := s.browser().do(http.MethodPost, "/login", url.Values{"name": {name}, "password": {pass}}.Encode(), func(r *http.Request) {
			for _, h := range header {
				name, value, _ := strings.Cut(h, ": ")
				r.Header.Add(name, value)
			}
		})
		return res.StatusCode
	}
	for i := range 6 {
		want := http.StatusForbidden
		if i == 5 {
			want = http.StatusTooManyRequests
		}
		if got := try("viewer", "wrong", fmt.Sprintf("X-Forwarded-For: 10.9.9.%d, 192.0.2.7", i)); got != want {
			t.Errorf("attempt %d: %d, want %d", i, got, want)
		}
	}
	for _, other := range []string{"X-Forwarded-For: 192.0.2.7, 192.0.2.8", `Forwarded: for=192.0.2.7, for="[2001:db8::1]:4711";proto=https`,
		"X-Forwarded-For: unknown"} {
		if got := try("viewer", password, other); got != http.StatusSeeOther {
			t.Errorf("%s: %d", other, got)
		}
	}
	for i := range 30 {
		try(fmt.Sprint("nobody", i), "wrong", "X-Forwarded-For: 192.0.2.7")
	}
	if got := try("reader", password, "X-Forwarded-For: 192.0.2.7"); got != http.StatusTooManyRequests {
		t.Errorf("after many names: %d", got)
	}
	if got := try("reader", password, "X-Forwarded-For: 192.0.2.7", "X-Forwarded-For: 192.0.2.9"); got != http.StatusSeeOther {
		t.Errorf("another browser: %d", got)
	}
	trail, err := s.store.AuditTrail(t.Context(), "", 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	of := map[string]int{}
	for _, e := range trail {
		of[e.Address]++
	}
	if of["192.0.2.8"] != 1 || of["2001:db8::1"] != 1 || of["192.0.2.9"] != 1 || of["127.0.0.1"] != 1 || of["192.0.2.7"] < 5 {
		t.Errorf("audited: %v", of)
	}
}

// Whoever has a network of IPv6 addresses has no more attempts with another one each
// time, and leaves the account to those from elsewhere.
func TestSignInLimitsOfNetworks(t *testing.T) {
	s := newSite(t, func(o *Options) { o.Proxied = true })
	tried := 0
	try := func(name, pass, network string) int {
		tried++
		res, _ := s.browser().do(http.MethodPost, "/login", url.Values{"name": {name}, "password": {pass}}.Encode(), func(r *http.Request) {
			r.Header.Set("X-Forwarded-For", fmt.Sprintf("2001:db8:0:%s:%x::1", network, tried))
		})
		return res.StatusCode
	}
	refused := 0
	for range 70 { // more than an account has for everybody
		if try("viewer", "wrong", "1") == http.StatusTooManyRequests {
			refused++
		}
	}
	if refused != 65 {
		t.Errorf("%d attempts at one account are refused", refused)
	}
	if got := try("viewer", password, "2"); got != http.StatusSeeOther {
		t.Errorf("from another network: %d", got)
	}
	for i := range 30 {
		try(fmt.Sprint("nobody", i), "wrong", "1")
	}
	if got := try("reader", password, "1"); got != http.StatusTooManyRequests {
		t.Errorf("after many names: %d", got)
	}
	for i := range 30 { // at the provider
		s.server.auditRefusal(t.Context(), store.AuditEntry{At: s.now(), Address: fmt.Sprintf("2001:db8::%x", i), Action: "sign-in", Detail: "OpenID: no"})
	}
	refused = 0
	for _, e := range s.trail("sign-in") {
		if e.Detail != "" {
			refused++
		}
	}
	if refused != refusalsEach {
		t.Errorf("%d refusals at the provider are entered", refused)
	}
}

// Without a proxy nobody says himself where he comes from.
func TestForwardedByNobody(t *testing.T) {
	s := newSite(t)
	code := 0
	for i := range 21 {
		res, _ := s.browser().do(http.MethodPost, "/login", url.Values{"name": {fmt.Sprint("nobody", i)}, "password": {"wrong"}}.Encode(),
			func(r *http.Request) { r.Header.Set("X-Forwarded-For", fmt.Sprint("192.0.2.", i)) })
		code = res.StatusCode
	}
	if code != http.StatusTooManyRequests {
		t.Errorf("the last one: %d", code)
	}
}

// One user does not take the streams of all.
func TestStreamsOfOneUser(t *testing.T) {
	h := newHub()
	for range maxListenersEach {
		if c, _ := h.subscribe("viewer"); c == nil {
			t.Fatal("refused too early")
		}
	}
	if c, _ := h.subscribe("viewer"); c != nil {
		t.Error("one too many")
	}
	c, leave := h.subscribe("reader")
	if c == nil {
		t.Error("another user is refused")
	}
	leave()
}
