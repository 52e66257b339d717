package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/echonode/echonode/pipeline/node"
	"github.com/echonode/echonode/pipeline/store"
)

// A listing goes on from page to page as far as it was asked to, and says how
// what is left can be seen.
func TestStudiesByPage(t *testing.T) {
	const there = 2500
	var asked []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Query().Get("limit")+" after "+r.URL.Query().Get("after"))
		limit, err := strconv.Atoi(r.URL.Query().Get("limit"))
		if err != nil || limit > 1000 {
			t.Errorf("limit %d, %v", limit, err)
		}
		from := 0
		if a := r.URL.Query().Get("after"); a != "" {
			if from, err = strconv.Atoi(a); err != nil {
				t.Error(err)
			}
		}
		page := []node.StudyStatus{}
		for i := from; i < min(from+limit, there); i++ {
			page = append(page, node.StudyStatus{StudyInstanceUID: fmt.Sprintf("1.2.%d", i), State: store.Done})
		}
		if from+limit < there {
			w.Header().Set(node.NextPage, strconv.Itoa(from+limit))
		}
		_ = json.NewEncoder(w).Encode(page)
	}))
	defer srv.Close()
	for _, c := range []struct {
		flags        []string
		first, count int
		asked, left  string
	}{
		{nil, 0, 100, "100 after ", "these 100: --all, --limit, or --after 100\n"},
		{[]string{"--limit", "1001"}, 0, 1001, "1000 after , 1 after 1000", "--after 1001\n"},
		{[]string{"--after", "1001", "--limit", "1"}, 1001, 1, "1 after 1001", "--after 1002\n"},
		{[]string{"--all"}, 0, there, "1000 after , 1000 after 1000, 1000 after 2000", ""},
		{[]string{"--all", "--after", "2499"}, 2499, 1, "1000 after 2499", ""},
	} {
		for _, format := range []string{"table", "json"} {
			asked = nil
			var out, errw bytes.Buffer
			args := append([]string{"studies", "--url", srv.URL}, c.flags...)
			if format == "json" {
				args = append(args, "--json")
			}
			if code := Main("test", args, strings.NewReader(""), &out, &errw); code != 0 {
				t.Fatalf("%v: exit %d, %s", args, code, errw.String())
			}
			var got []string
			if format == "json" {
				var all []node.StudyStatus
				if err := json.Unmarshal(out.Bytes(), &all); err != nil {
					t.Fatalf("%v: %v", args, err)
				}
				for _, s := range all {
					got = append(got, s.StudyInstanceUID)
				}
				var same bytes.Buffer
				enc := json.NewEncoder(&same)
				enc.SetIndent("", " ")
				if err := enc.Encode(all); err != nil || !bytes.Equal(same.Bytes(), out.Bytes()) {
					t.Errorf("%v: not as one array is written, %v", args, err)
				}
			} else {
				lines := strings.Split(strings.TrimSpace(out.String()), "\n")
				if !strings.HasPrefix(lines[0], "STUDY") {
					t.Errorf("%v: begins with %s", args, lines[0])
				}
				for _, line := range lines[1:] {
					got = append(got, strings.Fields(line)[0])
				}
			}
			if len(got) != c.count || got[0] != fmt.Sprintf("1.2.%d", c.first) || got[c.count-1] != fmt.Sprintf("1.2.%d", c.first+c.count-1) {
				t.Errorf("%v: %d studies", args, len(got))
			}
			if strings.Join(asked, ", ") != c.asked || !strings.HasSuffix(errw.String(), c.left) || (c.left == "") != (errw.Len() == 0) {
				t.Errorf("%v: asked %q, said %q", args, asked, errw.String())
			}
		}
	}
}

// One study that is asked for tells what became of its objects and runs.
func TestStudyTellsWhatBecameOfIt(t *testing.T) {
	s := node.StudyStatus{StudyInstanceUID: "1.2.3", State: store.Done, Objects: 4, Corrected: 1, Conflicts: 2,
		Remarks: []string{"1 images that were derived from others begin no run"},
		Runs:    []node.RunStatus{{Revision: 2}, {Revision: 1, Error: "no space\x1b[2J"}}}
	var whole, row bytes.Buffer
	if err := printStudies(&whole, []node.StudyStatus{s}, part{first: true, last: true, whole: true}); err != nil {
		t.Fatal(err)
	}
	if err := printStudies(&row, []node.StudyStatus{s}, part{first: true, last: true}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"1 object was sent again", "2 objects: other pictures came under their UIDs", "1 images that were derived", "run 1: no space"} {
		if !strings.Contains(whole.String(), want) {
			t.Errorf("%q is not said:\n%s", want, whole.String())
		}
	}
	if strings.ContainsRune(whole.String(), 0x1b) {
		t.Error("an error reaches the terminal as it is")
	}
	if !strings.Contains(row.String(), "other pictures came") || strings.Contains(row.String(), "run 1") {
		t.Errorf("among others:\n%s", row.String())
	}
}
