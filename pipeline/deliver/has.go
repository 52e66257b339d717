package deliver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/scp"
)

// How long an archive may take to say what it has, and how many matches of a query for
// one object may be others: the queue of the destination waits for it.
const (
	hasFor    = 5 * time.Minute
	hasOthers = 100
)

// Has asks an archive by C-FIND (Study Root, level IMAGE) which of some files'
// objects it has, by SOP Instance UID. It is for objects that were sent and
// whose answer was lost. An archive that offers no query says nothing: the map
// is empty, and they are sent again, which is no fault, only a second copy
// where an archive keeps one. What cannot be identified, or asked for, does not keep it
// from saying what it has of the others; the error tells of it.
func Has(ctx context.Context, d *scp.Dialer, addr string, paths []string) (map[string]bool, error) {
	contexts := []scp.PresentationContext{{AbstractSyntax: uid.StudyRootQueryRetrieveInformationModelFind,
		TransferSyntaxes: []string{uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian}}}
	ctx, cancel := context.WithTimeout(ctx, hasFor)
	defer cancel()
	c, err := d.Dial(ctx, addr, contexts)
	if err != nil {
		return nil, err
	}
	defer c.Abort() // after Release it does nothing
	there := map[string]bool{}
	if c.Accepts(uid.StudyRootQueryRetrieveInformationModelFind, "") != nil {
		return there, c.Release(ctx)
	}
	ids, problems := identify(ctx, paths)
	for _, id := range ids {
		keys := dicomio.NewDataSet().SetString(tag.QueryRetrieveLevel, "IMAGE").SetString(tag.StudyInstanceUID, id.StudyInstanceUID).
			SetString(tag.SeriesInstanceUID, id.SeriesInstanceUID).SetString(tag.SOPInstanceUID, id.SOPInstanceUID)
		ask := func(syntax string) ([]byte, error) {
			var b bytes.Buffer
			err := dicomio.Write(&b, keys, dicomio.WriteOptions{TransferSyntax: syntax, Bare: true})
			return b.Bytes(), err
		}
		// A match is looked at: an archive may ignore a key that it does not know, and
		// list all that it has.
		others := 0
		err := c.Find(ctx, uid.StudyRootQueryRetrieveInformationModelFind, ask, func(syntax string, data []byte) error {
			match, err := dicomio.Identify(ctx, bytes.NewReader(data), int64(len(data)), dicomio.Options{TransferSyntax: syntax})
			if err != nil {
				return fmt.Errorf("a match of %s: %w", id.SOPInstanceUID, err)
			}
			if match.SOPInstanceUID != id.SOPInstanceUID {
				if others++; others >= hasOthers {
					return scp.ErrEnough
				}
				return nil
			}
			there[id.SOPInstanceUID] = true
			return scp.ErrEnough
		})
		problems = errors.Join(problems, err)
		if err != nil && !errors.As(err, new(*scp.StatusError)) {
			return there, problems // the association is over
		}
	}
	return there, errors.Join(problems, c.Release(ctx))
}

// identify says whose objects files hold, and why of some nobody can tell.
func identify(ctx context.Context, paths []string) (ids []dicomio.Identity, problems error) {
	for _, path := range paths {
		id, err := dicomio.IdentifyFile(ctx, path, dicomio.Options{})
		if err != nil {
			problems = errors.Join(problems, fmt.Errorf("what to ask for: %w", err))
			continue
		}
		ids = append(ids, id)
	}
	return ids, problems
}
