// Package ohif opens what EchoNode makes in the OHIF viewer, in a real, headless
// Chromium. The files are dropped into the viewer, as a reader may do; what it
// shows of them is what a DICOMweb server would give it.
package ohif

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/echonode/echonode/conformance/review/browser"
)

const exampleLoops = "github.com/grailbio/go-dicom@v0.0.0-20211105193521-b0e216a1c5cd"

// config lets OHIF read local files; its own default asks for a DICOMweb server.
const config = `window.config = {
  routerBasename: null, extensions: [], modes: [], customizationService: {}, showStudyList: true,
  maxNumberOfWebWorkers: 1, showWarningMessageForCrossOrigin: false, showCPUFallbackMessage: false, showLoadingIndicator: true,
  investigationalUseDialog: { option: 'never' }, defaultDataSourceName: 'dicomlocal',
  LINK
  dataSources: [{ namespace: '@ohif/extension-default.dataSourcesModule.dicomlocal', sourceName: 'dicomlocal', configuration: { friendlyName: 'local files' } }],
};`

// node stands for the address of a node in the link to it.
const node = "https://echonode.example.org"

// link is what our documentation says to put into OHIF's configuration.
func link(t *testing.T) string {
	t.Helper()
	doc, err := os.ReadFile("../../../pipeline/review/doc.go")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?s)//\t(whiteLabeling: .*?\n//\t\},)\n`).FindSubmatch(doc)
	if m == nil {
		t.Fatal("the documentation shows no link for OHIF")
	}
	return strings.NewReplacer("\n//\t", "\n", "https://NODE", node).Replace(string(m[1]))
}

// missing skips a test for want of a tool, unless the tools were promised.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("ECHONODE_PEERS") == "required" {
		t.Fatalf("%s is missing; run make setup-test", what)
	}
	t.Skipf("%s is missing; make test installs it", what)
}

// viewer serves OHIF's own build.
func viewer(t *testing.T) string {
	t.Helper()
	dist, err := filepath.Abs("../../../.build/ohif/dist")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dist, "index.html")); err != nil {
		missing(t, "OHIF")
	}
	settings := strings.Replace(config, "LINK", link(t), 1)
	files := http.FileServer(http.Dir(dist))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/app-config.js" {
			w.Header().Set("Content-Type", "text/javascript")
			fmt.Fprint(w, settings)
			return
		}
		if _, err := os.Stat(filepath.Join(dist, filepath.Clean(r.URL.Path))); err != nil {
			r.URL.Path = "/" // the viewer's own routes
		}
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// outputs analyses loops with everything that can be made of them, and returns
// the objects and the study's UID.
func outputs(t *testing.T, names ...string) (objects []string, study string) {
	t.Helper()
	cmd := exec.Command("go", "mod", "download", "-json", exampleLoops)
	cmd.Dir = os.TempDir() // outside any module
	b, err := cmd.Output()
	var answer struct{ Dir string }
	if err != nil || json.Unmarshal(b, &answer) != nil || answer.Dir == "" {
		missing(t, "the module with the example loops")
	}
	for _, n := range names {
		objects = append(objects, filepath.Join(answer.Dir, "examples", n+".dcm"))
	}
	dir := t.TempDir()
	settings := filepath.Join(dir, "all.yaml")
	if err := os.WriteFile(settings, []byte("outputs: {segmentation: true, summary: true, pdf: true, stages: separate, structures: [atrium, myocardium]}\n"),
		0o600); err != nil {
		t.Fatal(err)
	}
	run := exec.Command("go",
		append([]string{"run", "./cmd/echonode", "analyze", "--quiet", "--config", settings, "--out", filepath.Join(dir, "out")}, objects...)...)
	run.Dir = "../../.."
	if os.Getenv("ECHONODE_ONNXRUNTIME") == "" {
		library, err := filepath.Abs("../../../.build/onnxruntime")
		if err != nil {
			t.Fatal(err)
		}
		run.Env = append(os.Environ(), "ECHONODE_ONNXRUNTIME="+library)
	}
	if out, err := run.CombinedOutput(); err != nil {
		t.Fatalf("analyze: %v\n%s", err, out)
	}
	made, err := filepath.Glob(filepath.Join(dir, "out", "*", "*.dcm"))
	if err != nil || len(made) == 0 {
		t.Fatal("nothing was made", err)
	}
	return append(objects, made...), filepath.Base(filepath.Dir(made[0]))
}

// waitFor waits until the page's text holds all of the words.
func waitFor(t *testing.T, b *browser.Browser, words ...string) string {
	t.Helper()
	var text string
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(300 * time.Millisecond) {
		text, _ = browser.Eval[string](b, `document.body.innerText`)
		all := true
		for _, w := range words {
			all = all && strings.Contains(text, w)
		}
		if all {
			return text
		}
	}
	t.Fatalf("the viewer does not show %q; it shows:\n%s\nit complains: %q", words, text, b.Problems())
	return ""
}

