package review

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/quantity"
	"github.com/echonode/echonode/pipeline/result"
)

// Both languages say everything, with the same arguments.
func TestCatalogue(t *testing.T) {
	all, _, err := loadWords()
	if err != nil {
		t.Fatal(err)
	}
	verbs := regexp.MustCompile(`%[a-z%]`)
	en := all["en"].texts
	for lang, w := range all {
		for key, text := range w.texts {
			if _, ok := en[key]; !ok {
				t.Errorf("%s has %q, English does not", lang, key)
			}
			if got, want := strings.Join(verbs.FindAllString(text, -1), " "), strings.Join(verbs.FindAllString(en[key], -1), " "); got != want {
				t.Errorf("%s %q takes %q, English %q", lang, key, got, want)
			}
			if strings.TrimSpace(text) == "" {
				t.Errorf("%s %q is empty", lang, key)
			}
		}
		if len(w.texts) != len(en) {
			t.Errorf("%s has %d texts, English %d", lang, len(w.texts), len(en))
		}
	}
}

// Every way to measure, and every source of a heart rate, has a name in both languages.
func TestMethodsHaveNames(t *testing.T) {
	all, _, err := loadWords()
	if err != nil {
		t.Fatal(err)
	}
	methods := []string{lv.RateFromRWaves, lv.RateFromCurve, lv.RateFromDevice}
	for _, q := range quantity.All() {
		methods = append(methods, q.Methods...)
	}
	for lang, w := range all {
		for _, m := range methods {
			if _, ok := w.texts["method."+m]; !ok {
				t.Errorf("%s has no name for %q", lang, m)
			}
		}
	}
}

// A value with many remarks shows some and folds the others away; none is lost.
func TestRemarksAreFolded(t *testing.T) {
	all := []string{"a", "b", "c", "d", "e", "f"}
	for n, first := range map[int]int{0: 0, 3: 3, 4: 4, 5: 3, 6: 3} {
		v := valueRow{Warnings: all[:n]}
		if got := strings.Join(append(slices.Clone(v.First()), v.More()...), ""); len(v.First()) != first || got != strings.Join(all[:n], "") {
			t.Errorf("of %d: %v and %v", n, v.First(), v.More())
		}
	}
}

// Every action that the audit trail records has its words in both languages.
func TestActionsHaveWords(t *testing.T) {
	all, _, err := loadWords()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	said := regexp.MustCompile(`s\.audit\(r, (?:""|uid|r\.PathValue\("study"\)|[a-z.]+StudyInstanceUID), "([^"]+)"|Action: "([^"]+)"`)
	found := []string{"retry", "reanalyse", "remove"} // of operate
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		for _, m := range said.FindAllStringSubmatch(string(b), -1) {
			found = append(found, m[1]+m[2])
		}
	}
	if len(found) < 20 {
		t.Errorf("only %q found", found)
	}
	for lang, w := range all {
		for _, action := range found {
			if w.texts["action."+action] == "" {
				t.Errorf("%s has no words for %q", lang, action)
			}
		}
	}
}

// Every text that templates and client name is in the catalogue.
func TestTextsExist(t *testing.T) {
	all, _, err := loadWords()
	if err != nil {
		t.Fatal(err)
	}
	for pattern, use := range map[string]*regexp.Regexp{
		"templates/*.html": regexp.MustCompile(`Words\.T "([^"]+)"`),
		"web/src/*.ts":     regexp.MustCompile(`\bt\("([^"]+)"[,)]`),
		"*.go":             regexp.MustCompile(`\.T\("([^"]+)"[,)]`),
	} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatal(pattern, err)
		}
		for _, path := range files {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range use.FindAllSubmatch(b, -1) {
				if _, ok := all["en"].texts[string(m[1])]; !ok {
					t.Errorf("%s: no text %q", path, m[1])
				}
			}
		}
	}
}

// The committed bundle is what the sources make.
func TestBundleIsCurrent(t *testing.T) {
	var out bytes.Buffer
	cmd := exec.Command("go", "run", "./internal/bundle", "-check")
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
}

func TestFormats(t *testing.T) {
	all, _, err := loadWords()
	if err != nil {
		t.Fatal(err)
	}
	en, de := all["en"], all["de"]
	for _, tc := range []struct{ got, want string }{
		{en.Number(61.25, 1), "61.2"}, {de.Number(61.25, 1), "61,2"}, {en.Number(-0.01, 1), "0.0"}, {en.Number(120, 0), "120"},
		{en.Date("19600102"), "1960-01-02"}, {de.Date("19600102"), "02.01.1960"}, {en.Date("60"), "60"}, {en.Unit("{H.B.}/min"), "/min"}, {de.Seconds(time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)), "04.03.2026 05:06:07"},
		{personName("Doe^Jane^Mary^Dr."), "Doe, Dr. Jane Mary"}, {personName("^Jane"), "Jane"}, {personName("Doe"), "Doe"}, {personName("=山田^太郎=x"), "山田, 太郎"}, {personName("^^^"), ""},
	} {
		if tc.got != tc.want {
			t.Errorf("%q, want %q", tc.got, tc.want)
		}
	}
}

// Every grade has a word in each language and a colour of its own.
func TestGrades(t *testing.T) {
	all, _, err := loadWords()
	if err != nil {
		t.Fatal(err)
	}
	style, err := os.ReadFile("web/src/style.css")
	if err != nil {
		t.Fatal(err)
	}
	colours := map[string]string{}
	for _, grade := range []string{result.Good, result.Fair, result.Poor, result.None} {
		for lang, w := range all {
			if w.texts["grade."+grade] == "" {
				t.Errorf("%s has no word for %q", lang, grade)
			}
		}
		m := regexp.MustCompile(`\.grade\.` + grade + ` \{ color: ([^;]+);`).FindSubmatch(style)
		if m == nil {
			t.Errorf("%q has no colour", grade)
			continue
		}
		if other, ok := colours[string(m[1])]; ok {
			t.Errorf("%q has the colour of %q", grade, other)
		}
		colours[string(m[1])] = grade
	}
}
