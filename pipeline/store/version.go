package store

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Version names what is recorded of an object, and says nothing of it. UIDs and
// paths are used again, by another version or after a removal by somebody else's
// object: what is kept of an object beyond one request is kept by its version.
func (in Instance) Version() string {
	return version(in.SOPInstanceUID, in.Path, in.Sum, in.Size, in.Corrections, in.Received.UnixMilli())
}

// Version names a finished run, as Instance.Version does an object: after a
// removal a study has its revisions again.
func (r Run) Version() string {
	return version(r.ID, r.StudyInstanceUID, r.Revision, r.Started.UnixMilli(), r.Finished.UnixMilli(), r.Directory, r.Summary)
}

func version(parts ...any) string {
	h := sha256.New()
	for _, p := range parts {
		s := fmt.Sprint(p)
		fmt.Fprintf(h, "%d:%s", len(s), s) // a hash takes everything
	}
	return hex.EncodeToString(h.Sum(nil)[:12])
}
