package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestChanges(t *testing.T) {
	const src = `package p

const limit = 3 + 1

func f(a, b int, ok bool) (n int) {
	if ok {
		n++
	}
	for i := range b {
		if a < i {
			continue
		}
		n += i
	}
	return n
}
`
	got, err := mutantsIn("p.go", src)
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, m := range got {
		said = append(said, m.String()+" -> "+strings.TrimSpace(lineOf(src[:m.start]+m.with+src[m.end:], m.line)))
	}
	want := []string{
		"p.go:6: the condition turned round -> if !ok {",
		"p.go:7: -- for ++ -> n--",
		"p.go:10: <= for < -> if a <= i {",
		"p.go:10: >= for < -> if a >= i {",
		"p.go:11: continue left out -> ",
		"p.go:13: the assignment left out -> ",
	}
	if !slices.Equal(said, want) {
		t.Errorf("%s\nwant %s", strings.Join(said, "\n"), strings.Join(want, "\n"))
	}
}

func lineOf(s string, n int) string { return strings.Split(s, "\n")[n-1] }

// Of a package with one test, what the test holds is noticed and what it does
// not is told; the files are as they were.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	files := map[string]string{
		"go.mod":    "module p\n\ngo 1.24\n",
		"p.go":      "package p\n\nfunc Max(a, b int) int {\n\tif a > b {\n\t\treturn a\n\t}\n\treturn b\n}\n",
		"p_test.go": "package p\n\nimport \"testing\"\n\nfunc TestMax(t *testing.T) {\n\tif Max(1, 2) != 2 || Max(2, 1) != 2 {\n\t\tt.Fatal()\n\t}\n}\n",
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	// ">=" says the same as ">"; "<=" does not.
	alive, err := run(context.Background(), []string{"."}, nil, "", 0, 1, time.Minute)
	if err != nil || alive != 1 {
		t.Errorf("%d mutants live, %v; want 1", alive, err)
	}
	if b, err := os.ReadFile("p.go"); err != nil || string(b) != files["p.go"] {
		t.Errorf("the file was changed: %v", err)
	}
}
