package cli

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
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
			// The reader may be slow, so that some of these are lost too.
			tried := 0
			for ; tried == 0 || out.lost > 0; tried++ {
				slog.New(form(out)).Info("read again")
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			whole, again, said := 0, 0, 0
			for i, l := range <-lines {
				if strings.HasPrefix(l, fmt.Sprintf("%d ", i)) && strings.HasSuffix(l, " "+line) {
					whole++
				}
				if strings.Contains(l, "read again") {
					again++
				}
				if _, n, ok := strings.Cut(l, "nobody read them\" lines="); ok {
					k, err := strconv.Atoi(n)
					if err != nil {
						t.Fatal(err)
					}
					said += k
				}
			}
			if whole == 0 || again == 0 || said != lost+tried-again {
				t.Errorf("%d whole lines; %d lost at first and %d of %d later, %d said", whole, lost, tried-again, tried, said)
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
