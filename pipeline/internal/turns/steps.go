package turns

import "context"

// Steps is a piece of work in steps, each of which waits for its turn. It is
// used by one goroutine at a time.
type Steps struct {
	places *Places // nil: no step waits
	party  string
	work   Work
	turn   Turn
	has    bool
}

type key struct{}

// With returns a context in which [Begin] begins work for a party.
func With(ctx context.Context, p *Places, party string, work Work) context.Context {
	return context.WithValue(ctx, key{}, Steps{places: p, party: party, work: work})
}

// Begin begins a piece of work on the places of the context, for the party of
// the context. Without any, no step waits.
func Begin(ctx context.Context) *Steps {
	s, _ := ctx.Value(key{}).(Steps)
	return &s
}

// Next ends the step before, if there is one, and waits for the turn of the
// next. The error is the context's; then no step has begun.
func (s *Steps) Next(ctx context.Context) (err error) {
	if s.places == nil {
		return context.Cause(ctx)
	}
	s.End()
	s.turn, err = s.places.Take(ctx, s.party, s.work)
	s.has = err == nil
	return err
}

// End ends the step, as before waiting for something else, and at the end of
// the work. It may be called without one.
func (s *Steps) End() {
	if s.has {
		s.has = false
		s.turn.Done()
	}
}
