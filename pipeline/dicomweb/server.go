// Package dicomweb takes objects over DICOMweb: the store transaction of the
// studies service (PS3.18 10.5, "STOW-RS"), POST of a multipart/related body of
// application/dicom to /studies, or to /studies/{study} for objects of that study
// alone. What comes goes the same way as what comes by
// C-STORE.
package dicomweb

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/echonode/echonode/dicomio/part10"
	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/scp"
)

// Server is an http.Handler that stores what is posted to it. Set the fields
// before use.
type Server struct {
	// Handler stores objects. It returns what it would for C-STORE. When it is a
	// scp.AssociationWatcher too, every request is an association to it.
	Handler scp.Handler
	// Called is our AE title, for the handler.
	Called string
	// Accounts may store; none is nobody.
	Accounts Accounts
	// Current takes the place of Accounts where it is set: it is asked with every
	// request. While it fails, nothing is stored, and senders are told to try again.
	Current func() (Accounts, error)
	// Refused is told of every request with a secret that is no account's; nil is
	// nobody.
	Refused func()
	// Takes tells which SOP classes are stored in which transfer syntaxes, as
	// [scp.Server.Takes] does: what is not fails with the status of its error,
	// without being read. nil is every storage class in every syntax.
	Takes func(sopClass, transferSyntax string) error
	// MaxObject bounds a part; 0 is 4 GiB. MaxParts bounds the parts of a
	// request; 0 is 10,000.
	MaxObject int64
	MaxParts  int
	// MaxRequests at a time; 0 is 16. Beyond it: 503.
	MaxRequests int
	// Idle is how long a sender may be silent inside a request; 0 is 60 s.
	Idle time.Duration
	Log  *slog.Logger

	complaints complaints
	failures   failures

	requests atomic.Int64
	lastID   atomic.Uint64
}

// firstID keeps the numbers of requests apart from those of associations.
const firstID = 1 << 62

// Accounts are names and digests of secrets.
type Accounts map[string][sha256.Size]byte

// ReadAccounts reads a file of lines NAME:SECRET; empty lines and those that
// begin with # are left out. The file must not be readable by others.
func ReadAccounts(path string) (Accounts, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o007 != 0 {
		return nil, fmt.Errorf("%s can be read by everybody: chmod 640", path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	out := Accounts{}
	for i, line := range strings.Split(string(b), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, secret, ok := strings.Cut(line, ":")
		if !ok || name == "" || len(secret) < 8 {
			return nil, fmt.Errorf("%s: line %d is not NAME:SECRET with a secret of at least 8 characters", path, i+1)
		}
		out[name] = sha256.Sum256([]byte(secret))
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s holds no account", path)
	}
	return out, nil
}

// File is a file of accounts that is read again when it has changed.
type File struct {
	path string

	mu       sync.Mutex
	seen     fs.FileInfo
	accounts Accounts
	err      error
}

// OpenAccounts reads a file as [ReadAccounts] does.
func OpenAccounts(path string) (*File, error) {
	f := &File{path: path}
	_, err := f.Current()
	return f, err
}

// Current is what the file holds now.
func (f *File) Current() (Accounts, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.path)
	if err != nil {
		return nil, err
	}
	if f.seen == nil || !os.SameFile(f.seen, info) || !f.seen.ModTime().Equal(info.ModTime()) || f.seen.Size() != info.Size() || f.seen.Mode() != info.Mode() {
		f.accounts, f.err = ReadAccounts(f.path)
		f.seen = info
	}
	return f.accounts, f.err
}

// complaints keeps what happens again and again from filling the log.
type complaints struct {
	mu   sync.Mutex
	last map[string]time.Time
	kept map[string]int
}

// complainEvery is how often the same is said.
const complainEvery = time.Minute

// due reports whether something may be said again, and how often it happened since
// it was said.
func (c *complaints) due(what string, now time.Time) (more int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == nil {
		c.last, c.kept = map[string]time.Time{}, map[string]int{}
	}
	if at, said := c.last[what]; said && now.Sub(at) < complainEvery {
		c.kept[what]++
		return 0, false
	}
	more = c.kept[what]
	c.last[what], c.kept[what] = now, 0
	return more, true
}

// Who tells whose request it is: by basic authentication, or by a bearer token,
// which is the secret alone.
func (a Accounts) Who(r *http.Request) (string, bool) {
	name, secret, basic := r.BasicAuth()
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	bearer := strings.EqualFold(scheme, "Bearer")
	token = strings.TrimLeft(token, " ")
	if !basic && !bearer {
		return "", false
	}
	if bearer {
		secret = token
	}
	got := sha256.Sum256([]byte(secret))
	who, ok := "", 0
	for n, want := range a {
		match := subtle.ConstantTimeCompare(got[:], want[:])
		if basic {
			match &= subtle.ConstantTimeCompare([]byte(name), []byte(n))
		}
		if match == 1 {
			who, ok = n, 1
		}
	}
	return who, ok == 1
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	accounts := s.Accounts
	if s.Current != nil {
		var err error
		if accounts, err = s.Current(); err != nil {
			if more, due := s.complaints.due("accounts", time.Now()); due {
				s.log().Error("DICOMweb: the accounts cannot be read: nothing is stored", "more_before", more, "error", err)
			}
			w.Header().Set("Retry-After", "60")
			refuse(w, r, "the accounts cannot be read", http.StatusServiceUnavailable)
			return
		}
	}
	who, ok := "", false
	if r.Header.Get("Authorization") != "" { // clients may ask first without
		var wait time.Duration
		if wait, ok = s.failures.try(subject(r), r.Header.Get("Authorization"), time.Now(), func() bool { who, ok = accounts.Who(r); return ok }); !ok {
			s.refusedSecret(r)
		}
		if wait > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
			refuse(w, r, "too many secrets that are no account's came from this address", http.StatusTooManyRequests)
			return
		}
	}
	study, ofStudies := target(r.URL.Path)
	switch {
	case !ok:
		w.Header().Set("WWW-Authenticate", `Basic realm="EchoNode", charset="UTF-8"`)
		refuse(w, r, "an account is needed", http.StatusUnauthorized)
	case !ofStudies:
		refuse(w, r, "only POST to /studies and /studies/{study} is served", http.StatusNotFound)
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		refuse(w, r, "only POST is served", http.StatusMethodNotAllowed)
	default:
		s.post(w, r, who, study)
	}
}

