package review

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/echonode/echonode/pipeline/review/internal/dicomaudit"
	"github.com/echonode/echonode/pipeline/store"
)

// listener is a collector of syslog over TLS that takes nothing but what RFC
// 5425 and RFC 5424 allow.
type listener struct {
	t    *testing.T
	l    net.Listener
	pool *x509.CertPool

	mu       sync.Mutex
	conns    []net.Conn
	messages []string
}

var rfc5424 = regexp.MustCompile(`^<85>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d) ` +
	`[!-~]{1,255} EchoNode [!-~]{1,128} DICOM\+RFC3881 - \x{FEFF}(<AuditMessage>.*</AuditMessage>)$`)

func collect(t *testing.T, address string) *listener {
	t.Helper()
	certified := httptest.NewTLSServer(http.NotFoundHandler()) // for its certificate
	defer certified.Close()
	inner, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	c := &listener{t: t, pool: x509.NewCertPool(), l: tls.NewListener(inner, &tls.Config{Certificates: certified.TLS.Certificates})}
	c.pool.AddCert(certified.Certificate())
	go func() {
		for {
			conn, err := c.l.Accept()
			if err != nil {
				return
			}
			c.mu.Lock()
			c.conns = append(c.conns, conn)
			c.mu.Unlock()
			go c.read(conn)
		}
	}()
	return c
}

func (c *listener) read(conn net.Conn) {
	r := bufio.NewReader(conn)
	for {
		length, err := r.ReadString(' ')
		if err != nil {
			return
		}
		n, err := strconv.Atoi(strings.TrimSuffix(length, " "))
		if err != nil || n < 1 || strings.HasPrefix(length, "0") {
			c.t.Errorf("length %q", length)
			return
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(r, b); err != nil {
			return
		}
		m := rfc5424.FindSubmatch(b)
		if m == nil {
			c.t.Errorf("no message of RFC 5424: %q", b)
			continue
		}
		c.mu.Lock()
		c.messages = append(c.messages, string(m[1]))
		c.mu.Unlock()
	}
}

func (c *listener) close() {
	_ = c.l.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		_ = conn.Close()
	}
}

// wait returns the messages once there are so many.
func (c *listener) wait(n int) []string {
	c.t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		c.mu.Lock()
		got := append([]string(nil), c.messages...)
		c.mu.Unlock()
		if len(got) >= n {
			return got
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("%d messages instead of %d: %s", len(got), n, strings.Join(got, "\n"))
		}
	}
}

// The trail reaches its collector, also what happened while it was away, and by
// the next process what this one did not tell.
func TestAuditMessages(t *testing.T) {
	first := collect(t, "127.0.0.1:0")
	o := Syslog{Address: first.l.Addr().String(), Source: "ECHONODE", Position: filepath.Join(t.TempDir(), "position"),
		TLS: &tls.Config{RootCAs: first.pool, ServerName: "127.0.0.1"}}
	s := newSite(t, func(opt *Options) { opt.Operator = &operator{}; opt.Syslog = &o })
	run := func() (stop func()) {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); s.server.tell(ctx, o) }()
		return func() {
			cancel()
			<-done
		}
	}
	s.add(sample{study: "1.2.1", loop: "1.2.1.1", name: "Doe^Jane", view: "A4C", ef: value(60)})
	s.indexed()
	stop := run()
	b := s.as("admin") // sign-in, worklist
	b.want(http.StatusOK, http.MethodGet, "/study/1.2.1", "")
	s.pass(2 * time.Second)
	got := first.wait(3)
	for i, want := range []string{`csd-code="110114"`, `csd-code="110112"`, `ParticipantObjectID="P-1.2.1"`} {
		if !strings.Contains(got[i], want) {
			t.Errorf("message %d lacks %s: %s", i, want, got[i])
		}
	}
	if !strings.Contains(got[2], `UserID="admin"`) || !strings.Contains(got[2], `NetworkAccessPointID="127.0.0.1"`) || strings.Contains(got[2], "Doe") {
		t.Errorf("%s", got[2])
	}
	// While the collector is away, and the node is started anew.
	first.close()
	b.want(http.StatusSeeOther, http.MethodPost, "/study/1.2.1/do/remove", "sure=on")
	b.want(http.StatusForbidden, http.MethodPost, "/study/1.2.1/do/remove", "sure=on", func(r *http.Request) { r.Header.Set("X-CSRF-Token", "x") })
	s.pass(2 * time.Second)
	stop()
	second := collect(t, o.Address)
	defer second.close()
	o.TLS = &tls.Config{RootCAs: second.pool, ServerName: "127.0.0.1"}
	stop = run()
	defer stop()
	got = second.wait(2)
	if !strings.Contains(got[0], `csd-code="110105"`) || !strings.Contains(got[0], `ParticipantObjectID="P-1.2.1"`) ||
		!strings.Contains(got[1], `csd-code="110113"`) || !strings.Contains(got[1], `EventOutcomeIndicator="4"`) {
		t.Errorf("after the collector came back:\n%s", strings.Join(got, "\n"))
	}
	s.server.removed.mu.Lock()
	if left := s.server.removed.of; len(left) > 0 {
		t.Errorf("%v is remembered after its removal was told", left)
	}
	s.server.removed.mu.Unlock()
	for i := range 3 {
		b.want(http.StatusNotFound, http.MethodGet, fmt.Sprintf("/study/9.%d", i), "")
	}
}

