package interop

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/echonode/echonode/pipeline/deliver"
	"github.com/echonode/echonode/pipeline/dicomweb"
)

// orthancDICOMweb finds the plugin, Debian package orthanc-dicomweb.
func orthancDICOMweb(t *testing.T) string {
	t.Helper()
	for _, p := range []string{"/usr/share/orthanc/plugins/libOrthancDicomWeb.so", "/usr/lib/orthanc/libOrthancDicomWeb.so"} {
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	t.Skip("Orthanc's DICOMweb plugin is not installed")
	return ""
}

// Orthanc's DICOMweb plugin takes what we send it, and sends it on to our own
// DICOMweb listener, byte for byte; basic authentication on both ways.
func TestDICOMwebWithOrthanc(t *testing.T) {
	plugin := orthancDICOMweb(t)
	n := startNode(t, nil)
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	accounts, err := dicomweb.ReadAccounts(write("accounts", "ORTHANC:a long secret\n"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: &dicomweb.Server{Handler: n, Called: "ECHONODE", Accounts: accounts}, ReadHeaderTimeout: 10 * time.Second}
	go srv.Serve(l) //nolint:errcheck // ends with the test
	t.Cleanup(func() { srv.Close() })
	o := startOrthanc(t, n, map[string]any{
		"Plugins":         []string{plugin},
		"DicomModalities": map[string]any{"us": map[string]any{"AET": "ECHONODE", "Host": n.host, "Port": json.Number(n.port)}},
		"DicomWeb": map[string]any{"Enable": true, "Root": "/dicom-web/",
			"Servers": map[string]any{"node": map[string]any{"Url": "http://" + l.Addr().String() + "/dicom-web/", "Username": "ORTHANC", "Password": "a long secret", "HasDelete": false}}},
	})
	files := archived(t)
	var sources []deliver.Source
	for _, f := range files {
		sources = append(sources, deliver.Source{Path: f})
	}
	c := &deliver.Stow{URL: o.rest + "/dicom-web", Timeout: 30 * time.Second}
	if there, err := c.Has(timeout(t), files); err != nil || len(there) != 0 {
		t.Errorf("Orthanc, empty, says that it has %v, %v", there, err)
	}
	results, err := c.SendAll(timeout(t), sources, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Err != nil || r.Sent != r.Header.TransferSyntaxUID {
			t.Fatalf("Orthanc: %+v", r)
		}
	}
	if _, err := c.Ping(context.Background()); err != nil {
		t.Error(err)
	}
	if there, err := c.Has(timeout(t), files); err != nil || len(there) != len(files) {
		t.Errorf("Orthanc says that it has %v, %v", there, err)
	}
	var ids []string
	o.call("GET", "/instances", nil, &ids)
	if len(ids) != len(files) {
		t.Fatalf("Orthanc has %d objects, want %d", len(ids), len(files))
	}
	// And back.
	o.call("POST", "/dicom-web/servers/node/stow", map[string]any{"Resources": ids, "Synchronous": true}, nil)
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.entries) != len(files) {
		t.Fatalf("%d objects came back, want %d", len(n.entries), len(files))
	}
	for uid, e := range n.entries {
		i := slices.IndexFunc(files, func(f string) bool { return filepath.Base(f) == uid+".dcm" })
		if i < 0 {
			t.Errorf("%s was never sent", uid)
			continue
		}
		want, _ := dataSet(t, files[i])
		got, _ := dataSet(t, e.Path)
		if string(got) != string(want) {
			t.Errorf("%s came back otherwise: %d bytes, want %d", uid, len(got), len(want))
		}
	}
}
