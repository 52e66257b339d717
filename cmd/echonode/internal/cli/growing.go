package cli

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/result"
)

// growing is a file to which every finished study is added at once. A run that
// was cut off goes on behind the last whole study.
type growing struct {
	path string
	f    *os.File
	done map[studyKey]map[string]bool // the SOP Instance UIDs of a study's loops
	has  map[studyKey]map[string]bool // those of done, by the keys of this run
	rows func(*result.Study) ([]byte, error)
}

func (g *growing) add(s *result.Study) error {
	if g == nil || g.has[keyOf(s)] != nil {
		return nil
	}
	b, err := g.rows(s)
	if err != nil {
		return err
	}
	if _, err := g.f.Write(b); err != nil {
		return err
	}
	return g.f.Sync()
}

func (g *growing) close() error {
	if g == nil {
		return nil
	}
	return g.f.Close()
}

// match finds what the file has of each study of this run: by its objects, since
// the key of a patient has more where others share the Patient ID, and who does
// is a matter of the files that are there; else by the key.
func (g *growing) match(studies map[studyKey][]string) {
	if g == nil {
		return
	}
	inFile, taken := map[string][]studyKey{}, map[studyKey]bool{}
	for _, k := range sortedKeys(g.done) {
		inFile[k.study] = append(inFile[k.study], k)
	}
	g.has = map[studyKey]map[string]bool{}
	for _, fits := range []func(was, k studyKey) bool{
		func(was, k studyKey) bool { return was == k && holdsAny(g.done[was], studies[k]) },
		func(was, k studyKey) bool {
			return result.SameKey(was.patient, k.patient) && holdsAny(g.done[was], studies[k])
		},
		func(was, k studyKey) bool { return was == k },
	} {
		for _, k := range sortedKeys(studies) {
			for _, was := range inFile[k.study] {
				if g.has[k] == nil && !taken[was] && fits(was, k) {
					g.has[k], taken[was] = g.done[was], true
				}
			}
		}
	}
}

func sortedKeys[V any](m map[studyKey]V) []studyKey {
	return slices.SortedFunc(maps.Keys(m), func(a, b studyKey) int {
		return cmp.Or(strings.Compare(a.study, b.study), strings.Compare(a.patient, b.patient))
	})
}

func holdsAny(loops map[string]bool, sops []string) bool {
	return slices.ContainsFunc(sops, func(sop string) bool { return loops[sop] })
}

// hasStudy reports whether the study is in the file; a file that is not kept needs
// nothing.
func (g *growing) hasStudy(k studyKey) bool { return g == nil || g.has[k] != nil }

// hasLoop reports whether the study is in the file with an object.
func (g *growing) hasLoop(k studyKey, sop string) bool { return g == nil || g.has[k][sop] }

func loopsOf(s *result.Study) map[string]bool {
	out := map[string]bool{}
	for _, l := range s.Loops {
		out[l.SOPInstanceUID] = true
	}
	return out
}

func keyOf(s *result.Study) studyKey {
	k := studyKey{study: s.StudyInstanceUID}
	if s.Subject != nil {
		k.patient = s.Subject.Key
	}
	return k
}

// otherModel says that a file was begun with another network.
func otherModel(path, name, version string, m result.Model) error {
	if name == m.Name && version == m.Version {
		return nil
	}
	return fmt.Errorf("%s was begun with model %s %s, this is %s %s: name another file", path, name, version, m.Name, m.Version)
}

// openLines opens a file of JSON Lines, one [result.Study] a line.
func openLines(path string, m result.Model) (*growing, error) {
	g := &growing{path: path, done: map[studyKey]map[string]bool{}, rows: func(s *result.Study) ([]byte, error) {
		b, err := json.Marshal(s)
		return append(b, '\n'), err
	}}
	err := g.open(func(r *bufio.Reader) (whole int64, err error) {
		for n := 1; ; n++ {
			line, err := r.ReadBytes('\n')
			if errors.Is(err, io.EOF) {
				return whole, nil // what has no end of line was cut off
			}
			if err != nil {
				return 0, err
			}
			var s result.Study
			if err := json.Unmarshal(line, &s); err != nil || s.StudyInstanceUID == "" {
				return 0, fmt.Errorf("%s: line %d is no result", path, n)
			}
			if err := otherModel(path, s.Run.Model.Name, s.Run.Model.Version, m); err != nil {
				return 0, err
			}
			g.done[keyOf(&s)] = loopsOf(&s)
			whole += int64(len(line))
		}
	})
	if err != nil {
		return nil, err
	}
	return g, nil
}

// columns of the table, one row for each value of a study and of its loops, and
// for each loop without values. row and rows count within a study.
var columns = []string{"study", "patient_key", "scope", "sop_instance_uid", "file", "view", "stage", "stage_number", "quantity", "value", "unit",
	"method", "n_beats", "sd", "min", "max", "grade", "remarks", "reason", "model", "model_version", "time", "row", "rows"}

