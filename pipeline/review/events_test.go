package review

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/echonode/echonode/pipeline/store"
)

// listen opens the stream of events and returns what gives the next one.
func (b *browser) listen(query string) (next func() string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	b.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.http.URL+"/events"+query, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Cookie", b.cookie)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = res.Body.Close() })
	if res.StatusCode != http.StatusOK {
		b.t.Fatal(res.Status)
	}
	lines := bufio.NewScanner(res.Body)
	return func() string {
		b.t.Helper()
		var event string
		for lines.Scan() {
			if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
				event = name
			}
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				return event + " " + data
			}
		}
		b.t.Fatalf("the stream ended: %v", lines.Err())
		return ""
	}
}

// Open pages hear of changes; one that does not listen is told to look at
// everything.
func TestEvents(t *testing.T) {
	s := newSite(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.server.Run(ctx) }()
	b := s.as("viewer")
	next := b.listen("")
	s.add(sample{study: "1.2.1", loop: "1.2.1.1", name: "Doe", state: store.Receiving})
	if heard := next(); heard != `studies ["1.2.1"]` {
		t.Error(heard)
	}
	c, leave := s.server.hub.subscribe("viewer")
	for i := range cap(c) + 5 {
		s.server.hub.publish([]string{fmt.Sprint(i)})
	}
	all := false
	for range len(c) {
		all = all || len(<-c) == 0
	}
	leave()
	if !all {
		t.Error("a slow page was not told to look at everything")
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// A page hears of what came of its study between being made and listening, and of
// nothing where it is current; without a session it hears that it is signed out.
func TestEventsOfAStudy(t *testing.T) {
	s := newSite(t)
	s.add(sample{study: "1.2.1", loop: "1.2.1.1", name: "Doe", view: "A4C", ef: value(60)})
	b := s.as("viewer")
	for query, want := range map[string]string{
		"?study=1.2.1&run=" + s.last("1.2.1").Version(): `studies ["later"]`,
		"?study=1.2.1&run=":                             `studies ["1.2.1"]`,
		"?study=1.2.7&run=" + s.last("1.2.1").Version(): `studies ["1.2.7"]`, // it was removed
		"?study=1.2.7&run=":                             `studies ["later"]`,
		"":                                              `studies ["later"]`,
	} {
		next := b.listen(query)
		s.server.hub.publish([]string{"later"})
		if heard := next(); heard != want {
			t.Errorf("%q: %s", query, heard)
		}
	}
	if heard := s.browser().listen("")(); heard != "signed-out {}" {
		t.Error(heard)
	}
}
