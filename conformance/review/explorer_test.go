package review

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/echonode/echonode/conformance/freeport"
	"github.com/echonode/echonode/conformance/review/browser"
	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/tag"
)

// The button that our documentation gives Orthanc Explorer is on the page of a
// study, and leads to that study's page on the node; on that of another study,
// opened after it, to the other's.
func TestOrthancExplorer(t *testing.T) {
	const node = "https://echonode.example.org"
	if browser.Find() == "" {
		missing(t, "chromium")
	}
	plugin := "/usr/share/orthanc/plugins/libOrthancPython.so"
	if _, err := os.Stat(plugin); err != nil {
		missing(t, "orthanc-python")
	}
	doc, err := os.ReadFile("../../pipeline/review/doc.go")
	if err != nil {
		t.Fatal(err)
	}
	script := regexp.MustCompile(`(?s)//\t(import orthanc\n.*?//\t"""\))\n`).FindSubmatch(doc)
	if script == nil {
		t.Fatal("the documentation shows no button for Orthanc Explorer")
	}
	dir := t.TempDir()
	text := strings.NewReplacer("\n//\t", "\n", "\n//", "\n", "https://NODE", node).Replace(string(script[1]))
	if err := os.WriteFile(filepath.Join(dir, "echonode.py"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	web, dicom := freeport.Addr(t), freeport.Addr(t)
	port := func(address string) json.RawMessage {
		_, p, err := net.SplitHostPort(address)
		if err != nil {
			t.Fatal(err)
		}
		return json.RawMessage(p)
	}
	config, err := json.Marshal(map[string]any{"Name": "test", "StorageDirectory": dir, "IndexDirectory": dir, "Plugins": []string{plugin},
		"PythonScript": filepath.Join(dir, "echonode.py"), "HttpPort": port(web), "DicomPort": port(dicom), "RemoteAccessAllowed": false,
		"AuthenticationEnabled": false})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "orthanc.json"), config, 0o600); err != nil {
		t.Fatal(err)
	}
	log := new(lockedBuffer)
	orthanc := exec.Command("Orthanc", filepath.Join(dir, "orthanc.json"))
	orthanc.Stdout, orthanc.Stderr = log, log
	if err := orthanc.Start(); err != nil {
		missing(t, "orthanc")
	}
	t.Cleanup(func() {
		_ = orthanc.Process.Kill()
		_ = orthanc.Wait()
	})
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		if res, err := http.Get("http://" + web + "/system"); err == nil {
			_ = res.Body.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("Orthanc does not answer\n%s", log)
		}
	}

	ids := map[string]string{} // Orthanc's name of a study by its UID
	for _, path := range examples(t) {
		f, err := dicomio.Open(path, dicomio.Options{})
		if err != nil {
			t.Fatal(err)
		}
		uid := f.DataSet.String(tag.StudyInstanceUID)
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if ids[uid] != "" {
			continue
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.Post("http://"+web+"/instances", "application/dicom", bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		var answer struct{ ParentStudy string }
		err = json.NewDecoder(res.Body).Decode(&answer)
		_ = res.Body.Close()
		if err != nil || answer.ParentStudy == "" {
			t.Fatal(res.Status, err)
		}
		ids[uid] = answer.ParentStudy
	}
	if len(ids) < 2 {
		t.Fatalf("%d studies", len(ids))
	}
	b, err := browser.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	do(t, b, chromedp.Navigate("http://"+web+"/app/explorer.html"))
	for uid, id := range ids {
		eval[bool](t, b, `location.hash = "#plugins", true`) // a page between
		until(t, b, `window.$?.mobile?.activePage?.attr("id") == "plugins"`)
		eval[bool](t, b, fmt.Sprintf(`location.hash = "#study?uuid=%s", true`, id))
		until(t, b, fmt.Sprintf(`[...document.querySelectorAll("#echonode")].some((a) => a.offsetParent && a.innerText.trim() == "EchoNode" && a.href == %q)`,
			node+"/study/"+uid))
		if n := eval[int](t, b, `document.querySelectorAll("#echonode").length`); n != 1 {
			t.Errorf("%d buttons", n)
		}
	}
}
