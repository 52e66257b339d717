package review

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// What the pipeline says is said in German, numbers and phases too; what the
// catalogue lacks stays as it is.
func TestReasonsInGerman(t *testing.T) {
	all, _, err := loadWords()
	if err != nil {
		t.Fatal(err)
	}
	for english, german := range map[string]string{
		"left out by the reader": "vom Befunder weggelassen",
		"A4C: 14 % of the outline at end-diastole runs along the edge of the picture: the wall there is not seen":                                              "A4C: 14 % der Kontur in Enddiastole verlaufen am Bildrand: die Wand ist dort nicht zu sehen",
		"A2C: a reader's outline at end-systole may differ (expected Dice 0.76, usually above 0.92)":                                                           "A2C: die Kontur eines Befunders in Endsystole kann abweichen (erwarteter Dice 0,76, sonst über 0,92)",
		"no loop of the study could be measured: no trustworthy calibration: spacing 0.1":                                                                      "keine Schleife der Studie konnte gemessen werden: keine verlässliche Kalibrierung: spacing 0.1",
		"the outline jumps: its area changes by 37 % from frame 4 to 5":                                                                                        "die Kontur springt: ihre Fläche ändert sich um 37 % von Bild 4 zu 5",
		"transoesophageal transducer: the views are others":                                                                                                    "transösophagealer Schallkopf: die Ansichten sind andere",
		"the left atrium reaches the edge of the picture":                                                                                                      "der linke Vorhof reicht an den Bildrand",
		"the clip shows no complete contraction: no clear contraction":                                                                                         "die Aufnahme zeigt keine vollständige Kontraktion: keine deutliche Kontraktion",
		"Cardiac output of 41.2 L/min cannot be":                                                                                                               "Herzzeitvolumen von 41,2 L/min kann nicht sein",
		"premature beat: left out of the mean":                                                                                                                 "Schlag vorzeitig: nicht im Mittel",
		"A4C: the frame times are in doubt: FrameTime says 33.3 ms per frame, CineRate 40; FrameTimeVector: 3 increments for 5 frames":                         "A4C: die Bildzeiten sind zweifelhaft: FrameTime sagt 33,3 ms je Bild, CineRate 40; FrameTimeVector: 3 Schritte für 5 Bilder",
		"the screen holds 3 pictures; the values are from the one at (0, 10); of the others that at (400, 10) is coloured; that at (800, 10) shows A2C (91 %)": "der Bildschirm zeigt 3 Bilder; die Werte sind von dem bei (0, 10); von den anderen: das bei (400, 10) ist farbig; das bei (800, 10) zeigt A2C (91 %)",
		"the picture has 2 2D regions of one scale; the values are from the one at (0,0)-(400,300)":                                                            "das Bild hat 2 2D-Bereiche eines Maßstabs; die Werte sind von dem bei (0,0)-(400,300)",
		"28 deliveries to \"mirror\" were given up: restart them with retry":                                                                                   "28 Zustellungen an \"mirror\" wurden aufgegeben: erneut versuchen lassen",
		"no loop of the study could be measured: view PSAX is not measured (12 loops); spectral Doppler: no 2D cine to measure; 3 more for other reasons":      "keine Schleife der Studie konnte gemessen werden: die Ansicht PSAX wird nicht gemessen (12 Schleifen); spektraler Doppler: keine 2D-Schleife zum Messen; 3 weitere aus anderen Gründen",
		"not biplane: the two-chamber loop is of another stage (no name), which may be another state":                                                          "nicht biplan: der Zweikammerblick gehört zu einer anderen Stufe (ohne Namen), die ein anderer Zustand sein kann",
		"something that nobody has translated":                                                                                                                 "something that nobody has translated",
	} {
		if got := all["de"].Reason(english); got != german {
			t.Errorf("%q: %q, want %q", english, got, german)
		}
		if got := all["en"].Reason(english); got != english {
			t.Errorf("English: %q", got)
		}
	}
}

// A form that the pipeline does not use any more is not kept, and the places are
// the same in both languages.
func TestReasonsAreCurrent(t *testing.T) {
	var source strings.Builder
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") ||
			strings.HasPrefix(path, filepath.Join("..", "review")) {
			return err
		}
		b, err := os.ReadFile(path)
		source.Write(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile("text/reasons.de.json")
	if err != nil {
		t.Fatal(err)
	}
	var formats map[string]string
	if err := json.Unmarshal(b, &formats); err != nil {
		t.Fatal(err)
	}
	if len(formats) < 50 {
		t.Errorf("only %d forms", len(formats))
	}
	for english, german := range formats {
		literal := strings.TrimPrefix(strings.TrimSuffix(strings.TrimPrefix(english, "not biplane: "), "%s"), "%s")
		if english != "%s: %s" && !strings.Contains(source.String(), literal) {
			t.Errorf("nothing says %q", english)
		}
		if strings.Join(verb.FindAllString(english, -1), " ") != strings.Join(verb.FindAllString(german, -1), " ") {
			t.Errorf("%q has other places than %q", german, english)
		}
	}
}

// Whatever the packages that judge an object or a value say in words has its
// form in the catalogue: every literal of theirs with a space in it that is no
// error, log line or expression, but for those that are named here.
func TestReasonsAreComplete(t *testing.T) {
	b, err := os.ReadFile("text/reasons.de.json")
	if err != nil {
		t.Fatal(err)
	}
	var formats map[string]string
	if err := json.Unmarshal(b, &formats); err != nil {
		t.Fatal(err)
	}
	others := map[string]bool{
		"clip start": true, "area curve": true, // where an end-diastole is from: the results' own words
		"normal geometry": true, "concentric remodelling": true, "eccentric hypertrophy": true, "concentric hypertrophy": true,
		"Stage %d":              true, // a stage without a name
		"%s (%d)":               true, // one of two stages of one name
		"loop %s, frame %d: %s": true, // an error of a correction, for the browser's own words
	}
	found := 0
	for _, dir := range []string{"..", "../measure", "../lv", "../indices", "../internal/correct", "../echo"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatal(dir, err)
		}
		for _, path := range files {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			for literal, at := range said(t, path) {
				_, whole := formats[literal]
				_, before := formats[literal+"%s"]
				_, after := formats["%s"+literal]
				found++
				if !whole && !before && !after && !others[literal] {
					t.Errorf("%s: not in text/reasons.de.json: %q", at, literal)
				}
			}
		}
	}
	if found < 120 {
		t.Errorf("only %d texts found", found)
	}
}

// said are the literals of a file that may be said to a reader, with their places.
func said(t *testing.T, path string) map[string]gotoken.Position {
	t.Helper()
	places := gotoken.NewFileSet()
	file, err := parser.ParseFile(places, path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]gotoken.Position{}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec, *ast.Field: // a field's tag
			_, field := n.(*ast.Field)
			return field && n.(*ast.Field).Tag == nil
		case *ast.CallExpr:
			f, ok := n.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			switch f.Sel.Name {
			case "Errorf", "New", "MustCompile", "Debug", "Info", "Warn", "Error":
				return false
			}
		case *ast.BasicLit:
			text, err := strconv.Unquote(n.Value)
			if n.Kind == gotoken.STRING && err == nil && strings.Contains(strings.Trim(text, " ;:,"), " ") {
				out[text] = places.Position(n.Pos())
			}
		}
		return true
	})
	return out
}
