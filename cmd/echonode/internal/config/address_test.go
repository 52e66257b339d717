package config

import (
	"fmt"
	"strings"
	"testing"
)

// Ports that there are not are refused when the file is read.
func TestPorts(t *testing.T) {
	for _, c := range []struct {
		address       string
		listen, reach bool
	}{
		{"127.0.0.1:104", true, true}, {":11112", true, true}, {"[::1]:65535", true, true}, {"pacs:https", true, true},
		{"127.0.0.1:0", true, false},
		{"127.0.0.1:99999", false, false}, {"127.0.0.1:65536", false, false}, {"127.0.0.1:-1", false, false},
		{"127.0.0.1:", false, false}, {"127.0.0.1", false, false}, {"127.0.0.1:no-such-service", false, false}, {"", false, false},
	} {
		if err := checkAddress(c.address, true); (err == nil) != c.listen {
			t.Errorf("listen on %q: %v", c.address, err)
		}
		if err := checkAddress(c.address, false); (err == nil) != c.reach {
			t.Errorf("reach %q: %v", c.address, err)
		}
	}
	for key, text := range map[string]string{
		"dicom.listen":               `dicom: {listen: "127.0.0.1:99999"}`,
		"http.listen":                `http: {listen: "127.0.0.1:99999"}`,
		"dicomweb.listen":            `dicomweb: {listen: "127.0.0.1:99999", accounts: a}`,
		"review.listen":              `review: {listen: "127.0.0.1:99999"}`,
		"dicom.commitment.report_to": `dicom: {commitment: {report_to: {VIVID: "10.1.2.3:99999"}}}`,
		"destinations[0].address":    `destinations: [{name: a, ae_title: A, address: "pacs:99999"}]`,
		"destinations[0].url":        `destinations: [{name: a, url: "https://pacs:99999/dicom-web"}]`,
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), key+": ") || !strings.Contains(fmt.Sprint(err), "99999 is not a port") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// A destination may have outputs of a form of its own; what is left out is as
// for the others.
func TestOwnOutputs(t *testing.T) {
	c, err := Parse([]byte(`
outputs: {structures: [atrium], summary: true}
destinations:
  - {name: a, address: "a:104", ae_title: A}
  - {name: b, address: "b:104", ae_title: B, outputs: {code_set: srt, overlay_class: us,
      stages: separate, summary: false, pdf: true, structures: [], jpeg_quality: 80}}
  - {name: c, address: "c:104", ae_title: C, send: [segmentation], outputs: {overlay: none, segmentation: true}}
`))
	if err != nil {
		t.Fatal(err)
	}
	a, b := c.OutputsOf(c.Destinations[0]), c.OutputsOf(c.Destinations[1])
	if a.CodeSet != "sct" || a.OverlayClass != "sc" || len(a.Structures) != 1 || !a.Summary || a.PDF {
		t.Errorf("a: %+v", a)
	}
	if b.CodeSet != "srt" || b.OverlayClass != "us" || b.Stages != "separate" || len(b.Structures) != 0 || b.Summary || !b.PDF || b.JPEGQuality != 80 ||
		b.Overlay != a.Overlay || !b.Report {
		t.Errorf("b: %+v", b)
	}
	if got := fmt.Sprint(c.Destinations[0].Send, c.Destinations[1].Send); got != "[report overlay summary] [report overlay]" {
		t.Errorf("sent: %s", got)
	}
	if w := c.Contradictions(); len(w) != 0 {
		t.Errorf("contradictions %v", w)
	}
	for text, want := range map[string]string{
		`code_set: snomed`: "destinations[0].outputs.code_set", `overlay_class: ct`: "destinations[0].outputs.overlay_class", `jpeg_quality: 5`: "destinations[0].outputs.jpeg_quality",
		`structures: [valve]`: "destinations[0].outputs.structures", `device_uid: "1.2"`: "unknown field",
	} {
		if _, err := Parse([]byte(`destinations: [{name: a, address: "a:104", ae_title: A, outputs: {` + text + `}}]`)); err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	c, err = Parse([]byte(`destinations: [{name: a, address: "a:104", ae_title: A, send: [overlay], outputs: {overlay: none}}]`))
	if err != nil || len(c.Contradictions()) != 1 {
		t.Errorf("%v, %v", c.Contradictions(), err)
	}
}
