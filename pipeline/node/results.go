package node

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/echonode/echonode/pipeline/objects"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/pipeline/store"
)

// resultsFolder holds what is made of studies.
const resultsFolder = "results"

// studyFolder names the folder of a study's results. UIDs from the network do
// not become paths.
func studyFolder(study string) string {
	sum := sha256.Sum256([]byte(study))
	return hex.EncodeToString(sum[:studyFolderBytes])
}

// studyFolderBytes is how much of its digest names a study's folder.
const studyFolderBytes = 12

// studyResults is the name that a study's results are below.
func (n *Node) studyResults(study string) string {
	return n.files.Name(resultsFolder, studyFolder(study))
}

// below is the name of an object in a folder of results.
func below(folder, base string) string { return folder + "/" + base }

// workplace is a folder of this machine in which the outputs of a run are made.
// On a directory of this machine it is the place where they stay; for other
// stores they are put there when they are made.
type workplace struct {
	n       *Node
	dir     string
	parts   []string // of the run's folder in the store
	inPlace bool
}

// workplace makes an empty one for a run and sets the run's folder. The base is
// the last part of its name; former are those of attempts before, which are
// removed.
func (n *Node) workplace(ctx context.Context, run *store.Run, base string, former ...string) (*workplace, error) {
	w := &workplace{n: n, parts: []string{resultsFolder, studyFolder(run.StudyInstanceUID), base}}
	run.Directory = n.files.Name(w.parts...)
	unlock, err := n.studies.Lock(ctx, studyFolder(run.StudyInstanceUID))
	if err != nil {
		return nil, err
	}
	defer unlock()
	var errs []error
	for _, f := range append(former, base) {
		errs = append(errs, objects.Clear(ctx, n.files, n.files.Name(resultsFolder, studyFolder(run.StudyInstanceUID), f)))
	}
	if w.dir, w.inPlace = n.files.InPlace(run.Directory); w.inPlace {
		errs = append(errs, os.MkdirAll(w.dir, 0o750))
	} else if err := os.MkdirAll(n.opt.Scratch, 0o750); err != nil {
		errs = append(errs, err)
	} else {
		w.dir, err = os.MkdirTemp(n.opt.Scratch, "run-")
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("results directory: %w", err)
	}
	return w, nil
}

// close removes what is left of a workplace that is no result.
func (w *workplace) close() {
	if !w.inPlace {
		if err := os.RemoveAll(w.dir); err != nil {
			w.n.log.Warn("scratch folder is left", "path", w.dir, "error", err)
		}
	}
}

// drop removes what a run that is not recorded has made.
func (w *workplace) drop(ctx context.Context) error {
	return objects.Clear(context.WithoutCancel(ctx), w.n.files, w.n.files.Name(w.parts...))
}

// keep makes the outputs durable, and the document, which names them, after
// them. It returns the digest of the document.
func (w *workplace) keep(ctx context.Context, study string, doc *result.Document) (digest string, err error) {
	var files []objects.Named
	if !w.inPlace {
		names := map[string]string{} // by file
		err := filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			rel, err := filepath.Rel(w.dir, path)
			if err != nil {
				return err
			}
			name, err := w.n.files.NameOf(path, append(append([]string{}, w.parts...), strings.Split(filepath.ToSlash(rel), "/")...)...)
			names[path] = name
			files = append(files, objects.Named{Name: name, File: path})
			return err
		})
		if err != nil {
			return "", err
		}
		for i := range doc.Studies {
			for k := range doc.Studies[i].Outputs {
				if name, ok := names[doc.Studies[i].Outputs[k].File]; ok {
					doc.Studies[i].Outputs[k].File = name
				}
			}
		}
	}
	b, err := doc.Encode()
	if err != nil {
		return "", fmt.Errorf("encode result: %w", err)
	}
	if w.inPlace {
		if err := os.WriteFile(filepath.Join(w.dir, resultFile), b, 0o640); err != nil {
			return "", err
		}
		return result.Digest(b), syncTree(w.dir)
	}
	// Not while what an earlier study under this UID has left is being removed.
	unlock, err := w.n.studies.Lock(ctx, studyFolder(study))
	if err != nil {
		return "", err
	}
	defer unlock()
	if err := w.n.files.AdoptAll(ctx, files); err != nil {
		return "", err
	}
	return result.Digest(b), objects.PutBytes(ctx, w.n.files, w.n.files.Name(append(append([]string{}, w.parts...), resultFile)...), b)
}

// syncTree makes the files of a directory durable, and their names.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
}
