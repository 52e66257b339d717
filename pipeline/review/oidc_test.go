package review

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestUserOfClaims(t *testing.T) {
	p := newRelying(OIDC{NameClaim: "preferred_username", GroupsClaim: "realm_access.roles", Organisation: "City Hospital",
		Roles: map[string][]Role{"echo-readers": {Reader}, "staff": {Viewer}, "ops": {Administrator}}}, nil, time.Now)
	for name, tc := range map[string]struct {
		claims string
		want   User // without roles nobody comes in
	}{
		"reader": {`{"preferred_username": "Mueller", "family_name": "Müller", "given_name": "Anna", "realm_access": {"roles": ["echo-readers", "other"]}}`,
			User{Name: "mueller", Person: "Müller^Anna", Roles: []Role{Reader}}},
		"two groups": {`{"preferred_username": "m@x.org", "name": "Anna Müller", "realm_access": {"roles": ["ops", "staff", "staff"]}}`,
			User{Name: "m@x.org", Person: "Anna Müller", Roles: []Role{Administrator, Viewer}}},
		"a claim with dots":                {`{"preferred_username": "m", "family_name": "M", "realm_access.roles": "staff"}`, User{Name: "m", Person: "M", Roles: []Role{Viewer}}},
		"separators":                       {`{"preferred_username": "m", "family_name": "M^x=\\y\nz", "realm_access.roles": "staff"}`, User{Name: "m", Person: "M x  y z", Roles: []Role{Viewer}}},
		"reader without a name in reports": {`{"preferred_username": "m", "realm_access.roles": "echo-readers"}`, User{Name: "m", Roles: []Role{Viewer}}},
		"no group":                         {`{"preferred_username": "m", "family_name": "M"}`, User{}},
		"foreign group":                    {`{"preferred_username": "m", "realm_access": {"roles": ["other", 7]}}`, User{}},
		"no name":                          {`{"realm_access": {"roles": ["staff"]}}`, User{}},
		"a script as name":                 {`{"preferred_username": "<script>", "realm_access": {"roles": ["staff"]}}`, User{}},
		"object as group":                  {`{"preferred_username": "m", "realm_access": {"roles": {"staff": true}}}`, User{}},
	} {
		claims := map[string]any{}
		if err := json.Unmarshal([]byte(tc.claims), &claims); err != nil {
			t.Fatal(name, err)
		}
		got, err := p.user(claims)
		if (err == nil) != (len(tc.want.Roles) > 0) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && (got.Name != tc.want.Name || got.Person != tc.want.Person || !slices.Equal(got.Roles, tc.want.Roles) ||
			got.Organisation != "City Hospital") {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if n := len([]rune(personOf(strings.Repeat("ä", 100), "", ""))); n != 64 {
		t.Errorf("a name of %d characters", n)
	}
}

// A sign-in at the provider counts not for ever, and only in the browser that
// began it, whichever process gets the answer.
func TestStateOfSignIn(t *testing.T) {
	ctx, now := t.Context(), time.Now()
	st := newSite(t).store
	clock := func() time.Time { return now }
	p, other := newRelying(OIDC{}, st, clock), newRelying(OIDC{}, st, clock)
	cookie, begun, err := p.begin(ctx, "/study/1")
	if err != nil || begun.Nonce == "" || begun.Nonce == begun.State || begun.Verifier == "" || strings.Contains(cookie, begun.Verifier) {
		t.Fatal(begun, err)
	}
	if got, err := other.end(ctx, cookie, begun.State); err != nil || got != begun {
		t.Errorf("the other process: %+v, %v", got, err)
	}
	_, second, err := p.begin(ctx, strings.Repeat("/x", maxNext))
	if err != nil || second.Next != "/" {
		t.Errorf("%+v, %v", second, err)
	}
	elsewhere := newRelying(OIDC{}, newSite(t).store, clock)
	for name, end := range map[string]func() (signingIn, error){
		"the state of another sign-in": func() (signingIn, error) { return p.end(ctx, cookie, second.State) },
		"no state":                     func() (signingIn, error) { return p.end(ctx, cookie, "") },
		"no cookie":                    func() (signingIn, error) { return p.end(ctx, "", begun.State) },
		"a changed cookie":             func() (signingIn, error) { return p.end(ctx, otherLetter(cookie[0])+cookie[1:], begun.State) },
		"a cookie of another node":     func() (signingIn, error) { return elsewhere.end(ctx, cookie, begun.State) },
	} {
		if got, err := end(); !errors.Is(err, errNoSignIn) || got != (signingIn{}) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	now = now.Add(signInFor + time.Second)
	if _, err := p.end(ctx, cookie, begun.State); !errors.Is(err, errNoSignIn) {
		t.Error("a state counts for ever")
	}

	s := newSite(t, func(o *Options) {
		o.OIDC, o.Users = &OIDC{Issuer: "http://127.0.0.1:1", ClientID: "x", Client: http.DefaultClient}, nil
	})
	b := s.browser()
	if _, page := b.want(http.StatusOK, http.MethodGet, "/login", ""); strings.Contains(page, "password") || !strings.Contains(page, "/oidc/login?next=%2F") {
		t.Error("without accounts there is no password to be asked for")
	}
	b.want(http.StatusMethodNotAllowed, http.MethodPost, "/login", "name=reader&password=x")
	_, begun, err = s.server.oidc.begin(ctx, "/")
	if err != nil {
		t.Fatal(err)
	}
	b.want(http.StatusForbidden, http.MethodGet, "/oidc/callback?code=c&state="+begun.State, "") // no cookie
	b.want(http.StatusForbidden, http.MethodGet, "/oidc/callback?code=c&state="+begun.State, "",
		func(r *http.Request) { r.Header.Set("Cookie", "echonode-oidc=other") })
}

// otherLetter is a letter of base64 that c is not.
func otherLetter(c byte) string {
	if c == 'A' {
		return "B"
	}
	return "A"
}
