package cli

import (
	"context"
	"slices"
	"time"

	"github.com/echonode/echonode/pipeline/node"
	"github.com/echonode/echonode/pipeline/output"
	"github.com/echonode/echonode/pipeline/result"
)

// Reissue implements node.Reissuer. What was drawn of loops that the reader left
// as they were is not drawn again.
func (p *processor) Reissue(ctx context.Context, req node.ReissueRequest) error {
	s := &req.Document.Studies[0]
	drawn := s.Outputs
	s.Outputs = nil
	if req.Silent {
		return nil
	}
	for i := range s.Loops {
		s.Loops[i].File = req.Files[s.Loops[i].SOPInstanceUID]
	}
	s.Run.Time = time.Now().Truncate(time.Second)
	if s.Review != nil {
		s.Run.Time = s.Review.Time
	}
	var err error
	s.Outputs, err = p.write(ctx, s, req.Objects, req.Dir, req.Predecessor, req.Own, func(f form, o *output.Options) error {
		o.Revision = req.Revision
		if s.Review != nil && s.Review.Verdict == result.Rejected {
			o.Overlay, o.Segmentation = "none", false
		}
		for i := range s.Loops {
			l := &s.Loops[i]
			if l.CorrectedByReader() {
				continue
			}
			for _, d := range drawn {
				if d.Source == l.SOPInstanceUID && (f.names[0] == "" && d.Usual() || slices.Contains(d.For, f.names[0])) {
					d.For = nil
					o.Drawn[l.SOPInstanceUID] = append(o.Drawn[l.SOPInstanceUID], d)
				}
			}
		}
		return nil
	})
	return err
}
