package layers

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/echonode/echonode/"

// own says which of our packages a package may import; a name that ends in /... stands for a package and all below it. The
// first rule whose name fits counts. Tests may import what they like.
var own = []struct {
	name    string
	imports []string
}{
	// Leaves: they can be taken out and used elsewhere.
	{"scp/...", []string{"scp/...", "dicomio/encoding", "dicomio/part10", "dicomio/tag", "dicomio/uid"}},
	{"dicomio/tag", nil},
	{"dicomio/uid", nil},
	{"dicomio/encoding", []string{"dicomio/tag", "dicomio/uid"}},
	{"dicomio/part10", []string{"dicomio/encoding", "dicomio/tag", "dicomio/uid"}},
	{"dicomio/pixel", nil},
	{"dicomio/internal/dictionary", nil},
	{"dicomio/internal/charset", nil},
	{"dicomio/internal/fault", []string{"dicomio/encoding", "dicomio/tag"}},
	{"dicomio/internal/source", []string{"dicomio/internal/fault", "dicomio/tag"}},
	{"dicomio/internal/budget", []string{"dicomio/internal/fault"}},
	{"dicomio/internal/video", []string{"dicomio/internal/fault", "dicomio/internal/source", "dicomio/tag", "dicomio/uid"}},
	{"dicomio/internal/codec/...", []string{"dicomio/internal/codec/...", "dicomio/internal/fault", "dicomio/pixel", "dicomio/tag", "dicomio/uid"}},
	{"dicomio/frames", []string{"dicomio/internal/...", "dicomio/encoding", "dicomio/pixel", "dicomio/tag", "dicomio/uid"}},
	{"dicomio/...", []string{"dicomio/..."}},
	{"models/...", []string{"models/..."}},
	{"pipeline/lv", nil},
	{"pipeline/result", nil},
	{"pipeline/store", nil},
	{"pipeline/internal/turns", nil},
	{"pipeline/internal/origin", nil},
	{"pipeline/objects", nil},
	{"pipeline/echo", []string{"dicomio/..."}},
	{"sr/...", []string{"sr/...", "dicomio/..."}},
	// Measuring knows results and mathematics; what was received, how and from whom it does not know.
	{"pipeline/measure/heart", []string{"dicomio/uid", "pipeline/result"}},
	{"pipeline/measure/...", []string{"pipeline/measure/...", "pipeline/internal/longaxis", "pipeline/lv", "pipeline/result", "pipeline/quantity", "pipeline/indices", "models"}},
	{"pipeline/internal/longaxis", []string{"pipeline/lv", "pipeline/result", "models"}},
	{"pipeline/indices", []string{"pipeline/internal/longaxis", "pipeline/lv", "pipeline/result", "pipeline/quantity", "models"}},
	{"pipeline/quantity", []string{"pipeline/result", "sr/..."}},
	// Outputs are a pure function of a result and its sources.
	{"pipeline/output", []string{"pipeline/derived", "pipeline/indices", "pipeline/internal/overlay", "pipeline/internal/summary", "pipeline/internal/letters", "pipeline/internal/longaxis", "pipeline/lv", "pipeline/quantity", "pipeline/result", "pipeline/internal/turns", "dicomio/...", "models", "sr/..."}},
	// The network of the site ends here: only these speak DIMSE.
	{"pipeline/spool", []string{"scp/bufpool", "dicomio/part10", "dicomio/uid", "pipeline/objects"}},
	{"pipeline/fetch", []string{"scp/...", "dicomio/..."}},
	{"pipeline/deliver", []string{"scp/...", "dicomio/...", "pipeline/quantity", "pipeline/result", "sr/..."}},
	{"pipeline/dicomweb", []string{"scp/...", "dicomio/...", "pipeline/internal/origin", "pipeline/result"}},
	{"pipeline/internal/jobs", []string{"scp/...", "dicomio/...", "pipeline/..."}},
	{"pipeline/node", []string{"scp/...", "dicomio/...", "pipeline/..."}},
	// Nothing else in the pipeline knows the network or the command line.
	{"pipeline/...", []string{"pipeline/...", "dicomio/...", "models", "sr/..."}},
	{"cmd/echonode/internal/config", []string{"pipeline/...", "dicomio/encoding", "dicomio/uid"}},
	{"cmd/...", []string{"cmd/...", "pipeline/...", "dicomio/...", "models", "scp/...", "sr/..."}},
	// What holds the program against the outside may see everything.
	{"conformance/...", []string{"..."}},
}

// outside says who may import packages that must not spread.
var outside = []struct {
	prefix string
	users  []string
}{
	{"github.com/yalue/onnxruntime_go", []string{"models"}},
	{"database/sql", []string{"pipeline/store", "pipeline/internal/jobs"}},
	{"github.com/riverqueue/", []string{"pipeline/store", "pipeline/internal/jobs"}},
	{"github.com/jackc/pgx/", []string{"pipeline/store", "pipeline/internal/jobs", "conformance/..."}},
	{"github.com/minio/", []string{"pipeline/objects"}},
	{"github.com/spf13/", []string{"cmd/..."}},
	{"github.com/goccy/go-yaml", []string{"cmd/...", "pipeline/deliver", "pipeline/review"}},
	{"testing", []string{"conformance/..."}},
	{"github.com/echonode/echonode/conformance", []string{"conformance/..."}},
	{"github.com/echonode/echonode/models/devlibrary", []string{"conformance/..."}},
}

func fits(pattern, name string) bool {
	if pattern == "..." {
		return true
	}
	if base, ok := strings.CutSuffix(pattern, "/..."); ok {
		return name == base || strings.HasPrefix(name, base+"/")
	}
	return name == pattern
}

func anyFits(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return fits(p, name) })
}

type listed struct {
	ImportPath, Dir  string
	Imports, GoFiles []string
}

func packages(t *testing.T) []listed {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Dir,Imports,GoFiles", module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		// go test keeps a result until a file that the test has looked at changes.
		for _, file := range p.GoFiles {
			if _, err := os.Stat(filepath.Join(p.Dir, file)); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, p)
	}
	if len(all) < 20 {
		t.Fatalf("only %d packages were listed", len(all))
	}
	return all
}

func TestLayers(t *testing.T) {
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		i := slices.IndexFunc(own, func(r struct {
			name    string
			imports []string
		}) bool {
			return fits(r.name, name)
		})
		if i < 0 {
			t.Errorf("%s: no rule says what it may import", name)
			continue
		}
		for _, imported := range p.Imports {
			if to, ours := strings.CutPrefix(imported, module); ours && !anyFits(own[i].imports, to) {
				t.Errorf("%s must not import %s (rule %s: %s)", name, to, own[i].name, strings.Join(own[i].imports, ", "))
			}
			for _, o := range outside {
				if (imported == o.prefix || strings.HasPrefix(imported, strings.TrimSuffix(o.prefix, "/")+"/")) && !anyFits(o.users, name) {
					t.Errorf("%s must not import %s: only %s may", name, imported, strings.Join(o.users, ", "))
				}
			}
		}
	}
}

// TestRulesAreUsed: a rule for a package that is gone would protect nothing.
func TestRulesAreUsed(t *testing.T) {
	all := packages(t)
	for _, r := range own {
		if !slices.ContainsFunc(all, func(p listed) bool { return fits(r.name, strings.TrimPrefix(p.ImportPath, module)) }) {
			t.Errorf("rule %s fits no package", path.Clean(r.name))
		}
	}
}
