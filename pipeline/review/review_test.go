package review

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/pipeline/internal/longaxis"
	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/objects"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/pipeline/spool"
	"github.com/echonode/echonode/pipeline/store"
)

const password = "a long enough password"

// site is a review page on a store of its own, with accounts and a clock.
type site struct {
	t      *testing.T
	store  *store.Store
	server *Server
	http   *httptest.Server
	dir    string

	mu    sync.Mutex
	clock time.Time
}

func (s *site) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clock
}

func (s *site) pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock = s.clock.Add(d)
}

// hash of the password; making one takes a while.
var hash = sync.OnceValue(func() string {
	h, err := HashPassword(password)
	if err != nil {
		panic(err)
	}
	return h
})

func newSite(t *testing.T, edit ...func(*Options)) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), clock: time.Now()}
	var err error
	if s.store, err = store.Open(t.Context(), filepath.Join(s.dir, "node.db")); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(s.dir, "users.yaml")
	err = EditUsers(path, func([]User) ([]User, error) {
		return []User{
			{Name: "viewer", Roles: []Role{Viewer}, Password: hash()},
			{Name: "reader", Person: "Müller^Anna", Organisation: "City Hospital", Roles: []Role{Reader}, Password: hash()},
			{Name: "admin", Roles: []Role{Administrator}, Password: hash()},
		}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	users, err := OpenUsers(path)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Store: s.store, Objects: files(t), Users: users, Listen: "127.0.0.1:0", Idle: 30 * time.Minute, Longest: 12 * time.Hour, Version: "test",
		Log: slog.New(slog.DiscardHandler), Limits: limits(), now: s.now}
	for _, e := range edit {
		e(&o)
	}
	if s.server, err = New(o); err != nil {
		t.Fatal(err)
	}
	s.server.late.wait = time.Minute // what a page did is there when it has answered, on however slow a disk
	s.http = httptest.NewServer(s.server)
	t.Cleanup(func() {
		s.http.Close()
		s.server.loops.close()
		if err := s.store.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// browser is a client with cookies that does not follow redirects.
type browser struct {
	*site
	client *http.Client
	cookie string
	csrf   string
}

func (s *site) browser() *browser {
	return &browser{site: s, client: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// do sends a request as a page of ours would.
func (b *browser) do(method, path, body string, edit ...func(*http.Request)) (*http.Response, string) {
	b.t.Helper()
	req, err := http.NewRequest(method, b.http.URL+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Accept", "text/html")
	req.Header.Set("Accept-Language", "en")
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Origin", b.http.URL)
		req.Header.Set("X-CSRF-Token", b.csrf)
	}
	if b.cookie != "" {
		req.Header.Set("Cookie", b.cookie)
	}
	for _, e := range edit {
		e(req)
	}
	res, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range res.Cookies() {
		if c.Name == b.server.cookieName() {
			b.cookie = c.Name + "=" + c.Value
		}
	}
	return res, string(text)
}

func (b *browser) want(status int, method, path, body string, edit ...func(*http.Request)) (*http.Response, string) {
	b.t.Helper()
	res, text := b.do(method, path, body, edit...)
	if res.StatusCode != status {
		b.t.Fatalf("%s %s: %s, want %d\n%.2000s", method, path, res.Status, status, text)
	}
	return res, text
}

var csrfMeta = regexp.MustCompile(`<meta name="csrf" content="([0-9a-f]+)">`)

// as signs in.
func (s *site) as(user string) *browser {
	s.t.Helper()
	b := s.browser()
	b.want(http.StatusSeeOther, http.MethodPost, "/login", url.Values{"name": {user}, "password": {password}}.Encode())
	_, page := b.want(http.StatusOK, http.MethodGet, "/", "")
	m := csrfMeta.FindStringSubmatch(page)
	if m == nil {
		s.t.Fatal("no token in the page")
	}
	b.csrf = m[1]
	return b
}

// sample is a study with one measured loop of three frames.
type sample struct {
	study, loop, name string
	ef                *float64
	view              string
	state             store.State
	level             byte // added to the picture's
}

func (s *site) add(a sample) {
	s.t.Helper()
	ctx := s.t.Context()
	path := filepath.Join(s.dir, a.loop+".dcm")
	writeLoop(s.t, path, a)
	sum, err := spool.Sum(path)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.store.AddInstance(ctx, store.Instance{SOPInstanceUID: a.loop, StudyInstanceUID: a.study, SeriesInstanceUID: a.study + ".1",
		SOPClassUID: uid.UltrasoundMultiFrameImageStorage, TransferSyntaxUID: uid.ExplicitVRLittleEndian, Path: path, Sum: sum, Received: s.now(),
		Loop: true}); err != nil {
		s.t.Fatal(err)
	}
	if a.state == store.Receiving {
		return
	}
	s.run(a, nil)
}

// run records an analysis of a sample.
func (s *site) run(a sample, deliver func(outputs []store.Output) []store.Route) store.Run {
	s.t.Helper()
	ctx := s.t.Context()
	st, err := s.store.Study(ctx, a.study)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.store.Queue(ctx, a.study, st.Last, "test", func(*store.Tx, string, int) error { return nil }); err != nil {
		s.t.Fatal(err)
	}
	revision := st.Revision + 1
	run, err := s.store.StartRun(ctx, a.study, revision)
	if err != nil {
		s.t.Fatal(err)
	}
	run.Directory = filepath.Join(s.dir, fmt.Sprintf("%s-%d", a.study, revision))
	if err := os.MkdirAll(run.Directory, 0o750); err != nil {
		s.t.Fatal(err)
	}
	doc := document(a)
	b, err := doc.Encode()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(run.Directory, "result.json"), b, 0o600); err != nil {
		s.t.Fatal(err)
	}
	summary, err := json.Marshal(map[string]any{"measurements": doc.Studies[0].Measurements})
	if err != nil {
		s.t.Fatal(err)
	}
	run.Summary = string(summary)
	var outputs []store.Output
	var routes []store.Route
	if deliver != nil {
		outputs = []store.Output{{SOPInstanceUID: a.study + ".9", SOPClassUID: "1.2.840.10008.5.1.4.1.1.88.33", Kind: result.KindReport, Path: "none"}}
		routes = deliver(outputs)
	}
	if err := s.store.FinishRun(ctx, run, outputs, routes, func(*store.Tx, int64, string) error { return nil }); err != nil {
		s.t.Fatal(err)
	}
	return run
}

// last is the latest run of a study.
func (s *site) last(study string) store.Run {
	s.t.Helper()
	runs, err := s.store.Runs(s.t.Context(), study)
	if err != nil || len(runs) == 0 {
		s.t.Fatal(runs, err)
	}
	return runs[0]
}

func document(a sample) *result.Document {
	square := func(side float64) result.Contour {
		return result.NewContour(4, func(i int) (float64, float64) {
			return 20 + side*float64(btoi(i == 1 || i == 2)), 10 + side*float64(btoi(i >= 2))
		})
	}
	loop := result.Loop{SOPInstanceUID: a.loop, SOPClassUID: uid.UltrasoundMultiFrameImageStorage, SeriesInstanceUID: a.study + ".1", Status: result.Analysed,
		View: a.view, Frames: 3, Rows: 48, Columns: 64, FrameTimes: []float64{0, 100, 200}, Spacing: result.Spacing{X: 1, Y: 1, Aspect: 1, Trusted: true},
		Region: &result.Region{MaxX: 64, MaxY: 48}, Beats: []result.Beat{{ED: 0, ES: 1, NextED: 2}}}
	for i := range 3 {
		c := square(20 - 5*float64(i%2))
		loop.FrameResults = append(loop.FrameResults, result.Frame{Index: i, Contour: c, LVAreaPixels: 400, LVArea: 4, Confidence: 0.9})
	}
	m := result.Measurement{Name: result.EF, Unit: result.UnitPercent, Method: result.SinglePlane, View: a.view, Value: a.ef,
		Quality: result.Quality{Grade: result.Good},
		Sources: []result.Source{{SOPInstanceUID: a.loop, Frame: 0, Phase: "ED"}, {SOPInstanceUID: a.loop, Frame: 1, Phase: "ES"}}}
	if a.ef == nil {
		m.Quality.Grade, m.Reason, m.Sources = result.None, &result.Reason{Code: result.NoBeat, Text: "no beat was found"}, nil
	}
	loop.Measurements = []result.Measurement{m}
	return &result.Document{Schema: result.Schema, Model: result.Model{Name: "test", Version: "1"},
		Studies: []result.Study{{StudyInstanceUID: a.study,
			Run:   result.Run{Time: time.Date(2026, 1, 10, 11, 0, 0, 0, time.UTC), Software: result.Software{Name: "EchoNode", Version: "test"}, Model: result.Model{Name: "test", Version: "1"}},
			Loops: []result.Loop{loop}, Measurements: []result.Measurement{m}}}}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// writeLoop writes an ultrasound object of three gray frames, the second
// brighter than the first, the third brighter still.
func writeLoop(t *testing.T, path string, a sample) {
	t.Helper()
	writeLoopAs(t, path, a, uid.ExplicitVRLittleEndian)
}

func writeLoopAs(t *testing.T, path string, a sample, syntax string) {
	t.Helper()
	const w, h, n = 64, 48, 3
	pixels := make([]byte, 0, w*h*n)
	for f := range n {
		for range w * h {
			pixels = append(pixels, byte(60*(f+1))+a.level)
		}
	}
	ds := dicomio.NewDataSet()
	ds.SetString(tag.SOPClassUID, uid.UltrasoundMultiFrameImageStorage).SetString(tag.SOPInstanceUID, a.loop).
		SetString(tag.StudyInstanceUID, a.study).SetString(tag.SeriesInstanceUID, a.study+".1").
		SetString(tag.Modality, "US").SetString(tag.PatientName, a.name).SetString(tag.PatientID, "P-"+a.study).SetString(tag.PatientSex, "F").
		SetString(tag.PatientBirthDate, "19600102").SetString(tag.StudyDate, "20260110").SetString(tag.StudyTime, "101500").
		SetString(tag.AccessionNumber, "A"+a.study).SetString(tag.SpecificCharacterSet, "ISO_IR 192").
		SetString(tag.PhotometricInterpretation, "MONOCHROME2").SetInt(tag.SamplesPerPixel, 1).SetInt(tag.Rows, h).SetInt(tag.Columns, w).
		SetInt(tag.BitsAllocated, 8).SetInt(tag.BitsStored, 8).SetInt(tag.HighBit, 7).SetInt(tag.PixelRepresentation, 0).SetInt(tag.NumberOfFrames, n)
	ds.SetBytes(tag.PixelData, "OB", pixels)
	if err := ds.Err(); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := dicomio.Write(f, ds, dicomio.WriteOptions{TransferSyntax: syntax}); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// indexed runs the indexer until nothing is left to do.
func (s *site) indexed() {
	s.t.Helper()
	for {
		changes, err := s.store.Changes(s.t.Context(), "", 100)
		if err != nil {
			s.t.Fatal(err)
		}
		if len(changes) == 0 {
			return
		}
		for _, c := range changes {
			if _, err := s.server.list(s.t.Context(), c); err != nil {
				s.t.Fatal(err)
			}
		}
	}
}

func value(v float64) *float64 { return &v }

func TestNobodyComesInWithoutASession(t *testing.T) {
	s := newSite(t)
	s.add(sample{study: "1.2.3", loop: "1.2.3.4", name: "Doe^Jane", view: "A4C", ef: value(60)})
	b := s.browser()
	for _, path := range []string{"/", "/study/1.2.3", "/study/1.2.3/loop/1.2.3.4", "/accession/A1.2.3"} {
		res, text := b.want(http.StatusSeeOther, http.MethodGet, path, "")
		if at := res.Header.Get("Location"); at != "/login?next="+url.QueryEscape(path) || strings.Contains(text, "Doe") {
			t.Errorf("%s: leads to %q", path, at)
		}
	}
	plain := func(r *http.Request) { r.Header.Set("Accept", "image/*") }
	for _, path := range []string{"/study/1.2.3/loop/1.2.3.4/frame/0", "/study/1.2.3/loop/1.2.3.4/data", "/events"} {
		b.want(http.StatusUnauthorized, http.MethodGet, path, "", plain)
	}
	b.want(http.StatusUnauthorized, http.MethodPost, "/worklist", "{}")
}

func TestRequestsOfOthersAreRefused(t *testing.T) {
	s := newSite(t, func(o *Options) { o.Hosts = []string{"echo.example.org"} })
	b := s.as("reader")
	host := func(h string) func(*http.Request) { return func(r *http.Request) { r.Host = h } }
	for h, status := range map[string]int{
		"evil.example.com": http.StatusMisdirectedRequest, "127.0.0.1.evil.com:80": http.StatusMisdirectedRequest, "": http.StatusOK,
		"localhost:8105": http.StatusOK, "[::1]:8105": http.StatusOK, "ECHO.example.org": http.StatusOK,
	} {
		if h == "" {
			b.want(status, http.MethodGet, "/", "")
			continue
		}
		b.want(status, http.MethodGet, "/", "", host(h))
	}
	// Another site's page, with the reader's cookie.
	for name, headers := range map[string]map[string]string{
		"origin":         {"Origin": "https://evil.example.com", "Sec-Fetch-Site": ""},
		"null origin":    {"Origin": "null", "Sec-Fetch-Site": ""},
		"fetch metadata": {"Sec-Fetch-Site": "cross-site"},
		"same site":      {"Sec-Fetch-Site": "same-site"},
	} {
		res, _ := b.do(http.MethodPost, "/worklist", "{}", func(r *http.Request) {
			for k, v := range headers {
				r.Header.Del(k)
				if v != "" {
					r.Header.Set(k, v)
				}
			}
		})
		if res.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %s", name, res.Status)
		}
	}
	// Our own origin without the page's token, or with another's.
	for _, token := range []string{"", strings.Repeat("0", 64), s.as("viewer").csrf} {
		b.want(http.StatusForbidden, http.MethodPost, "/worklist", "{}", func(r *http.Request) { r.Header.Set("X-CSRF-Token", token) })
	}
	b.want(http.StatusOK, http.MethodPost, "/worklist", "{}")
}

func TestAnswersTellTheBrowserToBeStrict(t *testing.T) {
	s := newSite(t, func(o *Options) { o.EmbedIn = []string{"https://pacs.example.org"} })
	res, page := s.as("viewer").want(http.StatusOK, http.MethodGet, "/", "")
	policy := res.Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self';", "style-src 'self';", "base-uri 'none'", "form-action 'self'",
		"frame-ancestors https://pacs.example.org"} {
		if !strings.Contains(policy, want) {
			t.Errorf("policy %q lacks %q", policy, want)
		}
	}
	for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "same-origin"} {
		if got := res.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	// Nothing that the policy would block.
	if m := regexp.MustCompile(`(?i)\son[a-z]+=|style=|<style|<script>|javascript:`).FindString(page); m != "" {
		t.Errorf("the page has inline code: %q", m)
	}
}

func TestCookie(t *testing.T) {
	for _, secure := range []bool{false, true} {
		s := newSite(t, func(o *Options) { o.Secure = secure })
		res, _ := s.browser().want(http.StatusSeeOther, http.MethodPost, "/login", url.Values{"name": {"viewer"}, "password": {password}}.Encode())
		c := res.Cookies()[0]
		if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || c.Secure != secure ||
			strings.HasPrefix(c.Name, "__Host-") != secure {
			t.Errorf("secure %v: %+v", secure, c)
		}
		if got := res.Header.Get("Strict-Transport-Security") != ""; got != secure {
			t.Errorf("secure %v: HSTS %v", secure, got)
		}
	}
}

func TestSessionsEnd(t *testing.T) {
	s := newSite(t)
	b := s.as("viewer")
	s.pass(29 * time.Minute)
	b.want(http.StatusOK, http.MethodGet, "/", "")
	s.pass(29 * time.Minute)
	b.want(http.StatusOK, http.MethodGet, "/", "")
	s.pass(30 * time.Minute)
	b.want(http.StatusSeeOther, http.MethodGet, "/", "")

	b = s.as("viewer")
	for range 25 { // always busy, twelve hours long
		s.pass(29 * time.Minute)
		b.do(http.MethodGet, "/", "")
	}
	b.want(http.StatusSeeOther, http.MethodGet, "/", "")

	b = s.as("viewer")
	old := b.cookie
	b.want(http.StatusSeeOther, http.MethodPost, "/logout", "")
	b.cookie = old
	b.want(http.StatusSeeOther, http.MethodGet, "/", "")
	for _, cookie := range []string{"echonode=", "echonode=" + strings.Repeat("0", 64)} {
		b.cookie = cookie
		b.want(http.StatusSeeOther, http.MethodGet, "/", "")
	}
}

// A removed account is out at once, whatever session it has.
func TestRemovedAccountIsOut(t *testing.T) {
	s := newSite(t)
	b := s.as("viewer")
	err := EditUsers(filepath.Join(s.dir, "users.yaml"), func(u []User) ([]User, error) { return u[1:], nil })
	if err != nil {
		t.Fatal(err)
	}
	b.want(http.StatusSeeOther, http.MethodGet, "/", "")
}

func TestSignInLimits(t *testing.T) {
	s := newSite(t)
	try := func(name, pass string) *http.Response {
		res, _ := s.browser().do(http.MethodPost, "/login", url.Values{"name": {name}, "password": {pass}}.Encode())
		return res
	}
	for i := range 5 {
		if res := try("viewer", "wrong"); res.StatusCode != http.StatusForbidden {
			t.Fatalf("attempt %d: %s", i, res.Status)
		}
	}
	res := try("viewer", password)
	if res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") != "30" {
		t.Fatalf("sixth attempt: %s, Retry-After %q", res.Status, res.Header.Get("Retry-After"))
	}
	if res := try("reader", password); res.StatusCode != http.StatusSeeOther {
		t.Fatalf("another user: %s", res.Status)
	}
	s.pass(30 * time.Second)
	if res := try("viewer", password); res.StatusCode != http.StatusSeeOther {
		t.Fatalf("after the wait: %s", res.Status)
	}
	// Many names from one address.
	for i := range 30 {
		res = try(fmt.Sprintf("user%d", i), "wrong")
	}
	if res.StatusCode != http.StatusTooManyRequests {
		t.Fatalf("thirty names: %s", res.Status)
	}
}

func TestSignInLeadsToOurselvesOnly(t *testing.T) {
	s := newSite(t)
	for next, want := range map[string]string{
		"/study/1.2": "/study/1.2", "https://evil.example.com/": "/", "//evil.example.com": "/", `/\evil.example.com`: "/", "javascript:alert(1)": "/", "": "/",
	} {
		res, _ := s.browser().want(http.StatusSeeOther, http.MethodPost, "/login", url.Values{"name": {"viewer"}, "password": {password}, "next": {next}}.Encode())
		if at := res.Header.Get("Location"); at != want {
			t.Errorf("next %q leads to %q", next, at)
		}
	}
}

const script = `<script>alert(1)</script>`

func TestWorklist(t *testing.T) {
	s := newSite(t)
	s.add(sample{study: "1.2.1", loop: "1.2.1.1", name: "Doe^Jane", view: "A4C", ef: value(60)})
	s.add(sample{study: "1.2.2", loop: "1.2.2.1", name: script + "^<b>", view: "A4C", ef: value(35)})
	s.add(sample{study: "1.2.3", loop: "1.2.3.1", name: "Roe^Richard", view: "A4C"})
	s.add(sample{study: "1.2.4", loop: "1.2.4.1", name: "Mustermann^Erika", state: store.Receiving})
	s.indexed()
	b := s.as("viewer")
	_, page := b.want(http.StatusOK, http.MethodGet, "/", "")
	if strings.Contains(page, script) || !strings.Contains(page, "&lt;script&gt;alert(1)&lt;/script&gt;, &lt;b&gt;") {
		t.Errorf("the name is not escaped:\n%s", page)
	}
	rows := regexp.MustCompile(`data-study="([^"]+)"`)
	for query, want := range map[string]string{
		`{}`:                                      "1.2.1 1.2.2 1.2.3 1.2.4",
		`{"search":"jane DOE"}`:                   "1.2.1",
		`{"search":"p-1.2.3"}`:                    "1.2.3",
		`{"search":"A1.2.2"}`:                     "1.2.2",
		`{"search":"nobody"}`:                     "",
		`{"search":"%"}`:                          "",
		`{"flag":"reduced"}`:                      "1.2.2",
		`{"flag":"notmeasured"}`:                  "1.2.3",
		`{"state":"receiving"}`:                   "1.2.4",
		`{"state":"done","order":"ef"}`:           "1.2.1 1.2.2",
		`{"order":"name","ascending":true}`:       "1.2.2 1.2.1 1.2.4 1.2.3",
		`{"from":"2026-01-11"}`:                   "",
		`{"from":"2026-01-10","to":"2026-01-10"}`: "1.2.1 1.2.2 1.2.3 1.2.4",
		`{"offset":2}`:                            "1.2.3 1.2.4",
	} {
		_, text := b.want(http.StatusOK, http.MethodPost, "/worklist", query)
		var got []string
		for _, m := range rows.FindAllStringSubmatch(text, -1) {
			got = append(got, m[1])
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", query, got, want)
		}
	}
	b.want(http.StatusBadRequest, http.MethodPost, "/worklist", "no json")
	res, _ := b.want(http.StatusSeeOther, http.MethodGet, "/accession/A1.2.1", "")
	if at := res.Header.Get("Location"); at != "/study/1.2.1" {
		t.Errorf("accession number leads to %s", at)
	}
	b.want(http.StatusNotFound, http.MethodGet, "/accession/none", "")
	b.want(http.StatusNotFound, http.MethodGet, "/study/9.9", "")
}

// The listing follows what happens to a study, to its removal.
func TestIndex(t *testing.T) {
	s := newSite(t)
	ctx := t.Context()
	a := sample{study: "1.2.1", loop: "1.2.1.1", name: "Doe^Jane", view: "A4C", ef: value(53), state: store.Receiving}
	s.add(a)
	get := func() store.Listing {
		t.Helper()
		s.indexed()
		l, err := s.store.Listing(ctx, a.study)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	if l := get(); l.State != store.Receiving || l.PatientName != "Doe, Jane" || l.EF != nil || l.Objects != 1 || l.Flags != 0 {
		t.Errorf("received: %+v", l)
	}
	s.pass(time.Second)
	run := s.run(a, func([]store.Output) []store.Route {
		return []store.Route{{Destination: "pacs", Kinds: []string{result.KindReport}}}
	})
	// 53 % is below the normal range of women.
	if l := get(); l.State != store.Done || l.EF == nil || *l.EF != 53 || l.EFGrade != result.Good || l.Flags != store.ReducedEF {
		t.Errorf("analysed: %+v", l)
	}
	if err := s.store.BuryDeliveries(ctx, run.ID, "pacs"); err != nil {
		t.Fatal(err)
	}
	if l := get(); l.Flags != store.ReducedEF|store.DeliveryFailed {
		t.Errorf("given up: %+v", l)
	}
	s.pass(time.Hour)
	// Another version of the loop is no late loop.
	loop, err := s.store.Instance(ctx, a.loop)
	if err != nil {
		t.Fatal(err)
	}
	loop.Received = s.now()
	if _, err := s.store.Replace(ctx, loop); err != nil {
		t.Fatal(err)
	}
	if l := get(); l.State != store.Receiving || l.Flags&store.LateObjects != 0 {
		t.Errorf("corrected object: %+v", l)
	}
	if _, err := s.store.AddInstance(ctx, store.Instance{SOPInstanceUID: "1.2.1.2", StudyInstanceUID: a.study, SeriesInstanceUID: "1", SOPClassUID: "1",
		Path: "gone", Received: s.now(), Loop: true}); err != nil {
		t.Fatal(err)
	}
	if l := get(); l.State != store.Receiving || l.Flags&store.LateObjects == 0 || l.Objects != 2 {
		t.Errorf("late object: %+v", l)
	}
	if err := s.store.Delete(ctx, a.study); err != nil {
		t.Fatal(err)
	}
	s.indexed()
	if _, err := s.store.Listing(ctx, a.study); err == nil {
		t.Error("a removed study is still listed")
	}
}

func TestStudyAndLoopPages(t *testing.T) {
	s := newSite(t)
	s.add(sample{study: "1.2.1", loop: "1.2.1.1", name: script, view: "A4C", ef: value(61.23)})
	b := s.as("viewer")
	german := func(r *http.Request) { r.Header.Set("Accept-Language", "de-CH,de;q=0.9") }
	_, page := b.want(http.StatusOK, http.MethodGet, "/study/1.2.1", "")
	for _, want := range []string{"EF 61 %", "single-plane disks", "/study/1.2.1/loop/1.2.1.1#1", "&lt;script&gt;"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page, script) {
		t.Error("the name is not escaped")
	}
	if _, page := b.want(http.StatusOK, http.MethodGet, "/study/1.2.1", "", german); !strings.Contains(page, "61 %") || !strings.Contains(page, `lang="de"`) {
		t.Error("the page is not German")
	}
	_, page = b.want(http.StatusOK, http.MethodGet, "/study/1.2.1/loop/1.2.1.1", "")
	if !strings.Contains(page, `id="screen"`) {
		t.Error("no screen")
	}
	_, text := b.want(http.StatusOK, http.MethodGet, "/study/1.2.1/loop/1.2.1.1/data", "")
	var d loopData
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Found) != 3 || d.Frames != 3 || d.Curve == nil || d.Curve.Kind != "volume" || d.Curve.Values[0] == nil || d.Found[0].Axis == nil {
		t.Errorf("%+v", d)
	}
	// The curve is of the pipeline's own volumes.
	square := document(sample{}).Studies[0].Loops[0].FrameResults[0].Contour
	plane, err := lv.MeasurePlane(longaxis.Points(square), lv.Spacing{X: 1, Y: 1}, lv.Landmarks{}, lv.AxisOptions{MinFlatness: 0.05, ApexSide: &lv.Point{X: 32}})
	if v := *d.Curve.Values[0]; err != nil || math.Abs(v-plane.VolumeML) > 1e-9 {
		t.Errorf("volume %g ml, want %g, %v", v, plane.VolumeML, err)
	}
	b.want(http.StatusNotFound, http.MethodGet, "/study/1.2.1/loop/9.9", "")
	b.want(http.StatusNotFound, http.MethodGet, "/study/1.2.9/loop/1.2.1.1", "")
}

// A peer's words about a delivery are text.
func TestPeersWordsAreEscaped(t *testing.T) {
	s := newSite(t)
	a := sample{study: "1.2.1", loop: "1.2.1.1", name: "Doe^Jane", view: "A4C", ef: value(60), state: store.Receiving}
	s.add(a)
	run := s.run(a, func([]store.Output) []store.Route {
		return []store.Route{{Destination: "pacs", Kinds: []string{result.KindReport}}}
	})
	pending, err := s.store.PendingDeliveries(t.Context(), run.ID, "pacs")
	if err != nil || len(pending) != 1 {
		t.Fatal(pending, err)
	}
	status := uint16(0xA900)
	d := pending[0]
	d.State, d.Status, d.Comment, d.Error = store.Pending, &status, script+"\x1b[2J", "refused: "+script
	if err := s.store.RecordDelivery(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	_, page := s.as("viewer").want(http.StatusOK, http.MethodGet, "/study/1.2.1", "")
	if strings.Contains(page, script) || strings.Count(page, "&lt;script&gt;") < 2 || !strings.Contains(page, "A900H") {
		t.Errorf("the peer's words are not escaped:\n%s", page)
	}
}

func TestFrames(t *testing.T) {
	s := newSite(t)
	s.add(sample{study: "1.2.1", loop: "1.2.1.1", name: "Doe", view: "A4C", ef: value(60)})
	s.add(sample{study: "1.2.2", loop: "1.2.2.1", name: "Doe", view: "A4C", ef: value(60)})
	b := s.as("viewer")
	for f := range 3 {
		res, text := b.want(http.StatusOK, http.MethodGet, fmt.Sprintf("/study/1.2.1/loop/1.2.1.1/frame/%d", f), "")
		img, err := jpeg.Decode(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if r, _, _, _ := img.At(30, 20).RGBA(); img.Bounds() != image.Rect(0, 0, 64, 48) || int(r>>8) < 60*(f+1)-2 || int(r>>8) > 60*(f+1)+2 {
			t.Errorf("frame %d: %v, value %d", f, img.Bounds(), r>>8)
		}
		if c := res.Header.Get("Cache-Control"); !strings.HasPrefix(c, "private,") || res.Header.Get("ETag") == "" {
			t.Errorf("frame %d: Cache-Control %q, ETag %q", f, c, res.Header.Get("ETag"))
		}
		tagged := func(r *http.Request) { r.Header.Set("If-None-Match", res.Header.Get("ETag")) }
		b.want(http.StatusNotModified, http.MethodGet, fmt.Sprintf("/study/1.2.1/loop/1.2.1.1/frame/%d", f), "", tagged)
		if res, part := b.want(http.StatusPartialContent, http.MethodGet, fmt.Sprintf("/study/1.2.1/loop/1.2.1.1/frame/%d", f), "",
			func(r *http.Request) { r.Header.Set("Range", "bytes=2-5") }); part != text[2:6] {
			t.Errorf("range: %s, %q", res.Status, part)
		}
	}
	for _, path := range []string{"/study/1.2.1/loop/1.2.1.1/frame/3", "/study/1.2.1/loop/1.2.1.1/frame/-1", "/study/1.2.1/loop/1.2.1.1/frame/x",
		"/study/1.2.1/loop/1.2.2.1/frame/0"} {
		b.want(http.StatusNotFound, http.MethodGet, path, "")
	}
}

// Objects leave the list of open ones while somebody still reads them, and are
// closed when the last is done; many at once see no closed file.
func TestOpenLoopsUnderLoad(t *testing.T) {
	dir := t.TempDir()
	var paths []store.Instance
	for i := range maxOpenLoops + 10 {
		path := filepath.Join(dir, fmt.Sprintf("%d.dcm", i))
		writeLoop(t, path, sample{study: "1.2", loop: fmt.Sprintf("1.2.%d", i)})
		paths = append(paths, store.Instance{Path: path})
	}
	o := newOpenLoops(files(t), limits())
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 120 {
				if _, err := o.frame(context.Background(), paths[(i*7+g*5)%len(paths)], o.file(paths[(i*7+g*5)%len(paths)]), i%3); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if o.order.Len() > maxOpenLoops || o.bytes > maxFrameCache {
		t.Errorf("%d objects open, %d bytes kept", o.order.Len(), o.bytes)
	}
	o.close()
	if _, err := o.frame(context.Background(), store.Instance{Path: filepath.Join(dir, "none.dcm")}, nil, 0); err == nil {
		t.Error("a frame of no file")
	}
	if o.order.Len() != 0 {
		t.Error("a file that cannot be opened stays listed")
	}
	o.close()
}

// segment is a JPEG marker segment.
func segment(marker byte, content ...byte) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{0xFF, marker}, uint16(len(content)+2)), content...)
}

func TestPlainJPEG(t *testing.T) {
	start := []byte{0xFF, 0xD8}
	frame := func(ids ...byte) []byte {
		c := []byte{8, 0, 1, 0, 1, byte(len(ids))}
		for _, id := range ids {
			c = append(c, id, 0x11, 0)
		}
		return segment(0xC0, c...)
	}
	adobe := segment(0xEE, append([]byte("Adobe"), 0, 100, 0, 0, 0, 0, 0)...)
	for name, tc := range map[string]struct {
		parts [][]byte
		want  bool
	}{
		"gray":         {[][]byte{frame(1)}, true},
		"YCbCr":        {[][]byte{segment(0xE0, 'J', 'F', 'I', 'F', 0), frame(1, 2, 3)}, true},
		"RGB by name":  {[][]byte{frame('R', 'G', 'B')}, false},
		"Adobe":        {[][]byte{adobe, frame(1, 2, 3)}, false},
		"four":         {[][]byte{frame(1, 2, 3, 4)}, false},
		"progressive":  {[][]byte{segment(0xC2, 8, 0, 1, 0, 1, 1, 1, 0x11, 0), segment(0xDA)}, false},
		"cut":          {[][]byte{{0xFF, 0xC0, 0, 40, 8}}, false},
		"no marker":    {[][]byte{{1, 2, 3, 4, 5}}, false},
		"short length": {[][]byte{{0xFF, 0xE0, 0, 1, 0, 0}}, false},
		"nothing":      {nil, false},
	} {
		b := append([]byte{}, start...)
		for _, p := range tc.parts {
			b = append(b, p...)
		}
		if got := plainJPEG(b); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if plainJPEG(nil) {
		t.Error("no bytes")
	}
}

func FuzzPlainJPEG(f *testing.F) {
	f.Add([]byte{0xFF, 0xD8, 0xFF, 0xC0, 0, 11, 8, 0, 1, 0, 1, 1, 1, 0x11, 0})
	f.Fuzz(func(_ *testing.T, b []byte) { plainJPEG(b) })
}

func TestAuditTrail(t *testing.T) {
	s := newSite(t)
	s.add(sample{study: "1.2.1", loop: "1.2.1.1", name: "Doe", view: "A4C", ef: value(60)})
	s.browser().do(http.MethodPost, "/login", url.Values{"name": {"viewer"}, "password": {"wrong"}}.Encode())
	s.browser().do(http.MethodPost, "/login", url.Values{"name": {"a password by mistake"}, "password": {"wrong"}}.Encode())
	b := s.as("viewer")
	b.want(http.StatusOK, http.MethodGet, "/study/1.2.1", "")
	b.want(http.StatusOK, http.MethodGet, "/study/1.2.1/loop/1.2.1.1", "")
	b.want(http.StatusSeeOther, http.MethodPost, "/logout", "")
	trail, err := s.store.AuditTrail(t.Context(), "", 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := len(trail) - 1; i >= 0; i-- {
		e := trail[i]
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s %s %s %v", e.User, e.Action, e.Study, e.Detail, e.Failed)))
	}
	want := []string{"viewer sign-in   true", "sign-in   true", "viewer sign-in   false", "viewer worklist   false", "viewer study opened 1.2.1  false",
		"viewer loop opened 1.2.1 1.2.1.1 false", "viewer sign-out   false"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("trail:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// limits have a budget.
func limits() dicomio.Limits { return dicomio.Limits{Memory: dicomio.NewMemory(64 << 20)} }

// files takes names for the paths that they are.
func files(t *testing.T) *objects.Files {
	t.Helper()
	f, err := objects.NewFiles(objects.NewDirectory("/"), "", 0)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// Who opens a node to which nothing was sent is told so; a search that finds
// nothing says something else. Without JavaScript a page says what is missing.
func TestFirstVisit(t *testing.T) {
	b := newSite(t).as("viewer")
	if res, page := b.do("GET", "/", ""); res.StatusCode != http.StatusOK || !strings.Contains(page, "There is no study here") ||
		!strings.Contains(page, "<noscript>") {
		t.Errorf("%d: %s", res.StatusCode, page)
	}
	for body, want := range map[string]string{`{"order":"ef","ascending":true}`: "There is no study here", `{"search":"x"}`: "No study fits",
		`{"flag":"late"}`: "No study fits"} {
		if _, rows := b.do("POST", "/worklist", body); !strings.Contains(rows, want) {
			t.Errorf("%s: %s", body, rows)
		}
	}
}

// A search costs no more than one that a person types.
func TestLongSearches(t *testing.T) {
	s := newSite(t)
	b := s.as("admin")
	for _, search := range []string{strings.Repeat("a", 201), strings.Repeat("a ", 17), strings.Repeat("ä", 1<<20)} {
		body, err := json.Marshal(map[string]string{"search": search})
		if err != nil {
			t.Fatal(err)
		}
		if res, _ := b.do(http.MethodPost, "/worklist", string(body)); res.StatusCode != http.StatusUnprocessableEntity && res.StatusCode != http.StatusBadRequest {
			t.Errorf("a search of %d bytes: %s", len(search), res.Status)
		}
		b.want(http.StatusUnprocessableEntity, http.MethodPost, "/export/values.csv", url.Values{"search": {search}}.Encode())
	}
	b.want(http.StatusOK, http.MethodPost, "/worklist", `{"search": "`+strings.Repeat("ä", 200)+`"}`)
}