// openTable opens a CSV file.
func openTable(path string, m result.Model) (*growing, error) {
	g := &growing{path: path, done: map[studyKey]map[string]bool{}, rows: tableRows}
	err := g.open(func(r *bufio.Reader) (whole int64, err error) {
		in := csv.NewReader(r)
		in.FieldsPerRecord = len(columns)
		head, err := in.Read()
		if errors.Is(err, io.EOF) {
			return 0, nil
		}
		if err != nil || !slices.Equal(head, columns) {
			return 0, fmt.Errorf("%s is no table of this program", path)
		}
		whole = in.InputOffset()
		loops := map[string]bool{} // of the study that is being read
		for {
			rec, err := in.Read()
			if err != nil {
				// The end, or a record that was cut off.
				return whole, nil
			}
			if err := otherModel(path, rec[len(columns)-5], rec[len(columns)-4], m); err != nil {
				return 0, err
			}
			if sop := rec[slices.Index(columns, "sop_instance_uid")]; sop != "" {
				loops[sop] = true
			}
			if rec[len(columns)-2] == rec[len(columns)-1] { // the last row of its study
				g.done[studyKey{rec[0], rec[1]}], loops = loops, map[string]bool{}
				whole = in.InputOffset()
			}
		}
	})
	if err != nil {
		return nil, err
	}
	if info, err := g.f.Stat(); err != nil || info.Size() > 0 {
		return g, err
	}
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	if err := w.Write(columns); err != nil {
		return nil, err
	}
	w.Flush()
	_, err = g.f.Write(b.Bytes())
	return g, err
}

// open opens the file, lets scan find what is whole, and cuts the rest off.
func (g *growing) open(scan func(*bufio.Reader) (int64, error)) error {
	f, err := os.OpenFile(g.path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return err
	}
	// Two runs at a time would write over each other's rows.
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		return errors.Join(fmt.Errorf("%s: another run writes to it: name another file, or wait", g.path), f.Close())
	}
	whole, err := scan(bufio.NewReaderSize(f, 1<<20))
	if err == nil {
		err = f.Truncate(whole)
	}
	if err == nil {
		_, err = f.Seek(whole, io.SeekStart)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	g.f = f
	return nil
}

// tableRows are the rows of a study.
func tableRows(s *result.Study) ([]byte, error) {
	k := keyOf(s)
	var rows [][]string
	add := func(scope string, l *result.Loop, m result.Measurement) {
		row := []string{k.study, k.patient, scope, "", "", m.View, cell(m.Stage), "", m.Name, "", m.Unit, m.Method, "", "", "", "", m.Quality.Grade, "", ""}
		if l != nil {
			row[3], row[4], row[5], row[6] = l.SOPInstanceUID, cell(l.File), cmp.Or(m.View, l.View), cell(l.Stage)
		}
		if m.StageNumber > 0 {
			row[7] = strconv.Itoa(m.StageNumber)
		}
		if m.Value != nil {
			row[9] = number(*m.Value)
		}
		if n := len(m.Beats); n > 0 {
			st := lv.Summarize(m.Beats)
			row[12], row[14], row[15] = strconv.Itoa(n), number(st.Min), number(st.Max)
			if n > 1 { // one beat has no spread
				row[13] = number(st.SD)
			}
		}
		var remarks []string
		for _, w := range m.Quality.Warnings {
			remarks = append(remarks, w.Text)
		}
		row[17] = cell(strings.Join(remarks, "; "))
		if m.Reason != nil {
			row[18] = cell(m.Reason.Text)
		}
		rows = append(rows, append(row, s.Run.Model.Name, s.Run.Model.Version, s.Run.Time.Format(time.RFC3339)))
	}
	for _, m := range s.Measurements {
		add("study", nil, m)
	}
	for i := range s.Loops {
		l := &s.Loops[i]
		// Every loop has a row: the next run tells by them which came later.
		if l.Reason != nil || len(l.Measurements) == 0 {
			add("loop", l, result.Measurement{Quality: result.Quality{Grade: l.Status}, Reason: l.Reason})
		}
		for _, plane := range l.Planes() {
			for _, m := range plane.Measurements {
				add("loop", l, m)
			}
		}
	}
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	for i, row := range rows {
		if err := w.Write(append(row, strconv.Itoa(i+1), strconv.Itoa(len(rows)))); err != nil {
			return nil, err
		}
	}
	w.Flush()
	return b.Bytes(), w.Error()
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }

// cell is text that a spreadsheet takes for text: names come from files, and one
// that begins like a formula would be run.
func cell(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, s)
	if s != "" && strings.ContainsRune("=+-@", rune(s[0])) {
		return "'" + s
	}
	return s
}
