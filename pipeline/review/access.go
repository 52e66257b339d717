package review

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/echonode/echonode/pipeline/internal/origin"
	"github.com/echonode/echonode/pipeline/store"
)

// visitor is who makes a request.
type visitor struct {
	User
	session session
	token   string
}

type visitorKey struct{}

func visitorOf(ctx context.Context) visitor {
	v, _ := ctx.Value(visitorKey{}).(visitor)
	return v
}

// cookieName of the session. The prefix makes browsers insist on Secure, the
// root path and no domain (RFC 6265bis section 4.1.3).
func (s *Server) cookieName() string {
	if s.opt.Secure {
		return "__Host-echonode"
	}
	return "echonode"
}

func (s *Server) setCookie(w http.ResponseWriter, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{Name: s.cookieName(), Value: value, Path: "/", HttpOnly: true, Secure: s.opt.Secure,
		SameSite: http.SameSiteLaxMode, MaxAge: maxAge})
}

// identify finds the visitor behind a request. An error is one of the database
// or the file of users, which say nothing about the visitor.
func (s *Server) identify(r *http.Request, touch bool) (visitor, bool, error) {
	c, err := r.Cookie(s.cookieName())
	if err != nil {
		return visitor{}, false, nil
	}
	open, ok, err := s.sessions.get(r.Context(), c.Value, touch)
	if err != nil || !ok {
		return visitor{}, false, err
	}
	if open.account != nil {
		if s.oidc == nil || s.oidc.mark != open.mark {
			return visitor{}, false, nil
		}
		return visitor{User: *open.account, session: open, token: c.Value}, true, nil
	}
	if s.opt.Users == nil {
		return visitor{}, false, nil
	}
	// An account that was removed or changed counts from the next request, and with
	// another password its sessions are over.
	u, ok, err := s.opt.Users.Find(open.user)
	if err != nil || !ok || markOf(u) != open.mark {
		return visitor{}, false, err
	}
	return visitor{User: u, session: open, token: c.Value}, true, nil
}

