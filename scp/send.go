package scp

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// ObjectSource is an object to send. Header is asked for first, to propose
// presentation contexts; Open when the object's turn comes, and the object is
// closed after it. The UIDs of both must agree.
type ObjectSource interface {
	Header() (ObjectHeader, error)
	Open() (Object, error)
}

// Convertible is an ObjectSource that can give its object in other transfer
// syntaxes too, without loss. Alternatives names them in order of preference;
// they are proposed beside the object's own syntax, and used when the peer does
// not take that one. OpenAs gives the object in one of them, under the same UID.
type Convertible interface {
	ObjectSource
	Alternatives() ([]string, error)
	OpenAs(transferSyntax string) (Object, error)
}

// ObjectHeader is what has to be known of an object before an association.
type ObjectHeader struct {
	SOPClassUID, SOPInstanceUID, TransferSyntaxUID string
}

// FileSource is an ObjectSource for a DICOM Part 10 file.
type FileSource string

// Header implements ObjectSource.
func (f FileSource) Header() (ObjectHeader, error) {
	o, err := f.Open()
	if err != nil {
		return ObjectHeader{}, err
	}
	return ObjectHeader{o.SOPClassUID, o.SOPInstanceUID, o.TransferSyntaxUID}, o.Close()
}

// Open implements ObjectSource.
func (f FileSource) Open() (Object, error) { return FileObject(string(f)) }

// SendResult is what became of one object of SendAll. With Err nil the peer
// has stored it, perhaps with a warning. Err is a *StatusError when the peer
// refused the object, a *ContextError when it takes no such class and syntax,
// otherwise an error of the source or of the association.
type SendResult struct {
	Header ObjectHeader
	Sent   string // the transfer syntax used, "" when nothing was sent
	Result StoreResult
	Err    error
}

// ContextsFor lists one presentation context for each pair of SOP class and
// transfer syntax among headers, in order of appearance.
func ContextsFor(headers []ObjectHeader) []PresentationContext {
	seen := make(map[[2]string]bool)
	var out []PresentationContext
	for _, h := range headers {
		key := [2]string{h.SOPClassUID, h.TransferSyntaxUID}
		if !seen[key] {
			seen[key] = true
			out = append(out, PresentationContext{h.SOPClassUID, []string{h.TransferSyntaxUID}})
		}
	}
	return out
}

// SendAll sends every source in its own transfer syntax, or where the peer does
// not take that in the first of its alternatives that it takes (see
// Convertible), and returns one result for each, in the order of sources. Objects are grouped so that no association
// needs more than 128 presentation contexts. When an association fails, a new
// one takes the objects that follow; after two failures without an answer in between,
// or when the peer cannot be reached any more, the rest is not tried: ErrNotTried with
// why. Where the peer was not reached at all, each has that error. done, when not
// nil, is called after each object. The error is that of ctx.
func (d *Dialer) SendAll(ctx context.Context, addr string, sources []ObjectSource, done func(i int, r SendResult)) ([]SendResult, error) {
	s := &sender{d: d, addr: addr, sources: sources, results: make([]SendResult, len(sources)), done: done}
	for _, group := range s.groups() {
		s.send(ctx, group)
	}
	return s.results, ctx.Err()
}

// ErrNotTried says that an object was not sent, for what happened to those before it
// or since the sending was ended.
var ErrNotTried = errors.New("scp: not tried")

// sender is the state of one SendAll.
type sender struct {
	d        *Dialer
	addr     string
	sources  []ObjectSource
	results  []SendResult
	done     func(int, SendResult)
	failures int   // associations lost since the last answer
	tried    bool  // an object was sent, or it was begun
	fatal    error // set when no further association is tried: what the rest has
}

// sendGroup is what one association carries.
type sendGroup struct {
	contexts []PresentationContext
	has      map[[2]string]bool // class and syntax
	indices  []int
}

func (s *sender) finish(i int, err error) {
	s.results[i].Err = err
	if s.done != nil {
		s.done(i, s.results[i])
	}
}

