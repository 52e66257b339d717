package deliver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/part10"
	"github.com/echonode/echonode/scp"
)

// Stow is a destination that takes objects over DICOMweb (PS3.18 10.5, "STOW").
type Stow struct {
	URL    string // of the service, for example https://pacs.example.org/dicom-web
	Client *http.Client
	// Authorize puts credentials into a request; nil puts none.
	Authorize func(*http.Request) error
	// Refused, if set, is told of a request whose credentials were refused (401);
	// it is made once more, with what Authorize puts in then.
	Refused func(*http.Request)
	// Timeout of one object: from its first byte to the answer.
	Timeout time.Duration
}

// Basic is an Authorize with a user and a password that is read from a file at
// every request.
func Basic(user, file string) func(*http.Request) error {
	return func(r *http.Request) error {
		secret, err := secretIn(file)
		if err == nil {
			r.SetBasicAuth(user, secret)
		}
		return err
	}
}

// Bearer is an Authorize with a token that is read from a file at every
// request, so that another program may renew it.
func Bearer(file string) func(*http.Request) error {
	return func(r *http.Request) error {
		secret, err := secretIn(file)
		if err == nil {
			r.Header.Set("Authorization", "Bearer "+secret)
		}
		return err
	}
}

// CheckSecret says what is wrong with the file of a password or a token.
func CheckSecret(file string) error {
	_, err := secretIn(file)
	return err
}

// secretIn reads a secret: the first line of a file.
func secretIn(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	if line = strings.TrimSpace(line); line == "" {
		return "", fmt.Errorf("%s holds no secret", file)
	}
	return line, nil
}

// CheckURL says what is wrong with the address of a service. What it says quotes
// nothing of the address but the number of its port: there may be a password in
// it.
func CheckURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "":
		return errors.New("is not an address such as https://pacs.example.org/dicom-web")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return errors.New("no user, query or fragment belongs into it")
	case u.Port() != "" && !validPort(u.Port()):
		return fmt.Errorf("%s is not a port, 1 to 65535", u.Port())
	}
	return nil
}

// InTheClear reports whether others on the way can read what is sent to an
// address: it is not https, and not on this machine.
func InTheClear(s string) bool {
	u, err := url.Parse(s)
	if err != nil {
		return true
	}
	ip := net.ParseIP(u.Hostname())
	return u.Scheme != "https" && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback())
}

func validPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

// HTTPError is an answer that refuses a whole request. What the server wrote is
// not part of the text of the error: it may hold anything, a patient's name
// among it. Show it to who asks for it.
type HTTPError struct {
	Status int
	Text   string // the beginning of the body, printable
}

func (e *HTTPError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("HTTP %d %s", e.Status, http.StatusText(e.Status)))
}

// reach says whom what became of an object concerns.
type reach int

const (
	unasked   reach = iota // the service was not asked: the object cannot be read
	ofObject               // its answer is of this object
	ofService              // perhaps others would fare the same: no answer, 5xx, 404, 408, 429
	ofAll                  // others would fare the same: no connection, 401, 403
)

// SendAll sends every source in a request of its own and returns one result
// for each, as scp.Dialer.SendAll does. After what would be the same for all (no
// connection, 401, 403), and after two failures without an answer in between that may
// be (no answer, 5xx, 404, 408, 429), the rest is not tried: scp.ErrNotTried.
// Where the service was not reached at all, each has that error.
func (s *Stow) SendAll(ctx context.Context, sources []Source, done func(i int, r scp.SendResult)) ([]scp.SendResult, error) {
	results := make([]scp.SendResult, len(sources))
	var fatal error // what the rest has
	failures, tried := 0, false
	for i, src := range sources {
		r := &results[i]
		if fatal == nil && ctx.Err() != nil {
			fatal = fmt.Errorf("%w: %w", scp.ErrNotTried, ctx.Err())
		}
		if r.Header, r.Err = src.Header(); r.Err == nil {
			if r.Err = fatal; fatal == nil {
				what := s.send(ctx, src, r)
				var before *unsent
				tried = tried || what != unasked && !errors.As(r.Err, &before)
				switch {
				case what == ofObject:
					failures = 0
				case what == ofService:
					failures++
				}
				switch {
				case what == ofAll && !tried:
					fatal = r.Err
				case what == ofAll, failures == 2:
					fatal = fmt.Errorf("%w: %w", scp.ErrNotTried, r.Err)
				}
			}
		}
		if done != nil {
			done(i, *r)
		}
	}
	return results, ctx.Err()
}