// refusedSecret says that somebody came with a secret that is no account's.
func (s *Server) refusedSecret(r *http.Request) {
	if s.Refused != nil {
		s.Refused()
	}
	if more, due := s.complaints.due("secret", time.Now()); due {
		s.log().Warn("DICOMweb: a request with a secret that is no account's is refused", "address", r.RemoteAddr, "more_before", more)
	}
}

// target is the study that a path names, "" for any: /studies or /studies/{study}
// (PS3.18 table 10.5.1-1).
func target(path string) (study string, ok bool) {
	rest, ok := strings.CutPrefix(strings.TrimPrefix(path, "/dicom-web"), "/studies")
	if rest == "" || !ok {
		return "", ok
	}
	study, ok = strings.CutPrefix(rest, "/")
	return study, ok && uid.Valid(study)
}

// unquoted is a media type in the value of a parameter without the quotes that it
// needs there.
var unquoted = regexp.MustCompile(`(?i)(;\s*type\s*=\s*)([^";\s]+/[^";\s]+)`)

// How much of a refused body is read, and for how long.
const (
	maxDrain  = 64 << 20
	drainTime = 10 * time.Second
)

// refuse answers a request whose body is of no use. Clients that read the answer
// only when all is sent would see a broken connection instead of it: some of the
// body is taken first, unless the client waits to be asked for it.
func refuse(w http.ResponseWriter, r *http.Request, text string, code int) {
	if r.Header.Get("Expect") == "" && r.ContentLength <= maxDrain {
		// A writer that is no connection has no deadline.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(drainTime))
		// What cannot be read is not missed.
		_, _ = io.CopyN(io.Discard, r.Body, maxDrain)
	}
	http.Error(w, text, code)
}

