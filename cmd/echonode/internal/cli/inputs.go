package cli

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/pipeline"
	"github.com/echonode/echonode/pipeline/result"
)

// origins are the files behind objects that were made of them, with their frames.
type origins map[string]made

func (o origins) of(path string) string {
	if from := o[path].path; from != "" {
		return from
	}
	return path
}

// cut says of the loops whose files have more frames than were read.
func (o origins) cut(s *result.Study) {
	for i := range s.Loops {
		if l := &s.Loops[i]; o[l.File].frames > l.Frames && l.Frames > 0 {
			l.CutFrom(o[l.File].frames)
		}
	}
}

// timeless says of cines whose files do not tell when their frames were taken how to
// say it.
func (o origins) timeless(s *result.Study) {
	why := ""
	say := func(ms []result.Measurement) {
		for i := range ms {
			if r := ms[i].Reason; r != nil && r.Code == result.NoFrameTimes {
				told := result.Reasonf(r.Code, "%s: %s", r.Text, why)
				ms[i].Reason = &told
			}
		}
	}
	for i := range s.Loops {
		l := &s.Loops[i]
		if why = o[l.File].timeless; why == "" {
			continue
		}
		l.Warnings = append(l.Warnings, result.Reasonf(result.FrameTimes, "%s", why))
		say(l.Measurements)
		if len(s.Loops) == 1 { // as of every such file
			say(s.Measurements)
		}
	}
}

// name puts the files in the place of the objects.
func (o origins) name(s *result.Study) {
	for i := range s.Loops {
		s.Loops[i].File = o.of(s.Loops[i].File)
	}
}

// convert makes objects of the videos and pictures among the files. origin
// names the file behind each of them, same says which have one content.
func convert(ctx context.Context, files []string, dir string, o mediaSettings) (out []string, origin origins, unreadable []result.RejectedFile, same []string) {
	origin = origins{}
	take := func(path string, m made, err error) {
		if err != nil {
			unreadable = append(unreadable, result.RejectedFile{File: path, Reason: result.Reasonf(result.Unreadable, "%v", err)})
			return
		}
		if first, again := origin[m.path]; again { // equal content is analysed once
			same = append(same, sameText(path, first.path))
			return
		}
		out = append(out, m.path)
		origin[m.path] = made{path, m.frames, m.timeless}
	}
	if o.fps > 0 {
		var cines []sequence
		cines, files = sequences(files)
		for _, s := range cines {
			m, err := s.toDICOM(dir, o)
			take(s.name, m, err)
		}
	}
	for _, path := range files {
		if !isMedia(path) {
			out = append(out, path)
			continue
		}
		m, err := toDICOM(ctx, path, dir, o)
		take(path, m, err)
	}
	return out, origin, unreadable, same
}

// tally counts what became of the inputs.
type tally struct{ files, analysed, refused, failed int }

func (t *tally) count(s *result.Study) {
	for _, l := range s.Loops {
		switch l.Status {
		case result.Failed:
			t.failed++
		case result.Analysed:
			t.analysed++
		default:
			t.refused++
		}
	}
}

// studyKey tells studies apart. Two patients under one Study Instance UID, as
// happens where anonymisation went wrong or a machine was not told of the next
// patient, are two studies.
type studyKey struct{ study, patient string }

// grouped are files by study and patient.
type grouped struct {
	order     []studyKey // in order of appearance
	byStudy   map[studyKey][]string
	instances map[string]string // SOP Instance UIDs by path
	// rejected are files that are not DICOM, and objects that share the SOP Instance
	// UID of another one of their study.
	rejected []result.RejectedFile
	same     []string // which files are copies of another one
}

// groupByStudy sorts files by study and patient.
func groupByStudy(paths []string) grouped {
	g := grouped{byStudy: map[studyKey][]string{}, instances: map[string]string{}}
	files, subjects := map[string][]string{}, map[string][]result.Subject{}
	var studies []string
	own := map[string]string{} // what tells files apart that say neither study nor patient
	for _, path := range paths {
		f, err := dicomio.Open(path, dicomio.Options{})
		if err != nil {
			g.rejected = append(g.rejected, result.RejectedFile{File: path, Reason: result.Reasonf(result.Unreadable, "%v", err)})
			continue
		}
		study, sop := f.DataSet.String(tag.StudyInstanceUID), f.DataSet.String(tag.SOPInstanceUID)
		if study == "" && f.DataSet.String(tag.PatientID) == "" {
			// Nothing says that it belongs to another file: a study of its own.
			sum := sha256.Sum256([]byte(cmp.Or(sop, path)))
			own[path] = "-" + hex.EncodeToString(sum[:6])
		}
		g.instances[path] = sop
		if files[study] == nil {
			studies = append(studies, study)
		}
		files[study] = append(files[study], path)
		subjects[study] = append(subjects[study], pipeline.SubjectOf(f.DataSet))
		_ = f.Close() // read only
	}
	for _, study := range studies {
		keys := patientKeys(subjects[study])
		first := map[[2]string]string{} // the file of each patient's SOP Instance UID
		for i, path := range files[study] {
			key, sop := studyKey{study, keys[i] + own[path]}, g.instances[path]
			if other, twice := first[[2]string{key.patient, sop}]; twice && sop != "" {
				delete(g.instances, path)
				if sameContent(path, other) {
					g.same = append(g.same, sameText(path, other))
				} else {
					g.rejected = append(g.rejected, result.RejectedFile{File: path,
						Reason: result.Reasonf(result.SameUID, "another object of the study has its SOP Instance UID, and comes first: %s", other)})
				}
				continue
			}
			first[[2]string{key.patient, sop}] = path
			if g.byStudy[key] == nil {
				g.order = append(g.order, key)
			}
			g.byStudy[key] = append(g.byStudy[key], path)
		}
	}
	return g
}

// sameText says that a file is the copy of another one.
func sameText(path, other string) string {
	return fmt.Sprintf("%s has the same content as %s, which is analysed", path, other)
}

// sameContent reports whether two files hold the same bytes.
func sameContent(a, b string) bool {
	x, err1 := digest(a)
	y, err2 := digest(b)
	return err1 == nil && err2 == nil && x == y
}

// patientKeys gives each object of a study the key of its patient: that of its
// Patient ID, with the digest of the person behind it for each of several who
// share one.
func patientKeys(subjects []result.Subject) []string {
	persons := make([]result.Person, len(subjects))
	for i, s := range subjects {
		persons[i] = *s.Person
	}
	numbers := result.Apart(persons)
	// One patient's objects may have two keys: the issuer is not always given.
	first, of := map[int]string{}, map[int]string{}
	for i, k := range numbers {
		if d := persons[i].Digest(); first[k] == "" || d < first[k] {
			first[k] = d
		}
		if key := subjects[i].Key; of[k] == "" || key < of[k] {
			of[k] = key
		}
	}
	sharers := map[string]int{}
	for _, key := range of {
		sharers[key]++
	}
	keys := make([]string, len(subjects))
	for i, k := range numbers {
		if keys[i] = of[k]; sharers[of[k]] > 1 {
			keys[i] += "-" + first[k]
		}
	}
	return keys
}

// resultFile in the folder of a study says whose it is and what was written.
const resultFile = "result.json"

// errOtherStudy says that a folder is not the study's own.
var errOtherStudy = errors.New("the folder holds something else")
