package review

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"

	"github.com/echonode/echonode/conformance/freeport"
)

// people are the accounts of the provider.
type people map[string]*storage.User

func (p people) GetUserByID(id string) *storage.User         { return p[id] }
func (p people) GetUserByUsername(name string) *storage.User { return p[name] }
func (p people) ExampleClientID() string                     { return storage.ServiceUserID }

// directory is the provider's storage, which tells clients the groups of users.
type directory struct {
	*storage.Storage
	groups map[string][]string
}

func (d directory) SetUserinfoFromToken(ctx context.Context, info *oidc.UserInfo, token, subject, origin string) error {
	err := d.Storage.SetUserinfoFromToken(ctx, info, token, subject, origin)
	info.AppendClaims("groups", d.groups[subject])
	return err
}

// provider runs an OpenID provider, certified as such, on an address.
func provider(t *testing.T, address, redirect string) {
	t.Helper()
	issuer := "http://" + address
	users := people{}
	for _, name := range []string{"mueller", "visitor", "stranger"} {
		users[name] = &storage.User{ID: name, Username: name, Password: password, FirstName: "Ännchen", LastName: "Müller^\\x", Email: name + "@example.org"}
	}
	storage.RegisterClients(storage.WebClient("echonode", "a secret", redirect))
	d := directory{storage.NewStorage(users), map[string][]string{"mueller": {"staff", "echo-readers"}, "visitor": {"staff"}, "stranger": {"cleaning"}}}
	server := &http.Server{Addr: address, Handler: exampleop.SetupServer(issuer, d, nil, false), ReadHeaderTimeout: time.Second}
	done := make(chan error, 1)
	go func() { done <- server.ListenAndServe() }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}

// Users sign in at the hospital's OpenID provider, with the roles of their groups.
func TestOpenIDConnect(t *testing.T) {
	address := freeport.Addr(t)
	s := newSite(t, `  oidc:
    issuer: "http://`+address+`"
    client_id: echonode
    client_secret_file: "{dir}/secret"
    redirect: "{page}/oidc/callback"
    roles: {echo-readers: reader, staff: viewer}
    organisation: City Hospital
`)
	b := s.open("")
	// As long as the provider is away, people with a password come in.
	do(t, b, chromedp.Navigate(s.page+"/login"), chromedp.Click(`#provider`))
	until(t, b, `document.querySelector(".problem")?.innerText.includes("not possible at the moment") === true`)
	b.Problems() // of the answer 503
	provider(t, address, s.page+"/oidc/callback")

	at := func(user, from string) {
		t.Helper()
		do(t, b, chromedp.Navigate(s.page+from))
		until(t, b, `document.querySelector("#provider") !== null`)
		do(t, b, chromedp.Click(`#provider`), chromedp.WaitVisible(`[name=username]`), chromedp.SendKeys(`[name=username]`, user),
			chromedp.SendKeys(`[name=password]`, password), chromedp.Click(`button`))
	}
	at("mueller", "/")
	until(t, b, `document.querySelector("#rows table") !== null`)
	if text := eval[string](t, b, `document.querySelector("header").innerText`); !strings.Contains(text, "Müller x, Ännchen") {
		t.Errorf("signed in as %q", text)
	}
	for _, p := range b.Problems() {
		if strings.Contains(p, s.page) { // not the provider's own
			t.Errorf("the page reports: %s", p)
		}
	}
	do(t, b, chromedp.Click(`header form button`))
	until(t, b, `document.querySelector("#provider") !== null`)
	// Whoever is in no group with a role stays out.
	at("stranger", "/")
	until(t, b, `document.querySelector(".problem")?.innerText.includes("no role") === true`)
	b.Problems() // of the answer 403
	do(t, b, chromedp.Navigate(s.page+"/"))
	if where := eval[string](t, b, `location.pathname`); where != "/login" {
		t.Errorf("a stranger is at %s", where)
	}
	// The answer to a sign-in counts once, and in the browser that began it.
	res, err := http.Get(s.page + "/oidc/callback?code=x&state=y")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusForbidden {
		t.Errorf("a foreign callback: %s", res.Status)
	}
}