// guard is what every request passes: the host is one of ours, a state-changing
// request comes from our own page, and the answer tells the browser to be
// strict.
func (s *Server) guard(next http.Handler) http.Handler {
	frame := "'none'"
	if len(s.opt.EmbedIn) > 0 {
		frame = strings.Join(s.opt.EmbedIn, " ")
	}
	policy := "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; " +
		"form-action 'self'; base-uri 'none'; frame-ancestors " + frame
	crossOrigin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
		h.Set("Cache-Control", "no-store")
		if s.opt.Secure {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		if !s.ourHost(r.Host) {
			// A name that somebody else's DNS points at this machine.
			http.Error(w, "this node does not go by that name: see review.hosts", http.StatusMisdirectedRequest)
			return
		}
		if err := crossOrigin.Check(r); err != nil {
			s.log.Debug("review: cross-origin request refused", "address", s.clientAddress(r))
			http.Error(w, "this request comes from another site", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// ourHost reports whether a Host header names this server: a configured name,
// the address that it listens on, or this machine's own loopback names.
func (s *Server) ourHost(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.ToLower(strings.TrimSuffix(strings.Trim(name, "[]"), "."))
	return s.hosts[name]
}

// signedIn asks for a session, and for the page's own token on all requests but
// GET and HEAD, which change nothing.
func (s *Server) signedIn(next http.HandlerFunc, roles ...Role) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Open pages listen for changes all day; that is no activity.
		v, ok, err := s.identify(r, r.URL.Path != "/events")
		if err != nil {
			s.fail(w, r, err)
			return
		}
		if !ok {
			if r.Method == http.MethodGet && strings.Contains(r.Header.Get("Accept"), "text/html") {
				http.Redirect(w, r, "/login?next="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
				return
			}
			if strings.Contains(r.Header.Get("Accept"), "text/event-stream") { // of a status browsers tell the page nothing
				w.Header().Set("Content-Type", "text/event-stream")
				_, _ = io.WriteString(w, signedOut)
				return
			}
			http.Error(w, "not signed in", http.StatusUnauthorized)
			return
		}
		r = r.WithContext(context.WithValue(r.Context(), visitorKey{}, v))
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			sent := r.Header.Get("X-CSRF-Token")
			if sent == "" {
				sent = r.PostFormValue("csrf")
			}
			if subtle.ConstantTimeCompare([]byte(sent), []byte(v.session.csrf)) != 1 {
				s.auditRefusal(r.Context(), s.entryOf(r, "", "request without the page's token refused", r.Method+" "+r.URL.Path, true))
				http.Error(w, "this request does not come from the page", http.StatusForbidden)
				return
			}
		}
		if len(roles) > 0 && !v.May(roles...) {
			s.auditRefusal(r.Context(), s.entryOf(r, r.PathValue("study"), "refused for want of a role", r.Method+" "+r.URL.Path, true))
			http.Error(w, s.words(r).T("error.role"), http.StatusForbidden)
			return
		}
		next(w, r)
	})
}

const maxBody = 8 << 20

// clientAddress is where a request comes from: behind a proxy the address that it
// has added last (X-Forwarded-For, or RFC 7239 Forwarded), since what stands
// before that is the client's to say.
func (s *Server) clientAddress(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	if !s.opt.Proxied {
		return host
	}
	last := ""
	if all := r.Header.Values("X-Forwarded-For"); len(all) > 0 {
		last = all[len(all)-1]
		last = last[strings.LastIndexByte(last, ',')+1:]
	} else if all := r.Header.Values("Forwarded"); len(all) > 0 {
		hop := all[len(all)-1]
		for pair := range strings.SplitSeq(hop[strings.LastIndexByte(hop, ',')+1:], ";") {
			if name, value, ok := strings.Cut(strings.TrimSpace(pair), "="); ok && strings.EqualFold(name, "for") {
				last = strings.Trim(value, `"`)
			}
		}
	}
	last = strings.TrimSpace(last)
	if at, err := netip.ParseAddrPort(last); err == nil {
		return at.Addr().String()
	}
	if at, err := netip.ParseAddr(strings.Trim(last, "[]")); err == nil {
		return at.String()
	}
	return host
}

type loginPage struct {
	page
	Next, Typed string // Typed is the user name that was tried
	Problem     string
	Passwords   bool   // there are accounts with passwords
	Provider    string // address that leads to the OpenID provider, or ""
}

func (s *Server) loginForm(w http.ResponseWriter, r *http.Request) {
	next := localPath(r.URL.Query().Get("next"))
	if _, ok, err := s.identify(r, true); err == nil && ok {
		http.Redirect(w, r, next, http.StatusSeeOther)
		return
	}
	s.render(w, r, http.StatusOK, "login.html", s.loginPage(r, next))
}

func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	name, password := strings.ToLower(strings.TrimSpace(r.PostFormValue("name"))), r.PostFormValue("password")
	next := localPath(r.PostFormValue("next"))
	refuse := func(status int, problem string, args ...any) {
		p := s.loginPage(r, next)
		p.Typed, p.Problem = name, s.words(r).T(problem, args...)
		s.render(w, r, status, "login.html", p)
	}
	if len(name) > 64 || len(password) > maxPassword {
		refuse(http.StatusForbidden, "login.wrong")
		return
	}
	address := s.clientAddress(r)
	unavailable := func(what string, err error) {
		s.log.Error("review: "+what, "error", err)
		refuse(http.StatusServiceUnavailable, "login.unavailable")
	}
	in, err := s.signIn(r.Context(), address, name, password)
	switch {
	case errors.Is(err, context.Canceled):
		return
	case err != nil:
		unavailable("sign-in", err)
		return
	case in.wait > 0:
		seconds := int(math.Ceil(in.wait.Seconds()))
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
		refuse(http.StatusTooManyRequests, "login.wait", seconds)
		return
	case !in.matches:
		// What was typed as a name may be a password: only real names are recorded.
		known := ""
		if in.known {
			known = name
		}
		s.auditEntry(context.WithoutCancel(r.Context()), store.AuditEntry{At: s.now(), User: known, Address: address, Action: "sign-in", Failed: true})
		refuse(http.StatusForbidden, "login.wrong")
		return
	}
	// Another session of this browser ends with the new one.
	t, err := s.newSession(r, in.user, nil)
	if err != nil {
		unavailable("session", err)
		return
	}
	s.setCookie(w, t, 0)
	s.auditEntry(r.Context(), store.AuditEntry{At: s.now(), User: name, Address: address, Action: "sign-in"})
	http.Redirect(w, r, next, http.StatusSeeOther)
}

