package review

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/echonode/echonode/dicomio/tag"

	"github.com/echonode/echonode/dicomio"
)

// A patient's name that is a script is a name, on every page.
func TestScriptInName(t *testing.T) {
	const name = `<script>hit()</script>` // run, it would fail, and be reported
	f, err := dicomio.Open(stress(t)[0], dicomio.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ds := f.DataSet.Clone()
	ds.SetString(tag.PatientName, name)
	path := filepath.Join(t.TempDir(), "loop.dcm")
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := dicomio.Write(out, ds, dicomio.WriteOptions{TransferSyntax: f.TransferSyntax}); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	s := newSite(t, "")
	s.send(1, path)
	b := s.open("reader")
	until(t, b, `document.querySelector("#rows tbody a") !== null`)
	for _, page := range []string{"worklist", "study", "loop"} {
		if eval[bool](t, b, `[...document.querySelectorAll("script")].some((s) => s.textContent === "hit()")`) {
			t.Errorf("the name ran as a script on the page %s", page)
		}
		if text := eval[string](t, b, `document.body.innerText`); !strings.Contains(text, "<script>hit()</script>") {
			t.Errorf("the page %s does not show the name", page)
		}
		switch page {
		case "worklist":
			eval[bool](t, b, `document.querySelector("#rows tbody a").click(), true`)
			until(t, b, atStudy)
		case "study":
			eval[bool](t, b, `document.querySelector(".loopcard a").click(), true`)
			until(t, b, `document.body.dataset.page == "loop"`)
		}
	}
	quiet(t, b)

	// Another site's page cannot act with the reader's cookie, nor a page under
	// another name of this machine.
	do(t, b, chromedp.Navigate("data:text/html,<title>other</title>"))
	got := evalAsync[string](t, b,
		`fetch("`+s.page+`/worklist", {method: "POST", credentials: "include", body: "{}"}).then((r) => "answered " + r.status, () => "blocked")`)
	if got != "blocked" {
		t.Errorf("another site's page: %s", got)
	}
}
