package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/pipeline"
	"github.com/echonode/echonode/pipeline/output"
	"github.com/echonode/echonode/pipeline/result"
)

// writeStudy makes the outputs of a study in a folder of its own below out,
// beside its result. Outputs of an earlier run of the same study are replaced;
// a folder that holds anything else is refused.
func (f *folders) writeStudy(ctx context.Context, study *pipeline.Study, out string, o output.Options, limits dicomio.Limits, origin origins) (err error) {
	dir, err := f.claim(out, &study.Study)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	o.Pictures = true
	study.Outputs, err = output.Write(ctx, &study.Study, output.FilesOf(&study.Study, limits), dir, o)
	if err != nil {
		return err
	}
	origin.name(&study.Study)
	b, err := json.MarshalIndent(&study.Study, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, resultFile), append(b, '\n'), 0o640)
}

// folders are those that a run has looked at, so that it reads none twice however
// many studies share a name, as those without a UID do: what they hold of an earlier
// run, nil for nothing. Those that it took for a study are no other's.
type folders struct {
	earlier map[string]*result.Study
	taken   map[string]bool
}

// claim finds or chooses the folder of a study and empties it. The same UID with
// another patient gets a folder of its own.
func (f *folders) claim(out string, s *result.Study) (string, error) {
	dir := filepath.Join(out, folderName(s.StudyInstanceUID))
	err := f.reuse(dir, s)
	if s.Subject == nil || !errors.Is(err, errOtherPatient) {
		return dir, err
	}
	id, _, _ := strings.Cut(s.Subject.Key, "-")
	earlier, err := filepath.Glob(filepath.Join(out, folderName(s.StudyInstanceUID)+"-"+id+"*"))
	if err != nil {
		return dir, err
	}
	dir += "-" + s.Subject.Key
	own := []string{dir}
	if s.Subject.Person != nil {
		own = append(own, dir+"-"+s.Subject.Person.Digest())
	}
	for _, dir := range append(earlier, own...) {
		if err = f.reuse(dir, s); !errors.Is(err, errOtherPatient) {
			return dir, err
		}
	}
	return dir, err
}

// folderName makes a folder of a Study Instance UID. What is no UID comes from
// a file and becomes no path.
func folderName(uid string) string {
	if len(uid) > 0 && len(uid) <= 64 && strings.Trim(uid, "0123456789.") == "" && strings.Trim(uid, ".") != "" {
		return uid
	}
	sum := sha256.Sum256([]byte(uid))
	return "study-" + hex.EncodeToString(sum[:8])
}

var errOtherPatient = fmt.Errorf("the study's folder belongs to another patient: %w", errOtherStudy)

// reuse empties a folder of what an earlier run of the same study wrote there.
func (f *folders) reuse(dir string, s *result.Study) error {
	if f.taken[dir] && s.Subject != nil {
		return fmt.Errorf("%s: %w", dir, errOtherPatient)
	}
	if f.taken == nil {
		f.earlier, f.taken = map[string]*result.Study{}, map[string]bool{}
	}
	old, known := f.earlier[dir]
	if !known {
		var err error
		if old, err = resultIn(dir); err != nil {
			return err
		}
		f.earlier[dir] = old
	}
	if old != nil {
		if err := discard(dir, old, s); err != nil {
			return err
		}
	}
	delete(f.earlier, dir)
	f.taken[dir] = true
	return nil
}

// resultIn is what an earlier run wrote to a folder, without values and frames; nil
// where it is empty or not there.
func resultIn(dir string) (*result.Study, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(filepath.Join(dir, resultFile))
	if err != nil {
		return nil, fmt.Errorf("%s: %w, and no %s of an earlier run", dir, errOtherStudy, resultFile)
	}
	var old result.Study
	if err := json.Unmarshal(b, &old); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", filepath.Join(dir, resultFile), errOtherStudy, err)
	}
	old.Measurements = nil
	for i, l := range old.Loops {
		old.Loops[i] = result.Loop{SOPInstanceUID: l.SOPInstanceUID}
	}
	return &old, nil
}

// outputsOf are the names of what earlier runs made, by folder.
type outputsOf map[string]map[string]bool

// made reports whether an earlier run made a file: the result beside it lists it.
func (o outputsOf) made(path string) bool {
	dir, name := filepath.Split(path)
	names, known := o[dir]
	if !known {
		names = map[string]bool{}
		if old, err := resultIn(filepath.Clean(dir)); err == nil && old != nil {
			for _, made := range old.Outputs {
				names[filepath.Base(made.File)] = true
			}
		}
		o[dir] = names
	}
	return names[name]
}

// discard removes from a folder what an earlier run of the same study wrote there.
func discard(dir string, old, s *result.Study) error {
	switch {
	case old.StudyInstanceUID != s.StudyInstanceUID:
		return fmt.Errorf("%s: %w: study %s", dir, errOtherStudy, old.StudyInstanceUID)
	case !sameSubject(old, s):
		return fmt.Errorf("%s: %w", dir, errOtherPatient)
	}
	for _, o := range old.Outputs {
		if o.File == "" {
			continue
		}
		// Only names in this very folder: the list is a file like any other.
		if err := os.Remove(filepath.Join(dir, filepath.Base(o.File))); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return os.Remove(filepath.Join(dir, resultFile))
}

// sameSubject reports whether an earlier result of a study is of its patient.
// Where the keys differ, as they do since others share the Patient ID, or a
// program of before wrote it, the same objects say so.
func sameSubject(old, s *result.Study) bool {
	a, b := old.Subject, s.Subject
	if a == nil || b == nil {
		return true
	}
	if !result.SameKey(a.Key, b.Key) || a.Other(b) {
		return false
	}
	if a.Key == b.Key && (a.Person == nil || a.Person.Current()) {
		return true
	}
	loops := loopsOf(old)
	return slices.ContainsFunc(s.Loops, func(l result.Loop) bool { return loops[l.SOPInstanceUID] })
}
