package mainjob

import (
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/echonode/echonode/conformance/freeport"
	"github.com/echonode/echonode/conformance/s3gateway"
)

// bucket has a node keep its objects in a bucket of a real S3 server, behind a
// proxy that can take it away.
func (n *node) bucket() (*s3gateway.Server, *s3gateway.Proxy) {
	n.t.Helper()
	server := s3gateway.Start(n.t)
	proxy := s3gateway.NewProxy(n.t, server.Endpoint)
	credentials := filepath.Join(n.dir, "credentials")
	b, err := os.ReadFile(n.config)
	if err != nil {
		n.t.Fatal(err)
	}
	text := strings.Replace(string(b), "min_free: 16MiB}",
		fmt.Sprintf(`min_free: 16MiB, objects: {kind: s3, s3: {endpoint: "%s", bucket: %s, credentials_file: "%s", timeout: 3s}}}`,
			proxy.Endpoint, s3gateway.Bucket, credentials), 1)
	for path, text := range map[string]string{n.config: text,
		credentials: fmt.Sprintf("[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", s3gateway.AccessKey, s3gateway.SecretKey)} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			n.t.Fatal(err)
		}
	}
	return server, proxy
}

// TestObjectsInS3: what the node acknowledges is in the store, and what it makes;
// while the store is gone, refuses or hangs, senders are refused and told so, and
// work goes on afterwards; killed, with its own disk lost but for the database, it
// goes on from what the store holds.
func TestObjectsInS3(t *testing.T) {
	needTools(t, "storescp")
	archive := freeport.Addr(t)
	got := storescp(t, archive)
	n := newNode(t, archive)
	server, proxy := n.bucket()
	if out, code := echonode(t, "check-config", "--live", "-c", n.config); !strings.Contains(out, "an object was put, read, listed and removed") {
		t.Errorf("check-config --live: %d\n%s", code, out)
	}
	n.start()
	store := func(number int) (string, int) {
		return echonode(t, "send", "--called", "ECHONODE", n.dicom, loop(t, number))
	}
	mustStore := func(number int) (times int) {
		t.Helper()
		eventually(t, "a store that is there answers in time", func() bool {
			times++
			out, code := store(number)
			if code != 0 && !strings.Contains(out, "A700") {
				t.Fatalf("exit %d\n%s", code, out)
			}
			return code == 0
		})
		return times
	}
	times := mustStore(9)
	held := 0
	if err := filepath.WalkDir(server.Folder, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.Contains(path, "received") {
			held++
		}
		return err
	}); err != nil || held < 1 || held > times {
		t.Errorf("%d objects in the store after one was acknowledged, %v", held, err)
	}
	for what, fault := range map[string]s3gateway.Fault{"gone": nil, "refuses": s3gateway.Refuse(http.StatusForbidden, "AccessDenied"), "hangs": s3gateway.Hang} {
		if fault == nil {
			server.Stop()
		} else {
			proxy.Set(fault)
		}
		if out, code := store(34); code != 1 || !strings.Contains(out, "A700") {
			t.Errorf("%s: exit %d\n%s", what, code, out)
		}
		// An answer is kept for a moment.
		eventually(t, what+": not healthy", func() bool { return n.health() == http.StatusServiceUnavailable })
		if fault == nil {
			server.Restart(t)
		}
		proxy.Set(nil)
		eventually(t, what+": healthy again", func() bool { return n.health() == http.StatusOK })
	}
	mustStore(34)
	eventually(t, "a report", func() bool { return len(received(t, got)["SR"]) > 0 })
	n.kill()
	for _, folder := range []string{"cache", "arriving", "scratch", "spool", "results"} {
		if err := os.RemoveAll(filepath.Join(n.dir, "data", folder)); err != nil {
			t.Fatal(err)
		}
	}
	n.start()
	before := len(received(t, got)["SR"])
	study := n.studies()[0].StudyInstanceUID
	mustStore(10)
	eventually(t, "another report", func() bool { return len(received(t, got)["SR"]) > before })
	for _, s := range n.studies() {
		if s.StudyInstanceUID == study && s.Error != "" {
			t.Error(s.Error)
		}
	}
	if strings.Contains(n.log.String(), s3gateway.SecretKey) {
		t.Error("the log holds the secret key")
	}
}
