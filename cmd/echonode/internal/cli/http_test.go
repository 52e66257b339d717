package cli

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/echonode/echonode/cmd/echonode/internal/config"
	"github.com/echonode/echonode/pipeline/measure"
	"github.com/echonode/echonode/pipeline/objects"
	"github.com/echonode/echonode/pipeline/store"
	"github.com/echonode/echonode/scp"
)

// A name that a foreign page lets resolve to this machine is not answered.
func TestKnownHost(t *testing.T) {
	s := statusServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }), []string{"echo.example.org"})
	if s.IdleTimeout <= 0 || s.ReadHeaderTimeout <= 0 || s.ReadTimeout <= 0 {
		t.Errorf("a client may be slow for ever: %+v", s)
	}
	for host, want := range map[string]int{
		"127.0.0.1:8104": http.StatusNoContent, "[::1]:8104": http.StatusNoContent, "10.1.2.3": http.StatusNoContent, "localhost:8104": http.StatusNoContent,
		"LOCALHOST": http.StatusNoContent, "echo.example.org:8104": http.StatusNoContent, "Echo.Example.Org.": http.StatusNoContent,
		"attacker.example:8104": http.StatusMisdirectedRequest, "localhost.attacker.example": http.StatusMisdirectedRequest, "": http.StatusMisdirectedRequest,
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = host
		w := httptest.NewRecorder()
		s.Handler.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("Host %q: %d, want %d", host, w.Code, want)
		}
	}
}

// Nobody keeps a connection of any of the servers for ever by being slow or silent, and
// none holds more of a header than it may need.
func TestHTTPServersHaveLimits(t *testing.T) {
	dir := t.TempDir()
	accounts, users := filepath.Join(dir, "accounts"), filepath.Join(dir, "users.yaml")
	if err := errors.Join(os.WriteFile(accounts, []byte("VIVID:a long secret\n"), 0o600), os.WriteFile(users, []byte("users: []\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse(fmt.Appendf(nil, "storage: {directory: %q}\ndicomweb: {listen: \"127.0.0.1:0\", accounts: %q}\n"+
		"review: {listen: \"127.0.0.1:0\", users: %q}\n",
		dir, accounts, users))
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	web, listener, err := dicomwebServer(c, nil, &scp.Server{}, nil, log)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	st, err := store.Open(t.Context(), filepath.Join(dir, "node.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	files, err := objects.NewFiles(objects.NewDirectory(dir), "", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	page, err := openReview(t.Context(), c, st, files, nil, measure.Options{}, dir, "test", log)
	if err != nil {
		t.Fatal(err)
	}
	defer page.listener.Close()
	for name, s := range map[string]*http.Server{"status": statusServer(http.NotFoundHandler(), nil), "DICOMweb": web, "review": page.server} {
		if s.IdleTimeout <= 0 || s.IdleTimeout > 5*time.Minute || s.ReadHeaderTimeout <= 0 || s.ReadHeaderTimeout > time.Minute || s.MaxHeaderBytes <= 0 ||
			s.MaxHeaderBytes > 64<<10 {
			t.Errorf("%s: idle %v, header %v, %d bytes", name, s.IdleTimeout, s.ReadHeaderTimeout, s.MaxHeaderBytes)
		}
	}
	// Where no account is asked for before anything else, a foreign page's name is not answered.
	for name, h := range map[string]http.Handler{"status": statusServer(http.NotFoundHandler(), nil).Handler, "review": page.server.Handler} {
		for host, want := range map[string]bool{"attacker.example": true, "127.0.0.1": false} {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Host = host
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if got := w.Code == http.StatusMisdirectedRequest; got != want {
				t.Errorf("%s, Host %s: %d", name, host, w.Code)
			}
		}
	}
	// DICOMweb answers nobody without a secret, which a foreign page does not have.
	w := httptest.NewRecorder()
	web.Handler.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/studies", nil))
	if w.Code != http.StatusUnauthorized {
		t.Errorf("DICOMweb without a secret: %d", w.Code)
	}
}
