package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Twenty patients, of whom the six with an expected Dice under 0.9 are wrong by 12
// points and the others by 2; the worse phase counts, other views do not.
func TestTable(t *testing.T) {
	rows := "view,subject,ef_expert,ef,expected_ed,expected_es\n"
	for i := range 20 {
		expected, off := 0.905+0.002*float64(i), 2.0
		if i < 6 {
			expected, off = 0.86+0.005*float64(i), -12
		}
		rows += fmt.Sprintf("A4C,p%d,55,%g,0.99,%g\nA2C,q%d,55,5,0.99,0.99\n", i, 55+off, expected, i)
	}
	path := filepath.Join(t.TempDir(), "volumes.csv")
	if err := os.WriteFile(path, []byte(rows), 0o600); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := run(&out, path, "A4C", 0); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"at least 0.917 at both", "| good | 14 | 2.0 | 2.0 | 0 % |", "| fair | 6 | 12.0 | 12.0 | 100 % |",
		"best limit is 0.917 (p 0.00)"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	out.Reset()
	if err := run(&out, path, "A4C", 0.88); err != nil || !strings.Contains(out.String(), "| good | 16 | 3.2 | 2.0 | 12 % |") {
		t.Errorf("at 0.88: %v\n%s", err, &out)
	}
	if err := run(&out, path, "PLAX", 0); err == nil {
		t.Error("no patients of the view, and no error")
	}
	for _, bad := range []string{"", "view,ef\n", "view,ef_expert,ef,expected_ed,expected_es\nA4C,55,x,0.9,0.9\n"} {
		if _, err := read(strings.NewReader(bad), "A4C"); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}
