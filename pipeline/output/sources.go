package output

import (
	"context"
	"fmt"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/pipeline/result"
)

// Sources opens the objects that a study was made from.
type Sources interface {
	// Open opens the object with a SOP Instance UID. The caller closes it; what
	// is done with it until then ends with ctx.
	Open(ctx context.Context, sopInstanceUID string) (*dicomio.File, error)
}

// Files are sources on disk, by SOP Instance UID.
type Files struct {
	Paths map[string]string
	// Find gives the file at a path, where that is the name of an object; nil:
	// paths are files.
	Find   func(ctx context.Context, path string) (file string, err error)
	Limits dicomio.Limits
}

// FilesOf are the files that a result names.
func FilesOf(s *result.Study, limits dicomio.Limits) Files {
	f := Files{Paths: map[string]string{}, Limits: limits}
	for _, l := range s.Loops {
		if _, twice := f.Paths[l.SOPInstanceUID]; !twice && l.SOPInstanceUID != "" {
			f.Paths[l.SOPInstanceUID] = l.File
		}
	}
	return f
}

// Open implements [Sources].
func (f Files) Open(ctx context.Context, uid string) (*dicomio.File, error) {
	path, ok := f.Paths[uid]
	if !ok {
		return nil, fmt.Errorf("no file of object %s", uid)
	}
	if f.Find != nil {
		var err error
		if path, err = f.Find(ctx, path); err != nil {
			return nil, err
		}
	}
	return dicomio.OpenContext(ctx, path, dicomio.Options{Limits: f.Limits})
}
