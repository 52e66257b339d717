package deliver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// issuer is an authorization server that gives numbered tokens.
type issuer struct {
	mu      sync.Mutex
	count   int
	expires int              // seconds; 0: it does not say
	answer  http.HandlerFunc // instead of a token
	form    string
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.answer != nil {
		i.answer(w, r)
		return
	}
	if err := r.ParseForm(); err != nil {
		http.Error(w, "no form", http.StatusBadRequest)
		return
	}
	id, secret, ok := r.BasicAuth()
	if !ok || id != "echonode" || secret != "a secret/with+signs" || r.PostForm.Get("grant_type") != "client_credentials" {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		io.WriteString(w, `{"error":"invalid_client","error_description":"no such client DOE^JANE"}`)
		return
	}
	i.count++
	i.form = r.PostForm.Encode()
	w.Header().Set("Content-Type", "application/json")
	answer := map[string]any{"access_token": fmt.Sprintf("token-%d", i.count), "token_type": "Bearer"}
	if i.expires > 0 {
		answer["expires_in"] = i.expires
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func (i *issuer) tokens() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.count
}

func secretFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A token is asked for once, kept while it is good, asked for again when it
// ends or is refused.
func TestClientCredentials(t *testing.T) {
	// The library escapes ID and secret in the header, as RFC 6749 2.3.1 says.
	idp := &issuer{expires: 3600}
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if id, secret, ok := r.BasicAuth(); ok {
			r.SetBasicAuth(id, strings.NewReplacer("%2F", "/", "%2B", "+", "+", " ").Replace(secret))
		}
		idp.ServeHTTP(w, r)
	}))
	defer tokens.Close()
	var mu sync.Mutex
	revoked, got := map[string]bool{}, []string{}
	pacs := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		token := r.Header.Get("Authorization")
		got = append(got, r.Method+" "+token)
		if !strings.HasPrefix(token, "Bearer token-") || revoked[token] {
			w.WriteHeader(http.StatusUnauthorized)
		} else if r.Method == http.MethodPost {
			_, _ = io.WriteString(w, `{"00081199":{"vr":"SQ","Value":[{"00081155":{"vr":"UI","Value":["1.2.3.4"]}}]}}`)
		}
	}))
	defer pacs.Close()
	source := []Source{{Path: object(t, t.TempDir(), "1.2.3.4", false)}}
	grants := &Tokens{URL: tokens.URL, ID: "echonode", Secret: secretFile(t, "a secret/with+signs\n"), Scopes: []string{"store"},
		Params: map[string]string{"audience": "pacs"}}
	s := &Stow{URL: pacs.URL, Authorize: grants.Authorize, Refused: grants.Refused}
	send := func(want error) {
		t.Helper()
		results, err := s.SendAll(context.Background(), source, nil)
		if err != nil || (results[0].Err != nil) != (want != nil) {
			t.Fatalf("%+v, %v", results, err)
		}
	}
	send(nil)
	send(nil)
	if idp.tokens() != 1 || idp.form != "audience=pacs&grant_type=client_credentials&scope=store" {
		t.Errorf("%d tokens for two objects, asked with %s", idp.tokens(), idp.form)
	}
	mu.Lock()
	revoked["Bearer token-1"] = true
	mu.Unlock()
	send(nil) // refused, and sent again with another
	if code, err := s.Ping(context.Background()); code != 200 || err != nil || idp.tokens() != 2 {
		t.Errorf("ping %d, %v, %d tokens", code, err, idp.tokens())
	}
	mu.Lock()
	revoked["Bearer token-2"], revoked["Bearer token-3"] = true, true
	got = nil
	mu.Unlock()
	send(&HTTPError{}) // refused twice: no third time
	mu.Lock()
	if len(got) != 2 {
		t.Errorf("sent %v", got)
	}
	mu.Unlock()
	before := idp.tokens()
	send(nil)
	// One that ends in 5 s is not used any more.
	idp.mu.Lock()
	idp.expires = 5
	idp.mu.Unlock()
	grants.token.Expiry = time.Now().Add(5 * time.Second)
	send(nil)
	send(nil)
	if n := idp.tokens() - before; n != 3 {
		t.Errorf("%d tokens, want one before and one for each of two objects", n)
	}
}

// Errors are typed, and hold no words of the server.
func TestTokenErrors(t *testing.T) {
	idp := &issuer{}
	srv := httptest.NewServer(idp)
	defer srv.Close()
	answer := func(code int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(code)
			io.WriteString(w, body)
		}
	}
	wrong := secretFile(t, "wrong")
	for name, c := range map[string]struct {
		answer  http.HandlerFunc
		secret  string
		url     string
		code    string
		status  int
		message string
	}{
		"refused": {nil, wrong, srv.URL, "invalid_client", 401, "token request: invalid_client (HTTP 401)"},
		"words":   {answer(400, `{"error":"DOE^JANE"}`), wrong, srv.URL, "", 400, "token request: HTTP 400 Bad Request"},
		"broken":  {answer(500, "DOE^JANE"), wrong, srv.URL, "", 500, "token request: HTTP 500 Internal Server Error"},
		"moved": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, wrong, srv.URL, "", 307, "token request: HTTP 307 Temporary Redirect"},
		"no token":       {answer(200, `{"token_type":"Bearer"}`), wrong, srv.URL, "", 0, "token request: the answer holds no token"},
		"no JSON":        {answer(200, "DOE^JANE"), wrong, srv.URL, "", 0, "token request: the answer holds no token"},
		"another type":   {answer(200, `{"access_token":"x","token_type":"MAC"}`), wrong, srv.URL, "", 0, "token request: the answer holds a token of another type than Bearer"},
		"endless":        {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 3*maxTokenAnswer)) }, wrong, srv.URL, "", 0, "token request: the answer holds no token"},
		"no secret":      {nil, wrong + ".none", srv.URL, "", 0, "no such file"},
		"nobody listens": {nil, wrong, "http://127.0.0.1:1", "", 0, "connection refused"},
	} {
		idp.mu.Lock()
		idp.answer = c.answer
		idp.mu.Unlock()
		grants := &Tokens{URL: c.url, ID: "echonode", Secret: c.secret}
		s := &Stow{URL: srv.URL, Authorize: grants.Authorize, Refused: grants.Refused}
		_, err := s.Ping(context.Background())
		var e *TokenError
		if !errors.As(err, &e) || e.Code != c.code || e.Status != c.status || !strings.Contains(err.Error(), c.message) || strings.Contains(err.Error(), "DOE") {
			t.Errorf("%s: %#v: %v", name, err, err)
		}
	}
}