// shot keeps a picture of the page where ECHONODE_SHOTS says.
func shot(t *testing.T, b *browser.Browser, name string) {
	dir := os.Getenv("ECHONODE_SHOTS")
	if dir == "" {
		return
	}
	png, err := browser.Get(b, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "ohif-"+name+".png"), png, 0o644)
	}
	if err != nil {
		t.Log(err)
	}
}

// OHIF opens every object that EchoNode makes: it shows the values of the
// reports, plays the overlays, and draws the segmentation on its loop. An object
// that it cannot digest blanks the whole viewer.
func TestOHIFOpensEverything(t *testing.T) {
	url := viewer(t)
	if browser.Find() == "" {
		missing(t, "chromium")
	}
	files, study := outputs(t, "I_000009", "I_000010", "I_000027")
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
	defer cancel()
	b, err := browser.Open(ctx, chromedp.WindowSize(1400, 900), chromedp.Flag("use-angle", "swiftshader"), chromedp.Flag("enable-unsafe-swiftshader", true),
		chromedp.Flag("disable-dev-shm-usage", true))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.Do(chromedp.Navigate(url+"/local"), chromedp.WaitReady(`input[type=file]`), chromedp.SetUploadFiles(`input[type=file]`, files)); err != nil {
		t.Fatal(err)
	}
	waitFor(t, b, "Stressecho")
	// The viewer's own way to a study; loading the address anew would lose the files.
	if _, err := browser.Eval[bool](b, fmt.Sprintf(`(() => { history.pushState({}, '', '/viewer?StudyInstanceUIDs=%s&datasources=dicomlocal');
		dispatchEvent(new PopStateEvent('popstate', {state: {}})); return true; })()`, study)); err != nil {
		t.Fatal(err)
	}
	waitFor(t, b, "AI Echo Measurements", "AI LV A4C Baseline", "AI LV A2C Baseline", "AI LV A4C Peak", "AI LV SEG", "AI LV summary")
	skip := `(() => { const s = [...document.querySelectorAll('button, span, div')].find(e => e.innerText === 'Skip all'); if (s) s.click(); return true; })()`
	if _, err := browser.Eval[bool](b, skip); err != nil {
		t.Fatal(err)
	}
	// The documented link leads from the study to its page on the node.
	if at, err := browser.Eval[string](b, `[...document.querySelectorAll('a')].find(a => a.innerText.trim() === 'EchoNode')?.href ?? 'none'`); err != nil ||
		at != node+"/study/"+study {
		t.Errorf("the link to the node: %s (%v)", at, err)
	}
	open := func(label string) {
		t.Helper()
		ok, err := browser.Eval[bool](b,
			fmt.Sprintf(`(() => { const l = [...document.querySelectorAll('[data-cy=series-description-label]')].find(e => e.innerText.startsWith(%q));
			if (!l) return false;
			(l.closest('[data-cy^=study-browser-thumbnail]') || l).dispatchEvent(new MouseEvent('dblclick', {bubbles: true, cancelable: true, detail: 2}));
			return true; })()`, label))
		if err != nil || !ok {
			t.Fatalf("no series %q in the viewer: %v", label, err)
		}
	}
	for _, report := range []struct{ label, stage string }{{"AI Echo Measurements Baseline", "Resting State"},
		{"AI Echo Measurements Peak", "Peak cardiac stress state"}} {
		open(report.label)
		text := waitFor(t, b, "Adult Echocardiography Procedure Report", "Left Ventricular Ejection Fraction:", "Finding Site: Left Ventricle",
			"Stage: "+report.stage)
		if !strings.Contains(text, "Left Ventricular End Diastolic Volume:") || !strings.Contains(text, "Body Surface Area") {
			t.Errorf("report %s:\n%s", report.label, text)
		}
		shot(t, b, "report-"+strings.Fields(report.stage)[0])
	}
	for _, series := range []string{"AI LV A4C Baseline", "AI LV A2C Baseline", "AI LV A4C Peak", "AI LV summary"} {
		open(series)
		waitFor(t, b, "AI Echo Measurements", "W:") // the viewport's own lettering
		shot(t, b, strings.ReplaceAll(series, " ", "-"))
	}
	open("AI LV SEG A4C Baseline")
	waitFor(t, b, "Do you want to open this Segmentation?")
	if _, err := browser.Eval[bool](b,
		`(() => { [...document.querySelectorAll('button')].find(b => b.innerText.trim() === 'Yes').click(); return true; })()`); err != nil {
		t.Fatal(err)
	}
	waitFor(t, b, "AI Echo Measurements", "W:")
	// The panel lists the segments once they are drawn.
	if _, err := browser.Eval[bool](b,
		`(() => { const p = document.querySelector('[data-cy=panelSegmentation-btn]'); if (p) p.click(); return true; })()`); err != nil {
		t.Fatal(err)
	}
	waitFor(t, b, "Left ventricular cavity")
	shot(t, b, "segmentation")
}
