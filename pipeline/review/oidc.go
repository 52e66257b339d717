package review

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/echonode/echonode/pipeline/store"
)

// OIDC are the settings of signing in at an OpenID provider (OpenID Connect Core
// 1.0, authorization code flow with PKCE).
type OIDC struct {
	Issuer   string
	ClientID string
	// SecretFile holds the client's secret; it is read for every sign-in. Empty
	// for a public client.
	SecretFile string
	// Redirect is the address of the callback as browsers and provider know it:
	// the page's own, with the path /oidc/callback.
	Redirect string
	Scopes   []string // besides openid
	// NameClaim is the claim with the name of the account.
	NameClaim string
	// GroupsClaim is the claim with the groups, or one group, of the user. A dot
	// leads into an object: realm_access.roles.
	GroupsClaim string
	// Roles are what members of a group may do. Who is in none of them may not
	// come in.
	Roles map[string][]Role
	// Organisation stands in the reports that these users sign.
	Organisation string
	// Client makes requests to the provider.
	Client *http.Client
}

// mark is what a session keeps of the provider: with another provider, other
// claims that are looked at or other roles of a group it is over.
func (o OIDC) mark() string {
	// Only types that can be encoded; the keys of maps are in order.
	b, _ := json.Marshal([]any{o.Issuer, o.ClientID, o.NameClaim, o.GroupsClaim, o.Roles, o.Organisation})
	return hashed(string(b))[:16]
}

// callbackPath is where the provider sends browsers back to.
const callbackPath = "/oidc/callback"

// signInFor is how long a sign-in at the provider may take.
const signInFor = 10 * time.Minute

// relying is the page as a relying party.
type relying struct {
	OIDC
	store *store.Store
	now   func() time.Time
	mark  string // of sessions, see OIDC.mark

	mu       sync.Mutex
	provider *oidc.Provider
	sealing  cipher.AEAD
}

// signingIn is one sign-in that is under way at the provider. It is kept by the
// browser that began it, sealed with a key that all processes share: the answer
// may come to any of them, and sign-ins that nobody completes cost no memory.
type signingIn struct {
	State, Nonce, Verifier, Next string
	Started                      time.Time
}

func newRelying(o OIDC, st *store.Store, now func() time.Time) *relying {
	return &relying{OIDC: o, store: st, now: now, mark: o.mark()}
}

// discover reads what the provider says of itself, once it can be reached.
func (p *relying) discover(ctx context.Context) (*oidc.Provider, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.provider == nil {
		// The provider keeps the context for its keys; it must not end with a request.
		found, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), p.Client), p.Issuer)
		if err != nil {
			return nil, err
		}
		p.provider = found
	}
	return p.provider, nil
}

func (p *relying) config(provider *oidc.Provider) (*oauth2.Config, error) {
	c := &oauth2.Config{ClientID: p.ClientID, Endpoint: provider.Endpoint(), RedirectURL: p.Redirect, Scopes: append([]string{oidc.ScopeOpenID}, p.Scopes...)}
	if p.SecretFile != "" {
		b, err := os.ReadFile(p.SecretFile)
		if err != nil {
			return nil, err
		}
		c.ClientSecret = strings.TrimSpace(string(b))
	}
	return c, nil
}

// maxNext bounds an address within the page that a sign-in leads to: it is part
// of a cookie.
const maxNext = 1024

// seal is what sign-ins that are under way are sealed with.
func (p *relying) seal(ctx context.Context) (cipher.AEAD, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sealing != nil {
		return p.sealing, nil
	}
	first := make([]byte, 32)
	_, _ = rand.Read(first) // never fails
	key, err := p.store.Key(ctx, "sign-in", first)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	p.sealing, err = cipher.NewGCMWithRandomNonce(block)
	return p.sealing, err
}

// begin starts a sign-in and returns what its browser keeps of it.
func (p *relying) begin(ctx context.Context, next string) (cookie string, s signingIn, err error) {
	seal, err := p.seal(ctx)
	if err != nil {
		return "", s, err
	}
	if len(next) > maxNext {
		next = "/"
	}
	s = signingIn{State: token(), Nonce: token(), Verifier: oauth2.GenerateVerifier(), Next: next, Started: p.now().Round(0).UTC()}
	b, err := json.Marshal(s)
	if err != nil {
		return "", s, err
	}
	return base64.RawURLEncoding.EncodeToString(seal.Seal(nil, nil, b, nil)), s, nil
}

