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
