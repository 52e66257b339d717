package deliver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// Tokens gets bearer tokens by OAuth 2.0 client credentials (RFC 6749 4.4) and
// keeps each for as long as it is good. It is safe for concurrent use.
type Tokens struct {
	URL    string // token endpoint
	ID     string // client ID
	Secret string // file with the client secret, read for every token
	Scopes []string
	// Params are further parameters of the request, such as audience.
	Params map[string]string
	Client *http.Client // nil: http.DefaultClient

	mu    sync.Mutex
	token *oauth2.Token
}

// TokenError is why there is no token. What the server wrote is not part of its
// text.
type TokenError struct {
	Status int    // HTTP status of the answer; 0 without one
	Code   string // error code of RFC 6749 5.2, such as invalid_client; "" without one
	Text   string // the server's words, printable
	Err    error  // what else it was; nil when the server refused
}

func (e *TokenError) Error() string {
	switch {
	case e.Code != "":
		return fmt.Sprintf("token request: %s (HTTP %d)", e.Code, e.Status)
	case e.Status != 0:
		return fmt.Sprintf("token request: HTTP %d %s", e.Status, http.StatusText(e.Status))
	}
	return "token request: " + e.Err.Error()
}

// Unwrap implements errors.Unwrap.
func (e *TokenError) Unwrap() error { return e.Err }

// tokenCodes are the error codes of RFC 6749 5.2. Another word is no code.
var tokenCodes = map[string]bool{"invalid_request": true, "invalid_client": true, "invalid_grant": true,
	"unauthorized_client": true, "unsupported_grant_type": true, "invalid_scope": true}

// maxTokenAnswer bounds the answer that is read.
const maxTokenAnswer = 1 << 20

// Token is the token that is good now; it asks for one where there is none. The
// error is a *TokenError.
func (t *Tokens) Token(ctx context.Context) (*oauth2.Token, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.token.Valid() { // with 10 s to spare
		return t.token, nil
	}
	secret, err := secretIn(t.Secret)
	if err != nil {
		return nil, &TokenError{Err: err}
	}
	client := http.Client{}
	if t.Client != nil {
		client = *t.Client
	}
	client.Transport = bounded{client.Transport}
	// The secret goes where the configuration says.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if client.Timeout == 0 {
		client.Timeout = time.Minute
	}
	params := url.Values{}
	for k, v := range t.Params {
		params.Set(k, v)
	}
	c := clientcredentials.Config{ClientID: t.ID, ClientSecret: secret, TokenURL: t.URL, Scopes: t.Scopes, EndpointParams: params}
	token, err := c.Token(context.WithValue(ctx, oauth2.HTTPClient, &client))
	if err != nil {
		var refused *oauth2.RetrieveError
		if errors.As(err, &refused) && refused.Response != nil {
			e := &TokenError{Status: refused.Response.StatusCode, Text: printable(refused.Body)}
			if tokenCodes[refused.ErrorCode] {
				e.Code = refused.ErrorCode
			}
			return nil, e
		}
		var bad *url.Error
		if errors.As(err, &bad) {
			return nil, &TokenError{Err: bad}
		}
		return nil, &TokenError{Err: errors.New("the answer holds no token")}
	}
	if !strings.EqualFold(token.Type(), "Bearer") {
		return nil, &TokenError{Err: errors.New("the answer holds a token of another type than Bearer")}
	}
	t.token = token
	return token, nil
}

// Authorize puts a token into a request.
func (t *Tokens) Authorize(r *http.Request) error {
	token, err := t.Token(r.Context())
	if err == nil {
		token.SetAuthHeader(r)
	}
	return err
}

// Refused says that a service has refused the token of a request: the next one
// gets another.
func (t *Tokens) Refused(r *http.Request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.token != nil && r.Header.Get("Authorization") == t.token.Type()+" "+t.token.AccessToken {
		t.token = nil
	}
}

// bounded bounds the bodies of answers.
type bounded struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	next := b.next
	if next == nil {
		next = http.DefaultTransport
	}
	resp, err := next.RoundTrip(r)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxTokenAnswer), resp.Body}
	}
	return resp, err
}
