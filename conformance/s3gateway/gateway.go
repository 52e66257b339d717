// Package s3gateway runs a real S3 server for tests: versitygw with a folder
// behind it, and a proxy before it that can be slow, refuse, or be gone.
package s3gateway

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/echonode/echonode/conformance/freeport"
)

// Credentials and bucket of the server.
const (
	AccessKey = "echonode-test"
	SecretKey = "echonode-test-secret"
	Bucket    = "loops"
)

// Server is a running S3 server.
type Server struct {
	Endpoint string // URL
	Folder   string // of the bucket: objects are files below it

	addr, root string
	cmd        *exec.Cmd
}

// binary builds the server once; the build cache keeps it.
var binary = sync.OnceValues(func() (string, error) {
	_, file, _, _ := runtime.Caller(0)
	cmd := exec.Command("go", "tool", "-n", "versitygw")
	cmd.Dir = filepath.Join(filepath.Dir(file), "versitygw")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	return strings.TrimSpace(string(out)), err
})

// Start runs a server until the test ends. Where it cannot be built the test is
// skipped, unless ECHONODE_PEERS is "required".
func Start(t testing.TB) *Server {
	t.Helper()
	path, err := binary()
	if err != nil {
		if os.Getenv("ECHONODE_PEERS") == "required" {
			t.Fatalf("versitygw: %v", err)
		}
		t.Skipf("versitygw: %v", err)
	}
	root := t.TempDir()
	s := &Server{root: root, Folder: filepath.Join(root, "data", Bucket), addr: freeport.Addr(t)}
	s.Endpoint = "http://" + s.addr
	// Bare folders, so that no file system has to have extended attributes.
	for _, dir := range []string{s.Folder, filepath.Join(root, "meta")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.start(t, path)
	t.Cleanup(s.stop)
	return s
}

func (s *Server) start(t testing.TB, path string) {
	t.Helper()
	s.cmd = exec.Command(path, "--port", s.addr, "--access", AccessKey, "--secret", SecretKey, "--quiet", "posix",
		"--sidecar", filepath.Join(s.root, "meta"), filepath.Join(s.root, "data"))
	log, err := os.OpenFile(filepath.Join(s.root, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(3 * time.Minute); ; {
		if c, err := net.Dial("tcp", s.addr); err == nil {
			c.Close()
			return
		}
		if time.Now().After(end) {
			out, _ := os.ReadFile(filepath.Join(s.root, "log"))
			t.Fatalf("versitygw does not listen: %s", out)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (s *Server) stop() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// Stop ends the server; its objects stay.
func (s *Server) Stop() { s.stop() }

// Restart runs it again.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.stop()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	s.start(t, path)
}

// Fault decides about a request before the server sees it; nil lets it pass.
type Fault func(w http.ResponseWriter, r *http.Request) (handled bool)

// Proxy passes requests to an S3 server, as far as its fault lets it.
type Proxy struct {
	Endpoint string
	mu       sync.Mutex
	fault    Fault
}

// NewProxy listens until the test ends.
func NewProxy(t testing.TB, to string) *Proxy {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{}
	forward := &httputil.ReverseProxy{
		// The signature is for the name that the client asked.
		Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(u); r.Out.Host = r.In.Host },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		fault := p.fault
		p.mu.Unlock()
		if fault != nil && fault(w, r) {
			return
		}
		forward.ServeHTTP(w, r)
	})}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	p.Endpoint = "http://" + l.Addr().String()
	return p
}

// Set makes the proxy behave so from now on.
func (p *Proxy) Set(f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = f
}

// Refuse answers everything with a status and a code of S3.
func Refuse(status int, code string) Fault {
	return func(w http.ResponseWriter, r *http.Request) bool {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		fmt.Fprintf(w, "<Error><Code>%s</Code><Message>refused by the test</Message></Error>", code)
		return true
	}
}

// Hang answers nothing until the client goes away.
func Hang(w http.ResponseWriter, r *http.Request) bool {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
	return true
}

// Drop closes the connection.
func Drop(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }

// Old refuses what stores of before 2022 do not know: trailers and checksums
// other than Content-MD5.
func Old(w http.ResponseWriter, r *http.Request) bool {
	for h := range r.Header {
		h = strings.ToLower(h)
		if strings.HasPrefix(h, "x-amz-checksum-") || h == "x-amz-trailer" || h == "x-amz-sdk-checksum-algorithm" {
			return Refuse(http.StatusNotImplemented, "NotImplemented")(w, r)
		}
	}
	if strings.Contains(r.Header.Get("X-Amz-Content-Sha256"), "STREAMING") || strings.Contains(r.Header.Get("Content-Encoding"), "aws-chunked") {
		return Refuse(http.StatusNotImplemented, "NotImplemented")(w, r)
	}
	return false
}
