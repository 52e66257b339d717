package cli

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/echonode/echonode/pipeline/node"
)

// What was moved before a study failed is told, with the exit code for it.
func TestMoveInPart(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusMultiStatus)
		_ = json.NewEncoder(w).Encode(node.Moves{Studies: []node.Moved{{Study: "1.2.3", Objects: 2}}, Error: "study 1.2.4, after 1 of 2: no space"})
	}))
	defer srv.Close()
	var out, errw bytes.Buffer
	code := Main("test", []string{"move", "1.2.3", "1.2.4", "--patient-id", "P2", "--url", srv.URL}, strings.NewReader(""), &out, &errw)
	if code != exitPart || !strings.Contains(out.String(), "1.2.3: 2 objects moved") ||
		!strings.Contains(errw.String(), "done in part: study 1.2.4, after 1 of 2: no space") {
		t.Errorf("exit %d, %q, %q", code, out.String(), errw.String())
	}
}