// end takes up a sign-in by what its browser kept and the state that came back
// with the provider's answer. The provider takes its code once.
func (p *relying) end(ctx context.Context, cookie, state string) (s signingIn, err error) {
	seal, err := p.seal(ctx)
	if err != nil {
		return s, err
	}
	b, err := base64.RawURLEncoding.DecodeString(cookie)
	if err == nil {
		b, err = seal.Open(nil, nil, b, nil)
	}
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	switch {
	case err != nil:
		return signingIn{}, fmt.Errorf("%w: %w", errNoSignIn, err)
	case subtle.ConstantTimeCompare([]byte(s.State), []byte(state)) != 1 || p.now().Sub(s.Started) > signInFor:
		return signingIn{}, errNoSignIn
	}
	return s, nil
}

var errNoSignIn = errors.New("no sign-in of this browser is under way")

// stateCookie binds a sign-in to the browser that began it.
func (s *Server) stateCookie(w http.ResponseWriter, value string, maxAge time.Duration) {
	http.SetCookie(w, &http.Cookie{Name: s.cookieName() + "-oidc", Value: value, Path: "/", HttpOnly: true, Secure: s.opt.Secure,
		SameSite: http.SameSiteLaxMode, MaxAge: int(maxAge.Seconds())})
}

// oidcLogin sends the browser to the provider.
func (s *Server) oidcLogin(w http.ResponseWriter, r *http.Request) {
	next := localPath(r.URL.Query().Get("next"))
	provider, err := s.oidc.discover(r.Context())
	var config *oauth2.Config
	if err == nil {
		config, err = s.oidc.config(provider)
	}
	var cookie string
	var begun signingIn
	if err == nil {
		cookie, begun, err = s.oidc.begin(r.Context(), next)
	}
	if err != nil {
		s.log.Error("review: OpenID provider", "issuer", s.oidc.Issuer, "error", err)
		s.refuseLogin(w, r, http.StatusServiceUnavailable, next, "login.unavailable")
		return
	}
	s.stateCookie(w, cookie, signInFor)
	http.Redirect(w, r, config.AuthCodeURL(begun.State, oidc.Nonce(begun.Nonce), oauth2.S256ChallengeOption(begun.Verifier)), http.StatusSeeOther)
}

// oidcCallback takes the provider's answer.
func (s *Server) oidcCallback(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	var kept string
	if c, err := r.Cookie(s.cookieName() + "-oidc"); err == nil {
		kept = c.Value
	}
	begun, err := s.oidc.end(r.Context(), kept, q.Get("state"))
	s.stateCookie(w, "", -time.Second)
	refuse := func(status int, problem, why string, err error) {
		s.log.Warn("review: sign-in at the OpenID provider failed", "why", why, "error", err)
		s.auditRefusal(r.Context(), store.AuditEntry{At: s.now(), Address: s.clientAddress(r), Action: "sign-in", Detail: "OpenID: " + why, Failed: true})
		s.refuseLogin(w, r, status, localPath(begun.Next), problem)
	}
	if errors.Is(err, errNoSignIn) {
		refuse(http.StatusForbidden, "login.expired", errNoSignIn.Error(), err)
		return
	}
	if err != nil {
		refuse(http.StatusServiceUnavailable, "login.unavailable", "the database cannot be read", err)
		return
	}
	if q.Get("error") != "" {
		refuse(http.StatusForbidden, "login.provider", "the provider refused", nil)
		return
	}
	claims, err := s.oidc.claims(r.Context(), q.Get("code"), begun)
	if err != nil {
		refuse(http.StatusForbidden, "login.provider", "the provider's answer is not valid", err)
		return
	}
	user, err := s.oidc.user(claims)
	if err != nil {
		refuse(http.StatusForbidden, "login.norole", "the account may not come in", err)
		return
	}
	t, err := s.newSession(r, user, s.oidc)
	if err != nil {
		refuse(http.StatusServiceUnavailable, "login.unavailable", "no session could be opened", err)
		return
	}
	s.setCookie(w, t, 0)
	s.auditEntry(r.Context(), store.AuditEntry{At: s.now(), User: user.Name, Address: s.clientAddress(r), Action: "sign-in", Detail: "OpenID"})
	http.Redirect(w, r, begun.Next, http.StatusSeeOther)
}