// unsent is the error of a request that did not begin.
type unsent struct{ error }

func (u *unsent) Unwrap() error { return u.error }

// Ping asks the service for something small, to see that it is there and takes
// the credentials. Services need not answer searches: whatever is no refusal of
// the sender counts.
func (s *Stow) Ping(ctx context.Context) (code int, err error) {
	code, b, err := s.get(ctx, "/studies?limit=1&StudyInstanceUID=1.2.3", 1000)
	if err != nil {
		return code, err
	}
	if code == http.StatusUnauthorized || code == http.StatusForbidden || code >= 500 && code != http.StatusNotImplemented {
		return code, &HTTPError{code, printable(b)}
	}
	return code, nil
}

// get asks the service for something, and reads at most limit bytes of the
// answer.
func (s *Stow) get(ctx context.Context, path string, limit int64) (code int, body []byte, err error) {
	for again := s.Refused != nil; ; again = false {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(s.URL, "/")+path, nil)
		if err != nil {
			return 0, nil, err
		}
		resp, err := s.do(req)
		if err != nil {
			return 0, nil, err
		}
		body, err := io.ReadAll(io.LimitReader(resp.Body, limit))
		if err = errors.Join(err, resp.Body.Close()); err != nil || resp.StatusCode != http.StatusUnauthorized || !again {
			return resp.StatusCode, body, err
		}
	}
}

// do makes a request with credentials.
func (s *Stow) do(req *http.Request) (*http.Response, error) {
	req.Header.Set("Accept", "application/dicom+json")
	if s.Authorize != nil {
		if err := s.Authorize(req); err != nil {
			return nil, err
		}
	}
	client := s.Client
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	if err == nil && resp.StatusCode == http.StatusUnauthorized && s.Refused != nil {
		s.Refused(req)
	}
	return resp, err
}

// Has asks the service (QIDO-RS, PS3.18 10.6) which of some files' objects it
// has, by SOP Instance UID. It is for objects that were sent and whose answer
// was lost. A service that offers no search says nothing: the map is empty. What
// cannot be identified, or asked for, does not keep it from saying what it has of the
// others, unless two in a row fail; the error tells of it.
func (s *Stow) Has(ctx context.Context, paths []string) (map[string]bool, error) {
	there := map[string]bool{}
	ids, problems := identify(ctx, paths)
	for failures, i := 0, 0; i < len(ids) && failures < 2 && ctx.Err() == nil; i++ {
		has, err := s.has(ctx, ids[i])
		if err != nil {
			problems = errors.Join(problems, err)
			failures++
			continue
		}
		failures = 0
		if has {
			there[ids[i].SOPInstanceUID] = true
		}
	}
	return there, errors.Join(problems, ctx.Err())
}

// has asks for one object.
func (s *Stow) has(ctx context.Context, id dicomio.Identity) (bool, error) {
	query := url.Values{"SOPInstanceUID": {id.SOPInstanceUID}, "limit": {"2"}}
	code, body, err := s.get(ctx, "/studies/"+id.StudyInstanceUID+"/series/"+id.SeriesInstanceUID+"/instances?"+query.Encode(), maxAnswer)
	switch {
	case err != nil:
		return false, err
	case code == http.StatusUnauthorized, code == http.StatusForbidden, code >= 500 && code != http.StatusNotImplemented:
		return false, &HTTPError{code, printable(body)}
	case code != http.StatusOK:
		return false, nil // 204: no match; others: it does not say
	}
	var matches []struct {
		Instance attribute `json:"00080018"`
	}
	// A match is looked at: a service may ignore a key that it does not know.
	if json.Unmarshal(body, &matches) != nil {
		return false, nil
	}
	for _, m := range matches {
		if m.Instance.text() == id.SOPInstanceUID {
			return true, nil
		}
	}
	return false, nil
}

