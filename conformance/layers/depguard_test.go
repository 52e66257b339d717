package layers

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the rules into .golangci.yml")

// The rules stand between these lines of .golangci.yml.
const (
	configuration = "../../.golangci.yml"
	first         = "        # Made of the tables of conformance/layers/layers_test.go: go test ./conformance/layers -update\n"
	last          = "        # End of what is made.\n"
)

// TestDepguard: depguard, which editors run, has the rules of the tables.
func TestDepguard(t *testing.T) {
	old, err := os.ReadFile(configuration)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := bytes.Cut(old, []byte(first))
	_, after, ended := bytes.Cut(rest, []byte(last))
	if !found || !ended {
		t.Fatalf("%s has no place for the rules", configuration)
	}
	made := slices.Concat(before, []byte(first), []byte(depguard()), []byte(last), after)
	if bytes.Equal(made, old) {
		return
	}
	if !*update {
		t.Fatalf("%s has other rules than the tables; run go test ./conformance/layers -update", configuration)
	}
	if err := os.WriteFile(configuration, made, 0o644); err != nil {
		t.Fatal(err)
	}
}

// depguard writes the tables as rules of depguard, where all rules that fit a
// file count, and within a rule the longest name.
func depguard() string {
	var b strings.Builder
	for i, r := range own {
		var earlier []string
		for _, e := range own[:i] {
			if overlaps(e.name, r.name) {
				earlier = append(earlier, e.name)
			}
		}
		rule(&b, r.name, glob(r.name), earlier)
		if len(r.imports) > 0 {
			b.WriteString("          allow:\n")
		}
		for _, to := range r.imports {
			if base, ok := strings.CutSuffix(to, "/..."); ok {
				fmt.Fprintf(&b, "            - %q\n            - %q\n", module+base+"$", module+base+"/")
			} else if to == "..." {
				fmt.Fprintf(&b, "            - %q\n", module)
			} else {
				fmt.Fprintf(&b, "            - %q\n", module+to+"$")
			}
		}
		may := strings.Join(r.imports, ", ")
		if may == "" {
			may = "nothing"
		}
		deny(&b, strings.TrimSuffix(module, "/"), fmt.Sprintf("of our packages %s may import: %s", r.name, may))
	}
	for _, o := range outside {
		rule(&b, "only some: "+o.prefix, glob("..."), o.users)
		deny(&b, o.prefix, "only these may: "+strings.Join(o.users, ", "))
	}
	return b.String()
}

// overlaps reports whether rule e, which stands before r, takes packages from it.
func overlaps(e, r string) bool {
	return fits(r, strings.TrimSuffix(e, "/...")) || fits(e, strings.TrimSuffix(r, "/..."))
}

// rule begins a rule for the files of a pattern, tests and those of other
// packages not. Dots in its name would be taken for levels of the configuration.
func rule(b *strings.Builder, name, files string, but []string) {
	fmt.Fprintf(b, "        %q:\n          list-mode: lax\n          files:\n            - %q\n            - \"!$test\"\n",
		strings.NewReplacer("/...", " and below", "...", "all", ".", "-").Replace(name), files)
	for _, n := range but {
		fmt.Fprintf(b, "            - %q\n", "!"+glob(n))
	}
}

// glob is the pattern of the files of a package or, with /..., of all below it too.
func glob(name string) string {
	if base, ok := strings.CutSuffix(name, "..."); ok {
		return "${config-path}/" + base + "**"
	}
	return "${config-path}/" + name + "/*.go"
}

// deny ends a rule with what it forbids.
func deny(b *strings.Builder, name, why string) {
	fmt.Fprintf(b, "          deny:\n            - pkg: %q\n              desc: %q\n", name, why)
}