// groups assigns sources to associations: one presentation context for each
// class and syntax, alternatives included. Sources without a header fail here.
func (s *sender) groups() []*sendGroup {
	var groups []*sendGroup
	for i, src := range s.sources {
		h, err := src.Header()
		syntaxes := []string{h.TransferSyntaxUID}
		if c, ok := src.(Convertible); ok && err == nil {
			var more []string
			more, err = c.Alternatives()
			syntaxes = append(syntaxes, more...)
		}
		if err != nil {
			s.finish(i, err)
			continue
		}
		s.results[i].Header = h
		k := slices.IndexFunc(groups, func(g *sendGroup) bool { return g.room(h.SOPClassUID, syntaxes) })
		if k < 0 {
			groups, k = append(groups, &sendGroup{has: make(map[[2]string]bool)}), len(groups)
		}
		groups[k].add(i, h.SOPClassUID, syntaxes)
	}
	return groups
}

// room reports whether contexts for all of the syntaxes fit.
func (g *sendGroup) room(class string, syntaxes []string) bool {
	n := len(g.contexts)
	for _, ts := range syntaxes {
		if !g.has[[2]string{class, ts}] {
			n++
		}
	}
	return n <= maxContexts
}

func (g *sendGroup) add(i int, class string, syntaxes []string) {
	for _, ts := range syntaxes {
		if key := [2]string{class, ts}; !g.has[key] {
			g.has[key] = true
			g.contexts = append(g.contexts, PresentationContext{class, []string{ts}})
		}
	}
	g.indices = append(g.indices, i)
}

// send sends the objects of one group, over further associations if need be.
func (s *sender) send(ctx context.Context, g *sendGroup) {
	var c *Client
	for _, i := range g.indices {
		if s.fatal == nil && ctx.Err() != nil {
			s.fatal = fmt.Errorf("%w: %w", ErrNotTried, ctx.Err())
		}
		if s.fatal == nil && c == nil {
			var err error
			if c, err = s.d.Dial(ctx, s.addr, g.contexts); err != nil {
				if s.fatal = err; s.tried {
					s.fatal = fmt.Errorf("%w: %w", ErrNotTried, err)
				}
			}
		}
		if s.fatal != nil {
			s.finish(i, s.fatal)
			continue
		}
		s.tried = true
		err := s.store(ctx, c, i)
		var status *StatusError
		switch {
		case err == nil, errors.As(err, &status):
			s.failures = 0
		case c.isOver():
			c = nil
			if s.failures++; s.failures == 2 {
				s.fatal = fmt.Errorf("%w: %w", ErrNotTried, err)
			}
		}
		s.finish(i, err)
	}
	if c != nil {
		// Everything was answered: a failing release changes no result.
		c.Release(ctx)
	}
}

func (s *sender) store(ctx context.Context, c *Client, i int) error {
	h := s.results[i].Header
	o, err := s.open(c, i)
	if err != nil {
		return err
	}
	defer o.Close()
	got := ObjectHeader{o.SOPClassUID, o.SOPInstanceUID, h.TransferSyntaxUID}
	if got != h {
		return fmt.Errorf("scp: object changed since its header was read: %v, was %v", got, h)
	}
	if s.results[i].Result, err = c.Store(ctx, o); err == nil {
		s.results[i].Sent = o.TransferSyntaxUID
	}
	return err
}

// open opens the object in its own syntax if the peer takes it, otherwise in
// an alternative that it takes.
func (s *sender) open(c *Client, i int) (Object, error) {
	h := s.results[i].Header
	refused := c.Accepts(h.SOPClassUID, h.TransferSyntaxUID)
	if refused == nil {
		o, err := s.sources[i].Open()
		if err == nil && o.TransferSyntaxUID != h.TransferSyntaxUID {
			err = errors.Join(fmt.Errorf("scp: object changed since its header was read: now %s, was %s", o.TransferSyntaxUID, h.TransferSyntaxUID), o.Close())
		}
		return o, err
	}
	if src, ok := s.sources[i].(Convertible); ok {
		others, err := src.Alternatives()
		if err != nil {
			return Object{}, err
		}
		for _, ts := range others {
			if c.Accepts(h.SOPClassUID, ts) == nil {
				return src.OpenAs(ts)
			}
		}
	}
	return Object{}, refused
}

// isOver reports whether the association has ended.
func (c *Client) isOver() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.over
}
