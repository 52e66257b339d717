package cli

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"
)

// Who reads the log and stops reading holds nobody up; when he reads again he is
// told how many lines he missed, and has every other one.
func TestLogThatNobodyReads(t *testing.T) {
	for _, long := range []int{10, 20000} { // in one page, in several
		t.Run(fmt.Sprint(long), func(t *testing.T) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			form := func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, nil) }
			out, ok := logTo(w, form).(*readable)
			if !ok {
				t.Fatal("a pipe has a reader")
			}
			out.wait = 10 * time.Millisecond
			const written = 20000
			line := strings.Repeat("x", long)
			for i := range written {
				if n, err := fmt.Fprintf(out, "%d %s\n", i, line); err != nil || n == 0 {
					t.Fatal(n, err)
				}
				if long > 1000 && i > 20 {
					break
				}
			}
			lost := out.lost
			if lost == 0 {
				t.Fatal("all found room in a pipe that nobody reads")
			}
			lines := make(chan []string)
			go func() {
				var all []string
				in := bufio.NewScanner(r)
				for in.Scan() {
					all = append(all, in.Text())
				}
				lines <- all
			}()
			for deadline := time.Now().Add(time.Minute); !out.room(0) && time.Now().Before(deadline); {
			}
			slog.New(form(out)).Info("read again")
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			all := <-lines
			whole := 0
			for i, l := range all[:len(all)-2] {
				if strings.HasPrefix(l, fmt.Sprintf("%d ", i)) && strings.HasSuffix(l, " "+line) {
					whole++
				}
			}
			said, last := all[len(all)-2], all[len(all)-1]
			if !strings.Contains(said, fmt.Sprintf("lines=%d", lost)) || !strings.Contains(last, "read again") || whole == 0 || whole < len(all)-3 {
				t.Errorf("%d lines, %d of them whole, %d lost; then %q, %q", len(all), whole, lost, said[:min(len(said), 200)], last[:min(len(last), 200)])
			}
		})
	}
}

// A file waits for nobody.
func TestLogInAFile(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if logTo(f, nil) != io.Writer(f) {
		t.Error("a file is written otherwise")
	}
}
