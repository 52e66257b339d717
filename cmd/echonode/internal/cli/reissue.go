package cli

import (
	"context"
	"fmt"
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
	o := p.outputs
	o.Revision, o.Drawn = req.Revision, map[string][]result.Output{}
	drawn := s.Outputs
	s.Outputs = nil
	if req.Silent {
		return nil
	}
	for i := range s.Loops {
		l := &s.Loops[i]
		l.File = req.Files[l.SOPInstanceUID]
		if l.CorrectedByReader() {
			continue
		}
		if made := slices.DeleteFunc(slices.Clone(drawn), func(d result.Output) bool { return d.Source != l.SOPInstanceUID }); len(made) > 0 {
			o.Drawn[l.SOPInstanceUID] = made
		}
	}
	if s.Review != nil && s.Review.Verdict == result.Rejected {
		o.Overlay, o.Segmentation = "none", false
	}
	var err error
	if req.Predecessor != nil {
		if o.Predecessor, err = output.Reference(req.Predecessor.Path); err != nil {
			return fmt.Errorf("predecessor: %w", err)
		}
	}
	s.Run.Time = time.Now().Truncate(time.Second)
	if s.Review != nil {
		s.Run.Time = s.Review.Time
	}
	s.Outputs, err = output.Write(ctx, s, output.FilesOf(s, p.analyzer.Limits()), req.Dir, o)
	return err
}
