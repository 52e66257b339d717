package cli

import (
	"encoding/csv"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/echonode/echonode/pipeline/result"
)

func finished(uid string) *result.Study {
	ef := 59.2
	return &result.Study{StudyInstanceUID: uid, Subject: &result.Subject{Key: "k" + uid}, Run: result.Run{Model: result.Model{Name: "m", Version: "1"}},
		Measurements: []result.Measurement{{Name: result.EF, Value: &ef, Unit: "%", Beats: []float64{58, 60}, Stage: "=cmd()"}},
		Loops: []result.Loop{{SOPInstanceUID: uid + ".1", File: "a\nb.dcm", Reason: &result.Reason{Text: "colour"}, Status: result.Refused},
			{SOPInstanceUID: uid + ".2", View: "A4C", Measurements: []result.Measurement{{Name: result.EDV, Reason: &result.Reason{Text: "no, \"really\""}}}}}}
}

// Both files grow study by study; what a crash has left half written is cut off
// and done again, and a whole study is not repeated.
func TestGrowingFilesResume(t *testing.T) {
	m := result.Model{Name: "m", Version: "1"}
	for name, open := range map[string]func(string, result.Model) (*growing, error){"jsonl": openLines, "csv": openTable} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "out."+name)
			g, err := open(path, m)
			if err != nil {
				t.Fatal(err)
			}
			for _, uid := range []string{"1.1", "1.2"} {
				if err := g.add(finished(uid)); err != nil {
					t.Fatal(err)
				}
			}
			// Another run does not write to the file at the same time.
			if _, err := open(path, m); err == nil || !strings.Contains(err.Error(), "another run") {
				t.Errorf("a second run: %v", err)
			}
			if err := g.close(); err != nil {
				t.Fatal(err)
			}
			whole, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			// Cut anywhere, the file is completed to what it was.
			for cut := 0; cut < len(whole); cut += 7 {
				if err := os.WriteFile(path, whole[:cut], 0o644); err != nil {
					t.Fatal(err)
				}
				g, err := open(path, m)
				if err != nil {
					if name == "csv" && cut < strings.Index(string(whole), "\n") && cut > 0 {
						continue // half a heading could be anything
					}
					t.Fatalf("cut at %d: %v", cut, err)
				}
				g.match(map[studyKey][]string{keyOf(finished("1.1")): {"1.1.1"}, keyOf(finished("1.2")): {"1.2.2"}})
				for _, uid := range []string{"1.1", "1.2"} {
					if err := g.add(finished(uid)); err != nil {
						t.Fatal(err)
					}
				}
				if err := g.close(); err != nil {
					t.Fatal(err)
				}
				if again, err := os.ReadFile(path); err != nil || string(again) != string(whole) {
					t.Fatalf("cut at %d of %d: the file is not what it was: %v\n%s", cut, len(whole), err, again)
				}
			}
			if _, err := open(path, result.Model{Name: "m", Version: "2"}); err == nil {
				t.Error("results of two models in one file")
			}
			if err := os.WriteFile(path, []byte("a letter to somebody\nsecond line\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := open(path, m); err == nil {
				t.Error("somebody's file is written over")
			}
			if b, _ := os.ReadFile(path); !strings.HasPrefix(string(b), "a letter") {
				t.Error("somebody's file is gone")
			}
		})
	}
}

func TestTableRows(t *testing.T) {
	study := finished("1.1")
	study.Loops = append(study.Loops, result.Loop{SOPInstanceUID: "1.1.3", Status: result.Analysed}) // without a value
	b, err := tableRows(study)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(strings.NewReader(string(b))).ReadAll()
	if err != nil || len(rows) != 4 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	at := func(row int, column string) string {
		for i, c := range columns {
			if c == column {
				return rows[row][i]
			}
		}
		t.Fatal(column)
		return ""
	}
	for _, tc := range []struct {
		row          int
		column, want string
	}{{0, "value", "59.2"}, {0, "n_beats", "2"}, {0, "sd", "1.41421"}, {0, "stage", "'=cmd()"}, {1, "grade", "refused"}, {1, "file", "a b.dcm"},
		{1, "reason", "colour"}, {2, "quantity", "EDV"}, {2, "value", ""}, {2, "reason", "no, \"really\""}, {2, "row", "3"}, {2, "rows", "4"},
		{3, "sop_instance_uid", "1.1.3"}, {3, "grade", "analysed"}, {0, "patient_key", "k1.1"}} {
		if got := at(tc.row, tc.column); got != tc.want {
			t.Errorf("row %d, %s: %q, want %q", tc.row, tc.column, got, tc.want)
		}
	}
}

func TestTimeLeft(t *testing.T) {
	start := time.Now()
	c := &clock{start: start, total: 400, done: 100}
	if got := c.left(start.Add(10 * time.Second)); got != "  about 30s left" {
		t.Errorf("%q", got)
	}
	if got := c.left(start.Add(time.Second)); got != "" {
		t.Errorf("a guess after a second: %q", got)
	}
	c.done = 400
	if got := c.left(start.Add(time.Minute)); got != "" {
		t.Errorf("at the end: %q", got)
	}
}

// The first line for each stage is what a reader looks for.
func TestHeadline(t *testing.T) {
	v := func(x float64) *float64 { return &x }
	ms := []result.Measurement{
		{Name: result.EF, Value: v(59.2), Unit: "%", Method: result.Biplane, Stage: "Rest", Beats: []float64{58, 60, 59.6}, Quality: result.Quality{Grade: result.Good}},
		{Name: result.EDV, Value: v(117.8), Unit: "ml", Stage: "Rest"}, {Name: result.ESV, Value: v(48.1), Unit: "ml", Stage: "Rest"},
		{Name: result.EF, Stage: "Peak", Reason: &result.Reason{Text: "the clip is too short"}},
	}
	lines := headlines(ms)
	if len(lines) != 2 || lines[0] != "Rest: EF 59 % (good), EDV 117.8 mL, ESV 48.1 mL; biplane method of disks, 3 beats" ||
		lines[1] != "Peak: EF not measured: the clip is too short" {
		t.Errorf("%q", lines)
	}
}