// teller is one of a site whose collector is told round by round.
func (s *site) teller(c *listener, position string) *teller {
	tl := &tls.Config{RootCAs: c.pool, ServerName: "127.0.0.1"}
	t := &teller{s: s.server, opt: Syslog{Address: c.l.Addr().String(), Source: "ECHONODE", Position: position, TLS: tl},
		collector: dicomaudit.Collector{Address: c.l.Addr().String(), TLS: tl}}
	s.t.Cleanup(func() {
		if t.conn != nil {
			_ = t.conn.Close()
		}
	})
	return t
}

func (s *site) entry(action string) {
	s.t.Helper()
	if err := s.store.Audit(s.t.Context(), store.AuditEntry{At: s.now(), User: "admin", Action: action}); err != nil {
		s.t.Fatal(err)
	}
}

// A position that says nothing is not known, and what comes from then on is told.
func TestAuditPosition(t *testing.T) {
	s := newSite(t)
	c := collect(t, "127.0.0.1:0")
	defer c.close()
	s.entry("login")
	s.entry("login")
	round := func(tl *teller) error { return tl.round(t.Context(), s.now().Add(-tellAfter)) }
	told, id := 0, 2
	for _, bad := range []string{"", "x", "-3", "99999", "12345678901234567890123"} {
		path := filepath.Join(t.TempDir(), "position")
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		tl := s.teller(c, path)
		if err := round(tl); err != nil {
			t.Errorf("%q: %v", bad, err)
		}
		s.entry("login")
		s.pass(2 * time.Second)
		if err := round(tl); err != nil {
			t.Errorf("%q: %v", bad, err)
		}
		told, id = told+1, id+1
		c.wait(told)
		if b, err := os.ReadFile(path); err != nil || string(b) != fmt.Sprintln(id) {
			t.Errorf("%q became %q, %v", bad, b, err)
		}
	}
	// What cannot be read or written is an error of the round, and tried again.
	folder := filepath.Join(t.TempDir(), "none")
	tl := s.teller(c, filepath.Join(folder, "position"))
	if err := round(tl); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	s.entry("login")
	s.pass(2 * time.Second)
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := round(tl); err != nil {
		t.Error(err)
	}
	if got := c.wait(told + 1); len(got) != told+1 {
		t.Errorf("%d messages", len(got))
	}
	if err := round(s.teller(c, t.TempDir())); err == nil {
		t.Error("a folder was read as a position")
	}
}

// An entry whose predecessor is not there yet, because the transaction of another
// process has not ended, is not told before it.
func TestAuditGap(t *testing.T) {
	s := newSite(t)
	c := collect(t, "127.0.0.1:0")
	defer c.close()
	tl := s.teller(c, filepath.Join(t.TempDir(), "position"))
	tl.known, tl.position = true, -1 // as if entry 0 were still to come
	s.entry("login")
	for _, wait := range []time.Duration{2 * time.Second, time.Minute} {
		s.pass(wait)
		if err := tl.round(t.Context(), s.now().Add(time.Hour)); err != nil || tl.position != -1 {
			t.Fatalf("passed over: position %d, %v", tl.position, err)
		}
	}
	s.pass(gapAfter)
	s.entry("login")
	s.pass(2 * time.Second)
	if err := tl.round(t.Context(), s.now().Add(-tellAfter)); err != nil || tl.position != 2 {
		t.Fatalf("position %d, %v", tl.position, err)
	}
	c.wait(2)
}
