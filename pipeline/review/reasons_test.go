package review

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
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
		"A4C: 14 % of the outline at end-diastole runs along the edge of the picture: the wall there is not seen": "A4C: 14 % der Kontur in Enddiastole verlaufen am Bildrand: die Wand ist dort nicht zu sehen",
		"A2C: a reader's outline at end-systole may differ (expected Dice 0.76, usually above 0.92)":              "A2C: die Kontur eines Befunders in Endsystole kann abweichen (erwarteter Dice 0,76, sonst über 0,92)",
		"no loop of the study could be measured: no trustworthy calibration: spacing 0.1":                         "keine Schleife der Studie konnte gemessen werden: keine verlässliche Kalibrierung: spacing 0.1",
		"the outline jumps: its area changes by 37 % from frame 4 to 5":                                           "die Kontur springt: ihre Fläche ändert sich um 37 % von Bild 4 zu 5",
		"something that nobody has translated":                                                                    "something that nobody has translated",
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
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, filepath.Join("..", "review")) {
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
		literal := strings.TrimSuffix(strings.TrimPrefix(english, "not biplane: "), "%s")
		if english != "%s: %s" && !strings.Contains(source.String(), literal) {
			t.Errorf("nothing says %q", english)
		}
		if strings.Join(verb.FindAllString(english, -1), " ") != strings.Join(verb.FindAllString(german, -1), " ") {
			t.Errorf("%q has other places than %q", german, english)
		}
	}
}
