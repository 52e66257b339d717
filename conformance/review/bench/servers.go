package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/echonode/echonode/conformance/freeport"
)

// start runs a program until the bench ends.
func (b *bench) start(name string, args ...string) (*exec.Cmd, error) {
	cmd := exec.Command(name, args...)
	log, err := os.Create(filepath.Join(b.dir, filepath.Base(name)+".log"))
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	b.later(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = log.Close()
	})
	return cmd, nil
}

// addresses are free ones, kept until the bench ends.
func (b *bench) addresses(n int) ([]string, error) {
	out := make([]string, n)
	for i := range out {
		port, release, err := freeport.Reserve()
		if err != nil {
			return nil, err
		}
		b.later(func() { _ = release() })
		out[i] = net.JoinHostPort("127.0.0.1", port)
	}
	return out, nil
}

// answers waits until an address answers with 200.
func answers(address string) error {
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		res, err := http.Get(address)
		if err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s does not answer: %w", address, err)
		}
	}
}

// node is a running node with its page.
type node struct {
	dicom, status, page string
	cmd                 *exec.Cmd
}

func (b *bench) node(name string) (*node, error) {
	at, err := b.addresses(3)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(b.dir, name)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "echonode.yaml")
	text := fmt.Sprintf("dicom: {listen: %q}\nhttp: {listen: %q}\nstorage: {directory: %q, min_free: 16MiB}\nstudy: {idle: 1s}\nreview: {listen: %q}\n",
		at[0], at[1], filepath.Join(dir, "data"), at[2])
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	add := exec.Command(b.binary, "user", "add", user, "-c", config, "--role", "reader", "--person", "Bench^Reader", "--organisation", "Bench")
	add.Stdin = strings.NewReader(password + "\n")
	if out, err := add.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("user add: %w\n%s", err, out)
	}
	n := &node{dicom: at[0], status: "http://" + at[1], page: "http://" + at[2]}
	if n.cmd, err = b.start(b.binary, "serve", "-c", config); err != nil {
		return nil, err
	}
	return n, answers(n.page + "/login")
}

// send sends objects to the node and waits until their studies are done.
func (b *bench) send(n *node, files ...string) error {
	if out, err := exec.Command(b.binary, append([]string{"send", "--called", "ECHONODE", n.dicom}, files...)...).CombinedOutput(); err != nil {
		return fmt.Errorf("send: %w\n%s", err, out)
	}
	for end := time.Now().Add(5 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		res, err := http.Get(n.status + "/studies")
		if err != nil {
			return err
		}
		var studies []struct{ State string }
		err = json.NewDecoder(res.Body).Decode(&studies)
		_ = res.Body.Close()
		if err != nil {
			return err
		}
		if len(studies) > 0 && !slices.ContainsFunc(studies, func(s struct{ State string }) bool { return s.State != "done" && s.State != "failed" }) {
			return nil
		}
		if time.Now().After(end) {
			return errors.New("the studies are not done")
		}
	}
}

// counted is a proxy that counts what a server sends.
func (b *bench) counted(handler http.Handler) (address string, sent *atomic.Int64, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	sent = new(atomic.Int64)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(&counter{w, sent}, r)
	}), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(l) }()
	b.later(func() { _ = server.Close() })
	return "http://" + l.Addr().String(), sent, nil
}

type counter struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.n.Add(int64(n))
	return n, err
}

func (c *counter) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func proxyTo(target string, strip bool) (http.Handler, error) {
	u, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	return &httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(u)
		if !strip {
			r.Out.Host = r.In.Host
		}
	}}, nil
}

// viewer runs Orthanc with DICOMweb and OHIF before it.
func (b *bench) viewer(file string) (address string, sent *atomic.Int64, err error) {
	at, err := b.addresses(2)
	if err != nil {
		return "", nil, err
	}
	_, port, err := net.SplitHostPort(at[0])
	if err != nil {
		return "", nil, err
	}
	_, dicom, err := net.SplitHostPort(at[1])
	if err != nil {
		return "", nil, err
	}
	plugin := "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"
	if _, err := os.Stat(plugin); err != nil {
		return "", nil, err
	}
	config, err := json.Marshal(map[string]any{
		"Name": "bench", "StorageDirectory": filepath.Join(b.dir, "orthanc"), "IndexDirectory": filepath.Join(b.dir, "orthanc"), "Plugins": []string{plugin},
		"HttpPort": json.RawMessage(port), "DicomPort": json.RawMessage(dicom), "RemoteAccessAllowed": false, "AuthenticationEnabled": false,
		"DicomWeb": map[string]any{"Enable": true, "Root": "/dicom-web/"},
	})
	if err != nil {
		return "", nil, err
	}
	path := filepath.Join(b.dir, "orthanc.json")
	if err := os.WriteFile(path, config, 0o600); err != nil {
		return "", nil, err
	}
	if _, err := b.start("Orthanc", path); err != nil {
		return "", nil, err
	}
	if err := answers("http://" + at[0] + "/system"); err != nil {
		return "", nil, err
	}
	body, err := os.ReadFile(file)
	if err != nil {
		return "", nil, err
	}
	res, err := http.Post("http://"+at[0]+"/instances", "application/dicom", bytes.NewReader(body))
	if err != nil {
		return "", nil, err
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return "", nil, fmt.Errorf("orthanc: %s", res.Status)
	}
	dist := filepath.Join(b.root, ".build/ohif/dist")
	if _, err := os.Stat(filepath.Join(dist, "index.html")); err != nil {
		return "", nil, fmt.Errorf("%w: run make setup-test", err)
	}
	archive, err := proxyTo("http://"+at[0], true)
	if err != nil {
		return "", nil, err
	}
	static := http.FileServer(http.Dir(dist))
	return b.counted(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/dicom-web"):
			archive.ServeHTTP(w, r)
		case r.URL.Path == "/app-config.js":
			w.Header().Set("Content-Type", "text/javascript")
			fmt.Fprint(w, ohifConfig)
		default:
			if _, err := os.Stat(filepath.Join(dist, filepath.Clean(r.URL.Path))); err != nil {
				r.URL.Path = "/"
			}
			static.ServeHTTP(w, r)
		}
	}))
}

const ohifConfig = `window.config = {
  routerBasename: null, extensions: [], modes: [], customizationService: {}, showStudyList: true, maxNumberOfWebWorkers: 2,
  showWarningMessageForCrossOrigin: false, showCPUFallbackMessage: false, showLoadingIndicator: true, investigationalUseDialog: { option: 'never' },
  defaultDataSourceName: 'dicomweb', dataSources: [{ namespace: '@ohif/extension-default.dataSourcesModule.dicomweb', sourceName: 'dicomweb', configuration: {
    friendlyName: 'Orthanc', name: 'orthanc', wadoUriRoot: '/dicom-web', qidoRoot: '/dicom-web', wadoRoot: '/dicom-web', qidoSupportsIncludeField: false,
    imageRendering: 'wadors', thumbnailRendering: 'wadors', enableStudyLazyLoad: true,
    supportsFuzzyMatching: false, supportsWildcard: true, omitQuotationForMultipartRequest: true } }],
};`
