package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/pipeline"
	"github.com/echonode/echonode/pipeline/kept"
	"github.com/echonode/echonode/pipeline/node"
	"github.com/echonode/echonode/pipeline/output"
	"github.com/echonode/echonode/pipeline/result"
)

// processor lets the node analyse with the pipeline.
type processor struct {
	analyzer  *pipeline.Analyzer
	outputs   output.Options
	loopBasis string // see node.Processor
	drawBasis string // of what is drawn of a loop, beside its result
	madeBasis string // of a study's outputs, beside its loops' results
}

func newProcessor(a *pipeline.Analyzer, o output.Options) (*processor, error) {
	p := &processor{analyzer: a, outputs: o, loopBasis: a.Basis()}
	var err1, err2 error
	p.drawBasis, err1 = kept.Digest(o.OfLoop())
	p.madeBasis, err2 = kept.Digest([]any{p.loopBasis, o})
	return p, errors.Join(err1, err2)
}

// Basis implements node.Processor.
func (p *processor) Basis() (loop, outputs string) { return p.loopBasis, p.madeBasis }

// Loops implements node.Processor: some more than keep the engine busy, so that
// it has work while results are made durable.
func (p *processor) Loops() int { return p.analyzer.Loops() + writing }

// writing is how many loops may wait for the disk.
const writing = 4

// Look implements node.Processor: it analyses an object unless its result is
// kept, and draws it if every analysed loop is drawn.
func (p *processor) Look(ctx context.Context, req node.LoopRequest) (node.Seen, error) {
	key, err := kept.Key(req.Path, p.loopBasis+" "+req.SOPInstanceUID)
	if err != nil {
		return node.Seen{}, err
	}
	l, err := req.Kept.Load(key)
	if errors.Is(err, kept.ErrNotKept) {
		if l, err = p.analyzer.Loop(ctx, req.Path); err != nil {
			return node.Seen{}, err
		}
		l.Number = req.Number
		err = req.Kept.Save(key, l)
	}
	if err != nil {
		return node.Seen{}, err
	}
	seen := node.Seen{Key: key, Problem: passing(l)}
	if l.Status == result.Analysed && p.outputs.Overlay == "all" {
		if _, err = p.draw(ctx, req, key, l); undrawable(err) {
			seen.Problem, err = err.Error(), nil
		}
	}
	if seen.Problem != "" && err == nil {
		err = req.Kept.Remove(key) // another attempt starts afresh
		if err == nil {
			seen.Key = key + "-once"
			err = req.Kept.Save(seen.Key, l)
		}
	}
	return seen, err
}

// passing says why the result of a loop may be another one next time.
func passing(l *result.Loop) string {
	if l.Reason != nil && (l.Reason.Code == result.TimeLimit || l.Reason.Code == result.InternalError) {
		return l.Reason.Text
	}
	return ""
}

// undrawable reports whether a loop cannot be drawn because of its object.
func undrawable(err error) bool {
	var damaged *dicomio.Error
	return errors.As(err, &damaged)
}

// draw makes what is drawn of a loop, unless that is kept.
func (p *processor) draw(ctx context.Context, req node.LoopRequest, key string, l *result.Loop) ([]result.Output, error) {
	return req.Kept.Draw(key, p.drawBasis, func(dir string) ([]result.Output, error) {
		s := &result.Study{StudyInstanceUID: req.StudyInstanceUID, Loops: []result.Loop{*l}}
		sources := output.Files{Paths: map[string]string{l.SOPInstanceUID: req.Path}, Limits: p.analyzer.Limits()}
		return output.Draw(ctx, s, 0, sources, dir, p.outputs)
	})
}

// GiveUp implements node.Processor.
func (p *processor) GiveUp(_ context.Context, req node.LoopRequest, why string) (string, error) {
	r := result.Reasonf(result.InternalError, "%s", why)
	key, err := kept.Digest([]string{req.SOPInstanceUID, why})
	if err != nil {
		return "", err
	}
	key += "-given-up"
	return key, req.Kept.Save(key, &result.Loop{SOPInstanceUID: req.SOPInstanceUID, SOPClassUID: req.SOPClassUID, SeriesInstanceUID: req.SeriesInstanceUID,
		File: req.Path, Number: req.Number, Status: result.Failed, Reason: &r})
}

// Process implements node.Processor.
func (p *processor) Process(ctx context.Context, req node.Request) (*result.Document, error) {
	loops := make([]result.Loop, len(req.Loops))
	for i, r := range req.Loops {
		l, err := r.Kept.Load(req.Keys[i])
		if err != nil {
			return nil, err
		}
		l.File = r.Path
		loops[i] = *l
	}
	study := p.analyzer.Combine(req.StudyInstanceUID, loops)
	o := p.outputs
	o.Revision, o.Drawn = req.Revision, map[string][]result.Output{}
	for i := range study.Loops {
		l := &study.Loops[i]
		if !output.Wanted(&study.Study, l, o) {
			continue
		}
		drawn, err := p.draw(ctx, req.Loops[i], req.Keys[i], l)
		if err != nil && !undrawable(err) {
			return nil, err
		}
		o.Drawn[l.SOPInstanceUID] = drawn
	}
	if len(req.Loops) > 0 {
		o.Keep = func(key string, make func(string) ([]result.Output, error)) ([]result.Output, error) {
			return req.Loops[0].Kept.Draw("page-"+key, p.madeBasis, make)
		}
	}
	var err error
	if req.Predecessor != nil {
		if o.Predecessor, err = output.Reference(req.Predecessor.Path); err != nil {
			return nil, fmt.Errorf("predecessor: %w", err)
		}
	}
	if study.Outputs, err = output.Write(ctx, &study.Study, output.FilesOf(&study.Study, p.analyzer.Limits()), req.Dir, o); err != nil {
		return nil, err
	}
	return p.analyzer.Document(study), nil
}
