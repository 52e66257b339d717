package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/echonode/echonode/pipeline/measure"
	"github.com/echonode/echonode/pipeline/result"
)

// Study is an analysed study.
type Study struct {
	result.Study
}

// Progress is called after each loop of a study, in the order in which they
// are finished.
type Progress func(done, total int, l *result.Loop)

// Analyze analyses the objects of one study. Objects that cannot be used are
// in the result with their reason; the error is the context's or the engine's.
func (a *Analyzer) Analyze(ctx context.Context, paths []string, progress Progress) (*Study, error) {
	return a.Begin(ctx, paths, progress)()
}

// Begin begins what Analyze does, and returns when all objects of the study are
// done or under analysis: then there is room for another study's, which so keeps
// the engine busy to the end of this one. wait gives what Analyze returns. It
// must be called.
func (a *Analyzer) Begin(ctx context.Context, paths []string, progress Progress) (wait func() (*Study, error)) {
	s := &Study{}
	s.Run = a.run()
	loops := make([]*loop, len(paths))
	group, working := errgroup.WithContext(ctx)
	var mu sync.Mutex
	done := 0
	for i, path := range paths {
		if a.flow.open.Acquire(working, 1) != nil {
			break // an object broke the engine, or the caller's context ended
		}
		group.Go(func() error {
			defer a.flow.open.Release(1)
			l, err := a.analyse(working, path, "")
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			loops[i] = l
			mu.Lock()
			defer mu.Unlock()
			done++
			if progress != nil {
				progress(done, len(paths), &l.Loop)
			}
			return nil
		})
	}
	return func() (*Study, error) {
		err := group.Wait()
		if err == nil && slices.Contains(loops, nil) { // not all have begun
			err = context.Cause(ctx)
		}
		if err != nil {
			return nil, err
		}
		for _, l := range loops {
			if s.StudyInstanceUID == "" {
				s.StudyInstanceUID = l.facts.StudyUID
			}
			s.Loops = append(s.Loops, l.Loop)
		}
		setDerivedAside(s.Loops)
		measure.Study(&s.Study, a.measuring())
		return s, nil
	}
}

// Loop analyses one object. Where objects of several parties are analysed at a
// time, their frames take turns, party by party. What is wrong with it is in the result; the error is
// the context's or the engine's, and would be the same for other objects.
func (a *Analyzer) Loop(ctx context.Context, path, party string) (*result.Loop, error) {
	l, err := a.analyse(ctx, path, party)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	run := a.run()
	l.Run = &run
	return &l.Loop, nil
}

// Loops is how many objects at a time keep the engine busy.
func (a *Analyzer) Loops() int { return a.flow.loops() }

// Combine makes a study of loops that were analysed before.
func (a *Analyzer) Combine(studyInstanceUID string, loops []result.Loop) *Study {
	s := &Study{Study: result.Study{StudyInstanceUID: studyInstanceUID, Run: a.run(), Loops: loops}}
	setDerivedAside(s.Loops)
	measure.Study(&s.Study, a.measuring())
	return s
}

// run says when and by what the analysis at hand is made.
func (a *Analyzer) run() result.Run {
	return result.Run{Time: time.Now().Truncate(time.Second).Round(0), Software: a.opt.Software, Model: a.Model()}
}

// Basis stands for all that the result of a loop depends on beside its object:
// program, network and settings. Results under different bases may differ.
func (a *Analyzer) Basis() string {
	o := a.opt
	b, err := json.Marshal([]any{o.Software, a.engine.Card().SHA256, o.MaxFrames, o.MaxPixels, o.Mirrored, o.LV})
	if err != nil {
		panic(err) // numbers and names
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:10])
}

// Document wraps analysed studies for output.
func (a *Analyzer) Document(studies ...*Study) *result.Document {
	d := &result.Document{Schema: result.Schema, Created: time.Now().UTC().Truncate(time.Second), Software: a.opt.Software,
		Model: a.Model(), Notice: result.Notice, Studies: []result.Study{}}
	for _, s := range studies {
		d.Studies = append(d.Studies, s.Study)
	}
	return d
}