// ask looks for an object of which the service has not said that it has it.
func (s *Stow) ask(ctx context.Context, src Source, r *scp.SendResult) {
	if r.Err != nil || !r.Result.Warning || r.Result.Status != 0 {
		return
	}
	limit := hasFor
	if s.Timeout > 0 {
		limit = min(limit, s.Timeout)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if there, err := s.Has(ctx, []string{src.Path}); err == nil && there[r.Header.SOPInstanceUID] {
		r.Result.Warning, r.Result.Comment = false, ""
	}
}

// send sends one object and fills in its result.
func (s *Stow) send(ctx context.Context, src Source, r *scp.SendResult) (of reach) {
	o, err := src.Open()
	if err != nil {
		r.Err = err
		return unasked
	}
	of = s.post(ctx, o, r)
	defer func() { s.ask(ctx, src, r) }()
	var refused *HTTPError
	if s.Refused != nil && errors.As(r.Err, &refused) && refused.Status == http.StatusUnauthorized {
		if o, err = src.Open(); err != nil {
			r.Err = err
			return unasked
		}
		of = s.post(ctx, o, r)
	}
	if errors.As(r.Err, &refused) && refused.Status == http.StatusUnsupportedMediaType {
		// Not in this transfer syntax: in another, where the rule allows it.
		others, err := src.Alternatives()
		for _, ts := range others {
			if err != nil || r.Err == nil {
				break
			}
			if o, err = src.OpenAs(ts); err == nil {
				of = s.post(ctx, o, r)
			}
		}
		if err != nil {
			r.Err = errors.Join(r.Err, err)
		}
	}
	return of
}

// maxAnswer bounds the answer that is read.
const maxAnswer = 1 << 20

// post sends one object in one transfer syntax. It closes the object.
func (s *Stow) post(ctx context.Context, o scp.Object, r *scp.SendResult) reach {
	if s.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.Timeout)
		defer cancel()
	}
	body, w := io.Pipe()
	parts := multipart.NewWriter(w)
	written := make(chan int64, 1)
	go func() {
		n, err := writePart(parts, o)
		written <- n
		w.CloseWithError(err)
	}()
	defer func() {
		body.Close() // the writer ends, if it has not
		r.Result.Bytes = <-written
	}()
	wrote := make(chan error, 1)
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
		WroteRequest: func(i httptrace.WroteRequestInfo) {
			select {
			case wrote <- i.Err:
			default: // of an attempt on another connection
			}
		}})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(s.URL, "/")+"/studies", body)
	if err != nil {
		r.Err = &unsent{err}
		return ofAll
	}
	req.Header.Set("Content-Type", `multipart/related; type="application/dicom"; boundary=`+parts.Boundary())
	resp, err := s.do(req)
	switch {
	case err != nil && !connected.Load():
		r.Err = &unsent{err}
		return ofAll
	case err != nil:
		r.Err = err
		return ofService
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		r.Err = err
		return ofService
	}
	r.Result.Status, r.Result.Warning, r.Err = judge(resp, answer, o.SOPInstanceUID)
	if r.Err == nil {
		// A gateway that loses patience says yes to what it has not read.
		select {
		case err = <-wrote:
		case <-time.After(wroteWait):
			err = errors.New("not all of it was taken")
		}
		if err != nil {
			r.Err = fmt.Errorf("the service answers %d before it has the whole object: %w", resp.StatusCode, err)
			return ofService
		}
		r.Sent = o.TransferSyntaxUID
		if len(bytes.TrimSpace(answer)) == 0 {
			// PS3.18 10.5.3.1: an answer names what was stored.
			r.Result.Warning, r.Result.Comment = true, "the service does not say what it has stored"
		}
		return ofObject
	}
	switch code := resp.StatusCode; {
	case errors.As(r.Err, new(*scp.StatusError)):
		return ofObject
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return ofAll
	case code == http.StatusNotFound, code == http.StatusRequestTimeout, code == http.StatusTooManyRequests, code >= 500:
		return ofService
	}
	return ofObject
}