func (s *Server) post(w http.ResponseWriter, r *http.Request, who, study string) {
	limit := int64(s.MaxRequests)
	if limit <= 0 {
		limit = 16
	}
	if s.requests.Add(1) > limit {
		s.requests.Add(-1)
		w.Header().Set("Retry-After", "10")
		refuse(w, r, "too many requests at a time", http.StatusServiceUnavailable)
		return
	}
	defer s.requests.Add(-1)
	kind, params, err := mime.ParseMediaType(unquoted.ReplaceAllString(r.Header.Get("Content-Type"), `$1"$2"`))
	if err != nil || kind != "multipart/related" || params["boundary"] == "" || params["type"] != "" && params["type"] != "application/dicom" {
		refuse(w, r, `Content-Type must be multipart/related; type="application/dicom"`, http.StatusUnsupportedMediaType)
		return
	}
	if c := r.Header.Get("Content-Encoding"); c != "" && !strings.EqualFold(c, "identity") {
		w.Header().Set("Accept-Encoding", "identity") // RFC 9110 15.5.16
		refuse(w, r, "Content-Encoding is not supported: send the body as it is", http.StatusUnsupportedMediaType)
		return
	}
	a := s.association(r, who)
	watcher, _ := s.Handler.(scp.AssociationWatcher)
	if watcher != nil {
		watcher.AssociationOpened(a)
		defer watcher.AssociationClosed(a, nil)
	}
	body := &patientReader{r: r.Body, control: http.NewResponseController(w), idle: s.Idle}
	parts := multipart.NewReader(body, params["boundary"])
	var result outcome
	maxParts := s.MaxParts
	if maxParts <= 0 {
		maxParts = 10_000
	}
	for n := 0; ; n++ {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil && n >= maxParts {
			s.log().Warn("DICOMweb: too many parts", "from", a.CallingAE, "stored", len(result.stored), "limit", maxParts)
			s.partial(w, &result, http.StatusRequestEntityTooLarge, fmt.Sprintf("more than %d objects in one request", maxParts))
			return
		}
		if err != nil {
			s.log().Warn("DICOMweb: request ended early", "from", a.CallingAE, "stored", len(result.stored), "error", err)
			s.partial(w, &result, http.StatusBadRequest, "the body is no whole multipart body")
			return
		}
		s.part(r.Context(), a, study, part, &result)
		if err := part.Close(); err != nil {
			s.log().Warn("DICOMweb: request ended early", "from", a.CallingAE, "stored", len(result.stored), "error", err)
			s.partial(w, &result, http.StatusBadRequest, "the body is no whole multipart body")
			return
		}
	}
	s.log().Info("DICOMweb: stored", "from", a.CallingAE, "stored", len(result.stored), "failed", len(result.failed))
	result.write(w)
}

// partial answers to a request that is not read to its end: what was stored
// before stays stored.
func (s *Server) partial(w http.ResponseWriter, o *outcome, code int, text string) {
	w.Header().Set("Connection", "close") // what is left of the body is not read
	http.Error(w, fmt.Sprintf("%s; %d objects before were stored, %d were not", text, len(o.stored), len(o.failed)), code)
}

// association describes a request to the handler.
func (s *Server) association(r *http.Request, who string) *scp.AssociationInfo {
	a := &scp.AssociationInfo{ID: firstID + s.lastID.Add(1), CallingAE: title(who), CalledAE: s.Called, TLS: r.TLS, Username: who, Started: time.Now()}
	if p, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		a.RemoteAddr = net.TCPAddrFromAddrPort(p)
	}
	return a
}

// title makes an AE title of the name of an account.
func title(who string) string {
	t := strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' || c == '\\' {
			return -1
		}
		return c
	}, who)
	if t = strings.TrimSpace(t[:min(len(t), 16)]); t == "" {
		return "DICOMWEB"
	}
	return t
}

func (s *Server) log() *slog.Logger {
	if s.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Log
}