// signedIn is what came of a name and a password.
type signedIn struct {
	user    User
	known   bool          // there is an account of that name
	matches bool          // and the password is its own
	wait    time.Duration // nothing was tried: so long until the next attempt
}

// signIn tries a name and a password, one at a time: a hash takes tens of
// megabytes, and readers who come at the same moment from one address do not
// count as each other's failures.
func (s *Server) signIn(ctx context.Context, address, name, password string) (in signedIn, err error) {
	select {
	case s.signing <- struct{}{}:
		defer func() { <-s.signing }()
	case <-ctx.Done():
		return in, ctx.Err()
	}
	from := origin.Of(address)
	if in.wait, err = s.attempt(ctx, from, name); err != nil || in.wait > 0 {
		return in, err
	}
	if in.user, in.known, err = s.opt.Users.Find(name); err != nil {
		return in, fmt.Errorf("users: %w", err)
	}
	hash := stranger
	if in.known {
		if hash, err = parseHash(in.user.Password); err != nil {
			hash, in.known = stranger, false
		}
	}
	if matches := hash.matches(password); !matches || !in.known {
		return in, nil
	}
	in.matches = true
	return in, errors.Join(s.byAddress.giveBack(ctx, from), s.byName.giveBack(ctx, name+" "+from), s.byAccount.giveBack(ctx, name))
}

// attempt counts a sign-in that begins, see origin.Of for its from, or says how long it
// has to wait. Who hangs up has tried all the same.
func (s *Server) attempt(ctx context.Context, from, name string) (time.Duration, error) {
	taken := []func() error{}
	for _, a := range []struct {
		of  *attempts
		key string
	}{{s.byAddress, from}, {s.byName, name + " " + from}, {s.byAccount, name}} {
		wait, err := a.of.take(ctx, a.key)
		if err != nil || wait > 0 {
			for _, back := range taken {
				err = errors.Join(err, back())
			}
			return wait, err
		}
		taken = append(taken, func() error { return a.of.giveBack(context.WithoutCancel(ctx), a.key) })
	}
	return 0, nil
}

// newSession opens a session for a browser; one that it had ends.
func (s *Server) newSession(r *http.Request, u User, from *relying) (string, error) {
	if c, err := r.Cookie(s.cookieName()); err == nil {
		if err := s.sessions.close(r.Context(), c.Value); err != nil {
			return "", err
		}
	}
	return s.sessions.open(r.Context(), u, from)
}

// logout ends the session, or all that the account has, wherever they are.
func (s *Server) logout(w http.ResponseWriter, r *http.Request) {
	v, detail := visitorOf(r.Context()), ""
	err := s.sessions.close(r.Context(), v.token)
	if r.PostFormValue("everywhere") != "" {
		detail = "everywhere"
		_, err = s.opt.Store.CloseSessions(r.Context(), v.Name)
	}
	s.audit(r, "", "sign-out", detail, err != nil)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.setCookie(w, "", -1)
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

// localPath keeps a target on this server: an absolute path without a host.
func localPath(p string) string {
	u, err := url.Parse(p)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(p, "/") || strings.HasPrefix(p, "//") || strings.ContainsAny(p, "\\\r\n") {
		return "/"
	}
	return p
}
