package dicomweb

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A client that reads the answer only when all of its body is sent hears why it
// was refused.
func TestRefusalIsHeard(t *testing.T) {
	srv := httptest.NewServer(&Server{Handler: newKeeper(), Accounts: accounts(t)})
	defer srv.Close()
	body := bytes.Repeat([]byte{'x'}, 32<<20)
	for _, c := range []struct {
		name, path, header string
		code               int
	}{
		{"no account", "/studies", "", http.StatusUnauthorized},
		{"another path", "/series", "Authorization: Bearer a long secret\r\n", http.StatusNotFound},
		{"another type", "/studies", "Authorization: Bearer a long secret\r\nContent-Type: application/dicom\r\n", http.StatusUnsupportedMediaType},
	} {
		conn, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(3 * time.Minute)); err != nil {
			t.Fatal(err)
		}
		_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: node\r\nContent-Length: %d\r\n%s\r\n", c.path, len(body), c.header)
		if err == nil {
			_, err = conn.Write(body)
		}
		if err != nil {
			t.Errorf("%s: the body could not be sent: %v", c.name, err)
		} else if res, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || res.StatusCode != c.code {
			t.Errorf("%s: %v, %v", c.name, res, err)
		} else if err := res.Body.Close(); err != nil {
			t.Error(err)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A sender with a wrong secret leaves a trace, one line for many; who is taken out
// of the file, or put in, counts from the next request on.
func TestAccountsOfNow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "accounts")
	write := func(text string, mode os.FileMode) {
		t.Helper()
		tmp := path + ".new"
		if err := errors.Join(os.WriteFile(tmp, []byte(text), mode), os.Chmod(tmp, mode), os.Rename(tmp, path)); err != nil {
			t.Fatal(err)
		}
	}
	write("VIVID:long secret\nEPIQ:another one\n", 0o640)
	file, err := OpenAccounts(path)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	refused := 0
	s := &Server{Handler: newKeeper(), Current: file.Current, Refused: func() { refused++ }, Log: slog.New(slog.NewTextHandler(&log, nil))}
	ask := func(authorization string, want int) {
		t.Helper()
		r := httptest.NewRequest(http.MethodGet, "/studies", nil)
		r.RemoteAddr = "10.0.0.7:4711"
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%s: %d, want %d", authorization, w.Code, want)
		}
	}
	const in = http.StatusMethodNotAllowed // GET is not served, but to an account
	ask("Bearer long secret", in)
	ask("", http.StatusUnauthorized)
	if refused != 0 || log.Len() != 0 {
		t.Errorf("%d refused secrets: %s", refused, &log)
	}
	for range 30 {
		ask("Bearer wrong secret", http.StatusUnauthorized)
	}
	ask("Bearer long secret", in) // one stale secret keeps nobody else out
	if refused != 30 || strings.Count(log.String(), "10.0.0.7") != 1 || strings.Contains(log.String(), "wrong secret") {
		t.Errorf("%d refused secrets: %s", refused, &log)
	}
	if more, due := s.complaints.due("secret", time.Now().Add(2*complainEvery)); more != 29 || !due {
		t.Errorf("%d more, %v", more, due)
	}
	write("EPIQ:another one\nNEW:the newest one\n", 0o640)
	ask("Bearer long secret", http.StatusUnauthorized)
	ask("Bearer the newest one", in)
	log.Reset()
	write("EPIQ:another one\n", 0o644)
	ask("Bearer another one", http.StatusServiceUnavailable)
	ask("Bearer another one", http.StatusServiceUnavailable)
	if strings.Count(log.String(), "chmod 640") != 1 {
		t.Errorf("%s", &log)
	}
	write("EPIQ:another one\n", 0o640)
	ask("Bearer another one", in)
}
