package mainjob

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/echonode/echonode/conformance/freeport"
)

// The files of the compose setup do together what they are for: Orthanc's script
// forwards ultrasound that has become stable, and the results come back. Only
// addresses, folders and the time that a series has to be quiet are others here.
func TestComposeFiles(t *testing.T) {
	needTools(t, "Orthanc")
	dir := t.TempDir()
	files := filepath.Join("..", "..", "cmd", "echonode", "packaging", "container")
	read := func(name string) []byte {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(files, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	write := func(name string, b []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	archive, web := freeport.Addr(t), freeport.Addr(t)
	n := newNode(t, archive)
	replace := func(text string, pairs ...string) string {
		t.Helper()
		for i := 0; i < len(pairs); i += 2 {
			if !strings.Contains(text, pairs[i]) {
				t.Fatalf("%q is not in the file", pairs[i])
			}
		}
		return strings.NewReplacer(pairs...).Replace(text)
	}
	n.config = write("echonode.yaml", []byte(replace(string(read("echonode.yaml")),
		`":11112"`, `"`+n.dicom+`"`, "/var/lib/echonode", filepath.Join(dir, "data"), "orthanc:4242", archive)+
		"http: {listen: \""+n.http+"\"}\nstudy: {idle: 1s}\n"))
	var config map[string]any
	if err := json.Unmarshal(read("orthanc.json"), &config); err != nil {
		t.Fatal(err)
	}
	peer := config["DicomModalities"].(map[string]any)["echonode"].([]any)
	if peer[0] != "ECHONODE" || peer[1] != "echonode" || peer[2] != 11112.0 {
		t.Errorf("Orthanc sends to %v", peer)
	}
	config["DicomModalities"] = map[string]any{"echonode": []any{"ECHONODE", "127.0.0.1", atoi(t, port(t, n.dicom))}}
	config["LuaScripts"] = []string{write("forward.lua", read("forward.lua"))}
	config["StableAge"] = 3
	config["DicomPort"], config["HttpPort"] = atoi(t, port(t, archive)), atoi(t, port(t, web))
	config["StorageDirectory"], config["IndexDirectory"] = dir, dir
	b, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	startOrthanc(t, dir, web, b)
	n.start()
	resultsIn(t, web, putStudy(t, web))
}
