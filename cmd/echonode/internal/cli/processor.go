package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/instance"
	"github.com/echonode/echonode/pipeline"
	"github.com/echonode/echonode/pipeline/kept"
	"github.com/echonode/echonode/pipeline/node"
	"github.com/echonode/echonode/pipeline/objects"
	"github.com/echonode/echonode/pipeline/output"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/pipeline/store"
	"github.com/echonode/echonode/sr"
)

// processor lets the node analyse with the pipeline.
type processor struct {
	analyzer  *pipeline.Analyzer
	forms     []form // the first is the usual one
	loopBasis string // see node.Processor
	madeBasis string // of a study's outputs, beside its loops' results
}

// form is how outputs are made for some destinations.
type form struct {
	names     []string // of the destinations; "" is all that have no form of their own
	o         output.Options
	drawBasis string // of what is drawn of a loop, beside its result
	madeBasis string // of the rest
}

func newProcessor(a *pipeline.Analyzer, forms []form) (*processor, error) {
	p := &processor{analyzer: a, forms: forms, loopBasis: a.Basis()}
	basis := []any{p.loopBasis}
	for i := range p.forms {
		f := &p.forms[i]
		var err error
		if f.drawBasis, err = kept.Digest(f.o.OfLoop()); err != nil {
			return nil, err
		}
		if f.madeBasis, err = kept.Digest([]any{p.loopBasis, f.o}); err != nil {
			return nil, err
		}
		basis = append(basis, f.o)
		if i > 0 {
			basis = append(basis, f.names)
		}
	}
	var err error
	p.madeBasis, err = kept.Digest(basis)
	return p, err
}

