package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// resident is the resident memory of a process, bytes.
func resident(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return n << 10, err
		}
	}
	return 0, errors.New("no VmRSS")
}

func (b *bench) memory() error {
	file, err := b.cineFile()
	if err != nil {
		return err
	}
	n, err := b.node("memory")
	if err != nil {
		return err
	}
	if err := b.send(n, file); err != nil {
		return err
	}
	time.Sleep(3 * time.Second)
	before, err := resident(n.cmd.Process.Pid)
	if err != nil {
		return err
	}
	var peak int64
	done, watching := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watching)
		for {
			if v, err := resident(n.cmd.Process.Pid); err == nil {
				peak = max(peak, v)
			}
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	const readers = 20
	var wg sync.WaitGroup
	failed := make(chan error, readers)
	for range readers {
		wg.Go(func() {
			if err := read(n); err != nil {
				failed <- err
			}
		})
	}
	wg.Wait()
	settled, err := resident(n.cmd.Process.Pid)
	close(done)
	<-watching
	select {
	case err := <-failed:
		return err
	default:
	}
	if err != nil {
		return err
	}
	mb := func(v int64) float64 { return float64(v) / (1 << 20) }
	fmt.Printf("Memory of the node, %d readers who sign in, open the study and all %d frames of its loop at once: "+
		"%.0f MiB before, %.0f MiB at most (%+.0f), %.0f MiB at the end (%+.0f).\n\n",
		readers, frames, mb(before), mb(peak), mb(peak-before), mb(settled), mb(settled-before))
	return nil
}

// read is one reader: signs in, opens worklist, study and loop, and gets every
// frame.
func read(n *node) error {
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.PostForm(n.page+"/login", url.Values{"name": {user}, "password": {password}})
	if err != nil {
		return err
	}
	_ = res.Body.Close()
	if len(res.Cookies()) == 0 {
		return fmt.Errorf("sign-in: %s", res.Status)
	}
	cookie := res.Cookies()[0]
	get := func(path string) error {
		req, err := http.NewRequest(http.MethodGet, n.page+path, nil)
		if err != nil {
			return err
		}
		req.AddCookie(cookie)
		res, err := client.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", path, res.Status)
		}
		_, err = io.Copy(io.Discard, res.Body)
		return err
	}
	loop := "/study/" + studyUID + "/loop/" + objectUID
	for _, path := range []string{"/", "/study/" + studyUID, loop, loop + "/data"} {
		if err := get(path); err != nil {
			return err
		}
	}
	for i := range frames {
		if err := get(fmt.Sprintf("%s/frame/%d", loop, i)); err != nil {
			return err
		}
	}
	return nil
}