// part stores one object.
func (s *Server) part(ctx context.Context, a *scp.AssociationInfo, study string, part *multipart.Part, result *outcome) {
	maxObject := s.MaxObject
	if maxObject <= 0 {
		maxObject = 4 << 30
	}
	if t, _, err := mime.ParseMediaType(part.Header.Get("Content-Type")); err != nil || t != "application/dicom" {
		result.fail(scp.ObjectHeader{}, scp.StatusCannotUnderstand)
		return
	}
	br := bufio.NewReaderSize(part, 64<<10)
	m, _, err := part10.Read(br)
	h := scp.ObjectHeader{SOPClassUID: m.SOPClassUID, SOPInstanceUID: m.SOPInstanceUID, TransferSyntaxUID: m.TransferSyntaxUID}
	if err != nil {
		result.fail(h, scp.StatusCannotUnderstand)
		return
	}
	takes := s.Takes
	if takes == nil {
		takes = anyStorage
	}
	if err := takes(h.SOPClassUID, h.TransferSyntaxUID); err != nil {
		s.log().Warn("DICOMweb: not accepted", "object", h.SOPInstanceUID, "class", h.SOPClassUID, "syntax", h.TransferSyntaxUID, "error", err)
		code, _ := scp.StatusOf(err)
		result.fail(h, code)
		return
	}
	body := &limited{r: br, left: maxObject}
	err = s.Handler.Store(ctx, &scp.StoreRequest{Association: a, SOPClassUID: h.SOPClassUID, SOPInstanceUID: h.SOPInstanceUID,
		TransferSyntaxUID: h.TransferSyntaxUID, StudyInstanceUID: study}, body)
	if body.over {
		err = scp.ErrObjectTooLarge
	}
	code, _ := scp.StatusOf(err)
	if scp.ClassOf(code) != scp.ClassFailure {
		result.stored = append(result.stored, h)
		return
	}
	s.log().Warn("DICOMweb: storing failed", "object", h.SOPInstanceUID, "status", fmt.Sprintf("%04XH", code), "error", err)
	result.fail(h, code)
}

func anyStorage(sopClass, _ string) error {
	if !uid.StorageClass(sopClass) {
		return &scp.StatusError{Status: scp.StatusSOPClassUnsupported, Comment: "SOP class is not accepted"}
	}
	return nil
}

// limited ends with an error after so many bytes.
type limited struct {
	r    io.Reader
	left int64
	over bool
}

// Read implements io.Reader.
func (l *limited) Read(p []byte) (int, error) {
	if l.over {
		return 0, scp.ErrObjectTooLarge
	}
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		l.over = true
		return 0, scp.ErrObjectTooLarge
	}
	return n, err
}

// patientReader gives a sender new time with everything that it sends.
type patientReader struct {
	r       io.Reader
	control *http.ResponseController
	idle    time.Duration
}

// Read implements io.Reader.
func (p *patientReader) Read(b []byte) (int, error) {
	idle := p.idle
	if idle <= 0 {
		idle = time.Minute
	}
	if err := p.control.SetReadDeadline(time.Now().Add(idle)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return p.r.Read(b)
}

// outcome is what became of the parts of a request.
type outcome struct {
	stored []scp.ObjectHeader
	failed []failure
}

type failure struct {
	scp.ObjectHeader
	reason uint16
}

func (o *outcome) fail(h scp.ObjectHeader, reason uint16) {
	o.failed = append(o.failed, failure{h, reason})
}

// element is an element of the DICOM JSON model (PS3.18 F.2).
type element struct {
	VR    string `json:"vr"`
	Value []any  `json:"Value,omitempty"`
}

// reference is an item that names an object.
func reference(h scp.ObjectHeader) map[string]element {
	item := map[string]element{}
	if h.SOPClassUID != "" {
		item["00081150"] = element{"UI", []any{h.SOPClassUID}}
	}
	if h.SOPInstanceUID != "" {
		item["00081155"] = element{"UI", []any{h.SOPInstanceUID}}
	}
	return item
}

// write answers with what was stored and what was not (PS3.18 10.5.3): 200 all,
// 202 some, 409 none, 503 none for want of resources, 400 nothing came.
func (o *outcome) write(w http.ResponseWriter) {
	answer := map[string]element{}
	code := http.StatusOK
	if len(o.stored) > 0 {
		e := element{VR: "SQ"}
		for _, h := range o.stored {
			e.Value = append(e.Value, reference(h))
		}
		answer["00081199"] = e
	}
	if len(o.failed) > 0 {
		e := element{VR: "SQ"}
		full := true
		for _, f := range o.failed {
			item := reference(f.ObjectHeader)
			item["00081197"] = element{"US", []any{f.reason}}
			e.Value = append(e.Value, item)
			full = full && f.reason == scp.StatusOutOfResources
		}
		answer["00081198"] = e
		switch {
		case len(o.stored) > 0:
			code = http.StatusAccepted
		case full:
			code = http.StatusServiceUnavailable
			w.Header().Set("Retry-After", "60")
		default:
			code = http.StatusConflict
		}
	}
	if len(o.stored)+len(o.failed) == 0 {
		code = http.StatusBadRequest
	}
	w.Header().Set("Content-Type", "application/dicom+json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(answer) // the sender is gone then
}
