package cli

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestUserSignOut(t *testing.T) {
	var asked string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.Method + " " + r.URL.String()
		fmt.Fprint(w, `{"sessions": 2}`)
	}))
	defer srv.Close()
	var out, errw bytes.Buffer
	code := Main("test", []string{"user", "sign-out", "eve+x", "--url", srv.URL}, strings.NewReader(""), &out, &errw)
	if code != 0 || out.String() != "2 sessions ended\n" || asked != "POST /accounts/sign-out?name=eve%2Bx" {
		t.Errorf("exit code %d, %q, %q, asked %q", code, out.String(), errw.String(), asked)
	}
}