// writePart writes the object as the only part of a body.
func writePart(m *multipart.Writer, o scp.Object) (n int64, err error) {
	defer func() { err = errors.Join(err, o.Close()) }()
	// Without a transfer-syntax parameter, which the file says itself: Orthanc's
	// plugin 1.7 answers 200 to one and stores nothing.
	part, err := m.CreatePart(textproto.MIMEHeader{"Content-Type": {"application/dicom"}})
	if err != nil {
		return 0, err
	}
	if err := part10.Write(part, part10.Meta{SOPClassUID: o.SOPClassUID, SOPInstanceUID: o.SOPInstanceUID, TransferSyntaxUID: o.TransferSyntaxUID}); err != nil {
		return 0, err
	}
	if n, err = io.Copy(part, o.DataSet); err != nil {
		return n, err
	}
	return n, m.Close()
}

// stowAnswer is the data set that answers a request (PS3.18 table I.2-1), as
// far as it is read.
type stowAnswer struct {
	Failed struct {
		Value []struct {
			Instance attribute `json:"00081155"`
			Reason   attribute `json:"00081197"`
		}
	} `json:"00081198"`
	Stored struct {
		Value []struct {
			Instance attribute `json:"00081155"`
			Warning  attribute `json:"00081196"`
		}
	} `json:"00081199"`
}

// attribute is an element of the DICOM JSON model (PS3.18 F.2).
type attribute struct {
	Value []any
}

func (a attribute) text() string {
	if len(a.Value) == 0 {
		return ""
	}
	return fmt.Sprint(a.Value[0])
}

func (a attribute) number() uint16 {
	if len(a.Value) == 0 {
		return 0
	}
	f, ok := a.Value[0].(float64)
	if !ok || f < 0 || f > 0xFFFF {
		return 0
	}
	return uint16(f)
}

// wroteWait is how long the end of a request may come behind its answer.
const wroteWait = 5 * time.Second

// judge reads what became of an object: its status, or an error.
func judge(resp *http.Response, body []byte, instance string) (status uint16, warning bool, err error) {
	ok := resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusAccepted || resp.StatusCode == http.StatusCreated
	var a stowAnswer
	jsonErr := json.Unmarshal(body, &a)
	if jsonErr == nil {
		for _, f := range a.Failed.Value {
			if f.Instance.text() != instance {
				continue
			}
			if status = f.Reason.number(); status == 0 {
				status = scp.StatusCannotUnderstand
			}
			return status, false, &scp.StatusError{Status: status, Comment: fmt.Sprintf("HTTP %d", resp.StatusCode)}
		}
		for _, s := range a.Stored.Value {
			if s.Instance.text() == instance && ok {
				return s.Warning.number(), s.Warning.number() != 0, nil
			}
		}
	}
	switch {
	case !ok:
		return 0, false, &HTTPError{resp.StatusCode, printable(body)}
	case len(bytes.TrimSpace(body)) == 0:
		return 0, false, nil // 200 without a word
	case jsonErr != nil:
		return 0, false, fmt.Errorf("the answer is no DICOM JSON: %w", jsonErr)
	}
	return 0, false, fmt.Errorf("the answer does not name the object %s", instance)
}

// printable is the beginning of a text answer.
func printable(b []byte) string {
	s := strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return ' '
		}
		return c
	}, string(b[:min(len(b), 200)]))
	return strings.Join(strings.Fields(s), " ")
}
