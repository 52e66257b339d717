package cli

import (
	"net/http"
	"net/http/httptest"
	"testing"
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
