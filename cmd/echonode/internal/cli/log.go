package cli

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// patientFor is how long a line of the log waits for whoever reads the log.
const patientFor = 2 * time.Second

// readable gives up on a reader of the log who does not read: the node's work does
// not wait for him. Lines without room are lost, and their number is said when
// there is room again. Everything is written at once, so that the last words of a
// process are there however it ends.
type readable struct {
	file *os.File
	wait time.Duration
	form func(io.Writer) slog.Handler // in which the log is written

	mu   sync.Mutex
	lost int  // lines since the last that found room
	torn bool // the first of them is there in part
}

// logTo is where a log is written: w itself if that never waits for a reader.
func logTo(w io.Writer, form func(io.Writer) slog.Handler) io.Writer {
	f, ok := w.(*os.File)
	if !ok {
		return w
	}
	if info, err := f.Stat(); err != nil || info.Mode().IsRegular() {
		return w
	}
	return &readable{file: f, wait: patientFor, form: form}
}

// Write implements io.Writer. A line that is lost is no error: nobody could be
// told.
func (r *readable) Write(line []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	wait := r.wait
	if r.lost > 0 {
		wait = 0 // until a line has gone through at once, nobody waits again
		var b bytes.Buffer
		if r.torn {
			b.WriteByte('\n')
		}
		slog.New(r.form(&b)).Warn("lines of the log were lost: nobody read them", "lines", r.lost)
		if !r.room(0) {
			r.lost++
			return len(line), nil
		}
		if _, err := r.file.Write(b.Bytes()); err != nil {
			return 0, err
		}
		r.lost, r.torn = 0, false
	}
	// What can be written to at all takes a page without waiting (pipe(7)).
	for rest := line; len(rest) > 0; {
		if !r.room(wait) {
			r.lost, r.torn = 1, len(rest) < len(line)
			break
		}
		n, err := r.file.Write(rest[:min(len(rest), os.Getpagesize())])
		if err != nil {
			return 0, err
		}
		rest = rest[n:]
	}
	return len(line), nil
}

// room says whether something can be written now, or within a time. Whatever a
// file is that cannot be asked is written to.
func (r *readable) room(wait time.Duration) bool {
	end := time.Now().Add(wait)
	for {
		fds := []unix.PollFd{{Fd: int32(r.file.Fd()), Events: unix.POLLOUT}}
		n, err := unix.Poll(fds, int(max(time.Until(end), 0).Milliseconds()))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return err != nil || n > 0
	}
}
