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
	q := question{packages: []string{"."}, seed: 1, limit: time.Minute}
	alive, err := q.ask(context.Background())
	if err != nil || alive != 1 {
		t.Errorf("%d mutants live, %v; want 1", alive, err)
	}
	if b, err := os.ReadFile("p.go"); err != nil || string(b) != files["p.go"] {
		t.Errorf("the file was changed: %v", err)
	}
}

// Files and tests can be chosen; a choice that leaves no test is no answer.
func TestChoice(t *testing.T) {
	dir := t.TempDir()
	files := map[string]string{
		"go.mod": "module p\n\ngo 1.24\n",
		"a.go":   "package p\n\nfunc Add(a, b int) int { return a + b }\n",
		"b.go":   "package p\n\nfunc Mul(a, b int) int { return a * b }\n",
		"p_test.go": "package p\n\nimport \"testing\"\n\nfunc TestAdd(t *testing.T) {\n\tif Add(1, 2) != 3 {\n\t\tt.Fatal()\n\t}\n}\n" +
			"\nfunc TestMul(t *testing.T) {\n\tif Mul(2, 3) != 6 {\n\t\tt.Fatal()\n\t}\n}\n",
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	for _, tt := range []struct {
		files []string
		run   string
		alive int // -1: an error
	}{
		{[]string{"a.go"}, "TestAdd", 0},
		{[]string{"a.go"}, "TestMul", 1},
		{[]string{"a.go", "b.go"}, "TestMul", 1},
		{[]string{"a.go"}, "TestNone", -1},
		{[]string{"c.go"}, "TestAdd", -1},
	} {
		q := question{packages: []string{"."}, files: tt.files, run: tt.run, limit: time.Minute}
		alive, err := q.ask(context.Background())
		if want := max(tt.alive, 0); alive != want || (err != nil) != (tt.alive < 0) {
			t.Errorf("%v by %s: %d live, %v; want %d", tt.files, tt.run, alive, err, tt.alive)
		}
	}
}
