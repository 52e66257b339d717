package jobs

import (
	"context"
	"log/slog"
	"sync"
)

// quiet keeps the library's own notes out of the log below warnings, and gives
// its errors to complaints.
func quiet(log *slog.Logger, c *complaints) *slog.Logger {
	return slog.New(quietHandler{log.Handler(), c})
}

type quietHandler struct {
	slog.Handler
	complaints *complaints
}

func (h quietHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && h.Handler.Enabled(ctx, l)
}

func (h quietHandler) Handle(ctx context.Context, rec slog.Record) error {
	if rec.Level < slog.LevelError {
		return h.Handler.Handle(ctx, rec)
	}
	rec = rec.Clone()
	h.complaints.add(func() { _ = h.Handler.Handle(context.WithoutCancel(ctx), rec) })
	return nil
}

func (h quietHandler) WithAttrs(a []slog.Attr) slog.Handler {
	return quietHandler{h.Handler.WithAttrs(a), h.complaints}
}

func (h quietHandler) WithGroup(g string) slog.Handler {
	return quietHandler{h.Handler.WithGroup(g), h.complaints}
}

// maxComplaints is how many errors are held back at once; of more the first.
const maxComplaints = 32

// complaints hold the library's errors back until the next heartbeat, which they
// bring forward. All its parts complain again and again while the database is
// away: that is said once, by the heartbeat that fails, and they are dropped.
type complaints struct {
	wake chan struct{}

	mu   sync.Mutex
	held []func()
}

func newComplaints() *complaints { return &complaints{wake: make(chan struct{}, 1)} }

func (c *complaints) add(say func()) {
	c.mu.Lock()
	if len(c.held) < maxComplaints {
		c.held = append(c.held, say)
	}
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// settle says what is held, or drops it.
func (c *complaints) settle(drop bool) {
	c.mu.Lock()
	held := c.held
	c.held = nil
	c.mu.Unlock()
	if drop {
		return
	}
	for _, say := range held {
		say()
	}
}