// claims are what the provider says of the user: those of the ID token, and of
// the user information where the token lacks them (Core 5.4).
func (p *relying) claims(ctx context.Context, code string, begun signingIn) (map[string]any, error) {
	ctx = oidc.ClientContext(ctx, p.Client)
	provider, err := p.discover(ctx)
	if err != nil {
		return nil, err
	}
	config, err := p.config(provider)
	if err != nil {
		return nil, err
	}
	answer, err := config.Exchange(ctx, code, oauth2.VerifierOption(begun.Verifier))
	if err != nil {
		return nil, err
	}
	raw, ok := answer.Extra("id_token").(string)
	if !ok {
		return nil, errors.New("no ID token")
	}
	id, err := provider.VerifierContext(ctx, &oidc.Config{ClientID: p.ClientID, Now: p.now}).Verify(ctx, raw)
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(begun.Nonce)) != 1 {
		return nil, errors.New("the ID token is for another sign-in")
	}
	claims := map[string]any{}
	if err := id.Claims(&claims); err != nil {
		return nil, err
	}
	if provider.UserInfoEndpoint() == "" {
		return claims, nil
	}
	info, err := provider.UserInfo(ctx, oauth2.StaticTokenSource(answer))
	if err != nil {
		return nil, err
	}
	if info.Subject != id.Subject {
		return nil, errors.New("the user information is about somebody else")
	}
	more := map[string]any{}
	if err := info.Claims(&more); err != nil {
		return nil, err
	}
	for k, v := range more {
		if _, ok := claims[k]; !ok {
			claims[k] = v
		}
	}
	return claims, nil
}

// user makes an account of claims.
func (p *relying) user(claims map[string]any) (User, error) {
	text := func(name string) string { v, _ := claimOf(claims, name).(string); return v }
	u := User{Name: strings.ToLower(strings.TrimSpace(text(p.NameClaim))), Person: personOf(text("family_name"), text("given_name"), text("name")),
		Organisation: p.Organisation}
	if !userName.MatchString(u.Name) {
		return u, fmt.Errorf("the claim %s is no name of an account", p.NameClaim)
	}
	for _, g := range groupsOf(claimOf(claims, p.GroupsClaim)) {
		for _, role := range p.Roles[g] {
			if !slices.Contains(u.Roles, role) {
				u.Roles = append(u.Roles, role)
			}
		}
	}
	// Who cannot be named in a report does not sign any.
	if u.May(Reader) && (strings.Trim(u.Person, "^ ") == "" || u.Organisation == "") {
		u.Roles = slices.DeleteFunc(u.Roles, func(r Role) bool { return r == Reader })
		if len(u.Roles) == 0 {
			u.Roles = []Role{Viewer}
		}
	}
	if len(u.Roles) == 0 {
		return u, errors.New("none of the account's groups has a role")
	}
	return u, nil
}

// claimOf is a claim by its name, dots leading into objects where there is no
// claim of the whole name.
func claimOf(claims map[string]any, name string) any {
	if v, ok := claims[name]; ok {
		return v
	}
	head, rest, ok := strings.Cut(name, ".")
	inner, isObject := claims[head].(map[string]any)
	if !ok || !isObject {
		return nil
	}
	return claimOf(inner, rest)
}

func groupsOf(v any) (out []string) {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		for _, g := range v {
			if s, ok := g.(string); ok {
				out = append(out, s)
			}
		}
	}
	return out
}

// personOf is a person's name as DICOM writes it (PN).
func personOf(family, given, whole string) string {
	clean := func(s string) string {
		return strings.TrimSpace(strings.Map(func(r rune) rune {
			if unicode.IsControl(r) || strings.ContainsRune(`\^=`, r) {
				return ' '
			}
			return r
		}, s))
	}
	family, given, whole = clean(family), clean(given), clean(whole)
	if family == "" {
		family, given = whole, ""
	}
	person := []rune(strings.TrimRight(family+"^"+given, "^"))
	return string(person[:min(len(person), 64)])
}

// refuseLogin shows the sign-in again, with a problem.
func (s *Server) refuseLogin(w http.ResponseWriter, r *http.Request, status int, next, problem string) {
	if next == "" {
		next = "/"
	}
	p := s.loginPage(r, next)
	p.Problem = s.words(r).T(problem)
	s.render(w, r, status, "login.html", p)
}

// loginPage is the sign-in with the ways that there are.
func (s *Server) loginPage(r *http.Request, next string) loginPage {
	p := loginPage{page: s.page(r, "login.title"), Next: next, Passwords: s.opt.Users != nil}
	if s.oidc != nil {
		p.Provider = "/oidc/login?next=" + url.QueryEscape(next)
	}
	return p
}
