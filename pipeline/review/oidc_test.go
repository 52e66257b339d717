package review

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestUserOfClaims(t *testing.T) {
	p := newRelying(OIDC{NameClaim: "preferred_username", GroupsClaim: "realm_access.roles", Organisation: "City Hospital",
		Roles: map[string][]Role{"echo-readers": {Reader}, "staff": {Viewer}, "ops": {Administrator}}}, time.Now)
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
		if err == nil && (got.Name != tc.want.Name || got.Person != tc.want.Person || !slices.Equal(got.Roles, tc.want.Roles) || got.Organisation != "City Hospital") {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if n := len([]rune(personOf(strings.Repeat("ä", 100), "", ""))); n != 64 {
		t.Errorf("a name of %d characters", n)
	}
}

// A sign-in at the provider counts once and not for ever, and only in the
// browser that began it.
func TestStateOfSignIn(t *testing.T) {
	now := time.Now()
	p := newRelying(OIDC{}, func() time.Time { return now })
	state, begun := p.begin("10.0.0.1", "/study/1")
	if begun.nonce == "" || begun.nonce == state || begun.verifier == "" {
		t.Fatal(begun)
	}
	if got, ok := p.end(state); !ok || got.next != "/study/1" {
		t.Errorf("%+v, %v", got, ok)
	}
	if _, ok := p.end(state); ok {
		t.Error("a state counts twice")
	}
	state, _ = p.begin("10.0.0.1", "/")
	now = now.Add(signInFor + time.Second)
	if _, ok := p.end(state); ok {
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
	state, _ = s.server.oidc.begin("127.0.0.1", "/")
	b.want(http.StatusForbidden, http.MethodGet, "/oidc/callback?code=c&state="+state, "") // no cookie
	state, _ = s.server.oidc.begin("127.0.0.1", "/")
	b.want(http.StatusForbidden, http.MethodGet, "/oidc/callback?code=c&state="+state, "", func(r *http.Request) { r.Header.Set("Cookie", "echonode-oidc=other") })
}

// Who begins sign-ins without end keeps nobody else out, and costs no memory.
func TestManySignIns(t *testing.T) {
	now := time.Now()
	p := newRelying(OIDC{}, func() time.Time { return now })
	one, _ := p.begin("10.0.0.1", "/study/1")
	first, _ := p.begin("10.0.0.2", "/")
	for range maxSignIns + 50 {
		now = now.Add(time.Millisecond)
		p.begin("10.0.0.2", "/")
	}
	last, _ := p.begin("10.0.0.2", "/")
	late, _ := p.begin("10.0.0.3", "/")
	if len(p.waiting) > maxSignIns {
		t.Errorf("%d sign-ins are kept", len(p.waiting))
	}
	for state, want := range map[string]bool{one: true, first: false, last: true, late: true} {
		if _, ok := p.end(state); ok != want {
			t.Errorf("under way: %v, want %v", ok, want)
		}
	}
	now = now.Add(signInFor + time.Second)
	for range maxSignIns - len(p.waiting) + 1 {
		p.begin("10.0.0.2", "/")
	}
	if len(p.waiting) > maxSignIns/2 {
		t.Errorf("%d sign-ins are kept, most of them expired", len(p.waiting))
	}
}