// own reports whether outputs are made for a destination in a form of its own.
func (p *processor) own(destination string) bool {
	return slices.ContainsFunc(p.forms, func(f form) bool { return slices.Contains(f.names, destination) })
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
	path, err := req.Objects.File(ctx, req.Path)
	if err != nil {
		return node.Seen{}, err
	}
	key, err := kept.Key(path, p.loopBasis+" "+req.SOPInstanceUID)
	if err != nil {
		return node.Seen{}, err
	}
	l, err := req.Kept.Load(ctx, key)
	if errors.Is(err, kept.ErrNotKept) {
		if l, err = p.analyzer.Loop(ctx, path, req.Sender); err != nil {
			return node.Seen{}, err
		}
		l.File, l.Number = req.Path, req.Number
		err = req.Kept.Save(ctx, key, l)
	}
	if err != nil {
		return node.Seen{}, err
	}
	seen := node.Seen{Key: key, Problem: passing(l)}
	for _, f := range p.forms {
		if l.Status != result.Analysed || f.o.Overlay != "all" || err != nil {
			continue
		}
		if _, err = p.draw(ctx, req, key, l, f); output.Undrawable(ctx, err) {
			seen.Problem, err = err.Error(), nil
		}
	}
	if seen.Problem != "" && err == nil {
		err = req.Kept.Remove(ctx, key) // another attempt starts afresh
		if err == nil {
			seen.Key = key + "-once"
			err = req.Kept.Save(ctx, seen.Key, l)
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

// draw makes what is drawn of a loop, unless that is kept.
func (p *processor) draw(ctx context.Context, req node.LoopRequest, key string, l *result.Loop, f form) ([]result.Output, error) {
	return req.Kept.Draw(ctx, key, f.drawBasis, func(dir string) ([]result.Output, error) {
		s := &result.Study{StudyInstanceUID: req.StudyInstanceUID, Loops: []result.Loop{*l}}
		sources := output.Files{Paths: map[string]string{l.SOPInstanceUID: req.Path}, Find: req.Objects.File, Limits: p.analyzer.Limits()}
		return output.Draw(ctx, s, 0, sources, dir, f.o)
	})
}

// GiveUp implements node.Processor.
func (p *processor) GiveUp(ctx context.Context, req node.LoopRequest, why string) (string, error) {
	r := result.Reasonf(result.InternalError, "%s", why)
	key, err := kept.Digest([]string{req.SOPInstanceUID, why})
	if err != nil {
		return "", err
	}
	key += "-given-up"
	return key, req.Kept.Save(ctx, key, &result.Loop{SOPInstanceUID: req.SOPInstanceUID, SOPClassUID: req.SOPClassUID, SeriesInstanceUID: req.SeriesInstanceUID,
		File: req.Path, Number: req.Number, Status: result.Failed, Reason: &r})
}

// Process implements node.Processor.
func (p *processor) Process(ctx context.Context, req node.Request) (*result.Document, error) {
	loops := make([]result.Loop, len(req.Loops))
	for i, r := range req.Loops {
		l, err := r.Kept.Load(ctx, req.Keys[i])
		if err != nil {
			return nil, err
		}
		l.File = r.Path
		loops[i] = *l
	}
	study := p.analyzer.Combine(req.StudyInstanceUID, loops)
	study.RemovedBefore = req.RemovedBefore
	var err error
	study.Outputs, err = p.write(ctx, &study.Study, req.Objects, req.Dir, req.Predecessor, req.Own, func(f form, o *output.Options) error {
		o.Revision = req.Revision
		drawn := make([][]result.Output, len(study.Loops))
		group, drawing := errgroup.WithContext(ctx)
		group.SetLimit(p.analyzer.Places().Size())
		for i := range study.Loops {
			if l := &study.Loops[i]; output.Wanted(&study.Study, l, *o) {
				group.Go(func() (err error) {
					if drawn[i], err = p.draw(drawing, req.Loops[i], req.Keys[i], l, f); output.Undrawable(drawing, err) {
						drawn[i], err = output.LeftOut(l, *o, err), nil
					}
					return err
				})
			}
		}
		if err := group.Wait(); err != nil {
			return err
		}
		for i := range study.Loops {
			if l := &study.Loops[i]; output.Wanted(&study.Study, l, *o) {
				o.Drawn[l.SOPInstanceUID] = drawn[i]
			}
		}
		if len(req.Loops) > 0 {
			o.Keep = func(key string, make func(string) ([]result.Output, error)) ([]result.Output, error) {
				return req.Loops[0].Kept.Draw(ctx, "page-"+key, f.madeBasis, make)
			}
		}
		return nil
	})
	if err != nil {
		return nil, unmakeable(err)
	}
	return p.analyzer.Document(study), nil
}

// unmakeable tells the node which errors of making outputs no time mends.
func unmakeable(err error) error {
	if errors.Is(err, sr.ErrReport) {
		return &node.UnmakeableError{Err: err}
	}
	return err
}

// write makes the outputs of a study in every form. prepare completes the
// options of one, and lists what has been drawn already. An object that is the
// same in several forms is listed once.
func (p *processor) write(ctx context.Context, s *result.Study, hold *objects.Hold, dir string, usual *store.Output, own map[string]*store.Output,
	prepare func(f form, o *output.Options) error) ([]result.Output, error) {
	var all []result.Output
	at := map[string]int{} // by SOP Instance UID
	for i, f := range p.forms {
		o := f.o
		o.Drawn = map[string][]result.Output{}
		if err := prepare(f, &o); err != nil {
			return nil, err
		}
		predecessor, d := usual, dir
		if i > 0 {
			if former := own[f.names[0]]; former != nil {
				predecessor = former
			}
			d = filepath.Join(dir, "for-"+f.names[0])
			if err := os.Mkdir(d, 0o750); err != nil {
				return nil, err
			}
		}
		if predecessor != nil {
			o.Predecessor = &instance.Ref{StudyUID: s.StudyInstanceUID, SeriesUID: predecessor.SeriesInstanceUID,
				SOPClassUID: predecessor.SOPClassUID, SOPInstanceUID: predecessor.SOPInstanceUID}
		}
		made, err := output.Write(ctx, s, sourcesOf(s, hold, p.analyzer.Limits()), d, o)
		if err != nil {
			return nil, err
		}
		for _, m := range made {
			j, there := at[m.SOPInstanceUID]
			if m.SOPInstanceUID == "" || !there {
				if i > 0 {
					m.For = slices.Clone(f.names)
				}
				at[m.SOPInstanceUID] = len(all)
				all = append(all, m)
				continue
			}
			if len(all[j].For) == 0 {
				all[j].For = []string{""}
			}
			all[j].For = append(all[j].For, f.names...)
			if m.File != all[j].File && filepath.Dir(m.File) == d {
				if err := os.Remove(m.File); err != nil {
					return nil, err
				}
			}
		}
	}
	return all, nil
}

// Withdraw implements node.Withdrawer.
func (p *processor) Withdraw(_ context.Context, files []string, path string) (result.Output, error) {
	return output.Withdraw(files, path, p.analyzer.Document().Software, time.Now().Truncate(time.Second), p.forms[0].o)
}

// sourcesOf are the objects that a result names.
func sourcesOf(s *result.Study, hold *objects.Hold, limits dicomio.Limits) output.Sources {
	f := output.FilesOf(s, limits)
	f.Find = hold.File
	return f
}
