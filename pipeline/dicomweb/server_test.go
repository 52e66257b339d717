package dicomweb

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/echonode/echonode/dicomio/part10"
	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/pipeline/deliver"
	"github.com/echonode/echonode/scp"
)

const usClass = "1.2.840.10008.5.1.4.1.1.3.1"

// keeper keeps what it is sent and refuses objects by their UID.
type keeper struct {
	mu             sync.Mutex
	got            map[string][]byte
	from           map[string]string
	refuse         map[string]error
	studies        map[string]int // named by requests
	opened, closed int
}

func (k *keeper) Store(_ context.Context, req *scp.StoreRequest, r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	k.mu.Lock()
	k.studies[req.StudyInstanceUID]++
	k.mu.Unlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.refuse[req.SOPInstanceUID]; err != nil {
		return err
	}
	k.got[req.SOPInstanceUID], k.from[req.SOPInstanceUID] = b, req.Association.CallingAE
	return nil
}

func (k *keeper) AssociationOpened(*scp.AssociationInfo)        { k.opened++ }
func (k *keeper) AssociationClosed(*scp.AssociationInfo, error) { k.closed++ }

func newKeeper() *keeper {
	return &keeper{studies: map[string]int{}, got: map[string][]byte{}, from: map[string]string{}, refuse: map[string]error{}}
}

// accounts are those of a file with one account.
func accounts(t *testing.T) Accounts {
	t.Helper()
	path := filepath.Join(t.TempDir(), "accounts")
	if err := os.WriteFile(path, []byte("# who may store\n\nVIVID95:a long secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := ReadAccounts(path)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// object is a file of a data set, which nobody here parses.
func object(instance string, data []byte) []byte {
	var b bytes.Buffer
	if err := part10.Write(&b, part10.Meta{SOPClassUID: usClass, SOPInstanceUID: instance, TransferSyntaxUID: uid.ExplicitVRLittleEndian}); err != nil {
		panic(err)
	}
	return append(b.Bytes(), data...)
}

func file(t *testing.T, b []byte) deliver.Source {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.dcm")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return deliver.Source{Path: path}
}

// Our client and our server understand each other: objects arrive byte for
// byte, refusals come back with their reason, credentials count.
func TestOurClientAndServer(t *testing.T) {
	k := newKeeper()
	k.refuse["1.2.4"] = &scp.StatusError{Status: 0x0111}
	k.refuse["1.2.5"] = errors.New("disk on fire")
	srv := httptest.NewTLSServer(&Server{Handler: k, Called: "ECHONODE", Accounts: accounts(t), MaxObject: 1 << 20})
	defer srv.Close()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("a long secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	data := bytes.Repeat([]byte("0123456789"), 50_000)
	sources := []deliver.Source{file(t, object("1.2.3", data)), file(t, object("1.2.4", data)), file(t, object("1.2.5", nil)),
		file(t, object("1.2.6", make([]byte, 2<<20)))}
	for name, authorize := range map[string]func(*http.Request) error{"basic": deliver.Basic("VIVID95", secret), "bearer": deliver.Bearer(secret)} {
		c := &deliver.Stow{URL: srv.URL, Client: srv.Client(), Authorize: authorize}
		results, err := c.SendAll(context.Background(), sources, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []uint16{0, 0x0111, scp.StatusCannotUnderstand, scp.StatusOutOfResources} {
			r := results[i]
			var status *scp.StatusError
			if want == 0 {
				if r.Err != nil || r.Sent != uid.ExplicitVRLittleEndian || r.Result.Bytes != int64(len(data)) {
					t.Errorf("%s, object %d: %+v", name, i, r)
				}
			} else if i < 3 && (!errors.As(r.Err, &status) || status.Status != want) {
				t.Errorf("%s, object %d: %+v, want %04XH", name, i, r, want)
			} else if i == 3 && r.Err == nil {
				t.Errorf("%s: an object over the limit was stored", name)
			}
		}
		if _, err := c.Ping(context.Background()); err != nil {
			t.Errorf("%s: ping: %v", name, err)
		}
	}
	if !bytes.Equal(k.got["1.2.3"], data) || len(k.got) != 1 || k.from["1.2.3"] != "VIVID95" {
		t.Errorf("%d objects, from %q", len(k.got), k.from["1.2.3"])
	}
	if k.opened != k.closed || k.opened != 8 {
		t.Errorf("%d requests began, %d ended", k.opened, k.closed)
	}
	wrong := filepath.Join(t.TempDir(), "wrong")
	if err := os.WriteFile(wrong, []byte("another secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	var refused *deliver.HTTPError
	for name, authorize := range map[string]func(*http.Request) error{"nobody": nil, "wrong password": deliver.Basic("VIVID95", wrong),
		"wrong token": deliver.Bearer(wrong), "another name": deliver.Basic("EPIQ", secret)} {
		c := &deliver.Stow{URL: srv.URL, Client: srv.Client(), Authorize: authorize}
		results, err := c.SendAll(context.Background(), sources[:2], nil)
		if err != nil || !errors.As(results[0].Err, &refused) || refused.Status != 401 || results[1].Err == nil {
			t.Errorf("%s: %+v, %v", name, results, err)
		}
		if _, err := c.Ping(context.Background()); !errors.As(err, &refused) {
			t.Errorf("%s: ping: %v", name, err)
		}
	}
	if len(k.got) != 1 {
		t.Error("something was stored without credentials")
	}
}

// What is no store request is refused; a body that ends early keeps what was
// whole.
func TestRequests(t *testing.T) {
	k := newKeeper()
	s := &Server{Handler: k, Accounts: accounts(t), MaxParts: 3}
	body := func(parts ...[]byte) (string, []byte) {
		var b bytes.Buffer
		m := multipart.NewWriter(&b)
		for _, p := range parts {
			w, err := m.CreatePart(textproto.MIMEHeader{"Content-Type": {"application/dicom"}})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(p); err != nil {
				t.Fatal(err)
			}
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		return `multipart/related; type="application/dicom"; boundary=` + m.Boundary(), b.Bytes()
	}
	good := object("1.2.3", []byte("data"))
	kind, two := body(good, object("1.2.4", nil))
	mixedKind, mixed := body(good, []byte("no DICOM at all"))
	badKind, bad := body([]byte("no DICOM at all"))
	emptyKind, empty := body()
	manyKind, many := body(good, good, good, good)
	for name, c := range map[string]struct {
		method, path, kind string
		body               []byte
		want               int
		stored, failed     int
	}{
		"two objects":   {"POST", "/studies", kind, two, 200, 2, 0},
		"other root":    {"POST", "/dicom-web/studies", kind, two, 200, 2, 0},
		"of a study":    {"POST", "/dicom-web/studies/1.2.9", kind, two, 200, 2, 0},
		"no quotes":     {"POST", "/studies", strings.ReplaceAll(kind, `"`, ""), two, 200, 2, 0},
		"other type":    {"POST", "/studies", strings.Replace(kind, "/dicom", "/json", 1), two, 415, 0, 0},
		"no UID":        {"POST", "/studies/1.2.x", kind, two, 404, 0, 0},
		"no study":      {"POST", "/studies/", kind, two, 404, 0, 0},
		"one is none":   {"POST", "/studies", mixedKind, mixed, 202, 1, 1},
		"none is one":   {"POST", "/studies", badKind, bad, 409, 0, 1},
		"nothing":       {"POST", "/studies", emptyKind, empty, 400, 0, 0},
		"too many":      {"POST", "/studies", manyKind, many, 413, 0, 0},
		"cut":           {"POST", "/studies", kind, two[:len(two)-60], 202, 1, 1},
		"JSON":          {"POST", "/studies", "application/dicom+json", []byte("{}"), 415, 0, 0},
		"no boundary":   {"POST", "/studies", `multipart/related; type="application/dicom"`, two, 415, 0, 0},
		"GET":           {"GET", "/studies", "", nil, 405, 0, 0},
		"another place": {"POST", "/studies/1.2.3/series", kind, two, 404, 0, 0},
	} {
		r := httptest.NewRequest(c.method, c.path, bytes.NewReader(c.body))
		r.Header.Set("Content-Type", c.kind)
		r.SetBasicAuth("VIVID95", "a long secret")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		var answer map[string]struct{ Value []any }
		if c.stored+c.failed > 0 {
			if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
				t.Errorf("%s: %v: %s", name, err, w.Body)
			}
		}
		if w.Code != c.want || len(answer["00081199"].Value) != c.stored || len(answer["00081198"].Value) != c.failed {
			t.Errorf("%s: %d %s, want %d", name, w.Code, w.Body, c.want)
		}
	}
	if k.opened != k.closed {
		t.Errorf("%d requests began, %d ended", k.opened, k.closed)
	}
	if k.studies["1.2.9"] != 2 || k.studies[""] == 0 {
		t.Errorf("the handler was told of the studies %v", k.studies)
	}
	for _, authorization := range []string{"bearer a long secret", "BEARER  a long secret", "Basic VklWSUQ5NTphIGxvbmcgc2VjcmV0"} {
		r := httptest.NewRequest("POST", "/studies", bytes.NewReader(two))
		r.Header.Set("Content-Type", kind)
		r.Header.Set("Authorization", authorization)
		w := httptest.NewRecorder()
		if s.ServeHTTP(w, r); w.Code != 200 {
			t.Errorf("%s: %d", authorization, w.Code)
		}
	}
	post := func(kind, encoding string, body []byte) *httptest.ResponseRecorder {
		r := httptest.NewRequest("POST", "/studies", bytes.NewReader(body))
		r.Header.Set("Content-Type", kind)
		r.Header.Set("Content-Encoding", encoding)
		r.SetBasicAuth("VIVID95", "a long secret")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		return w
	}
	if w := post(manyKind, "", many); !strings.Contains(w.Body.String(), "more than 3 objects in one request; 3 objects before were stored") {
		t.Errorf("too many: %s", w.Body)
	}
	if w := post(kind, "identity", two); w.Code != 200 {
		t.Errorf("identity: %d %s", w.Code, w.Body)
	}
	k.got = map[string][]byte{}
	for _, encoding := range []string{"gzip", "deflate", "br", "gzip, identity"} {
		if w := post(kind, encoding, two); w.Code != 415 || w.Header().Get("Accept-Encoding") != "identity" || len(k.got) != 0 {
			t.Errorf("%s: %d %s, %d stored", encoding, w.Code, w.Body, len(k.got))
		}
	}
}

func TestReadAccounts(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		text string
		mode os.FileMode
		want string
	}{
		"good":            {"a:long enough\nb:also long:enough\n", 0o640, ""},
		"readable by all": {"a:long enough\n", 0o644, "chmod"},
		"short":           {"a:short\n", 0o600, "line 1"},
		"no name":         {"\n:long enough\n", 0o600, "line 2"},
		"empty":           {"# nobody\n", 0o600, "no account"},
	} {
		path := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
		if err := os.WriteFile(path, []byte(c.text), c.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadAccounts(path); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is not accepted by C-STORE is not by this way either, and nothing of it is
// read: neither another class, nor a transfer syntax that is not negotiated for it.
func TestTakesWhatIsNegotiated(t *testing.T) {
	const vendors = "1.3.12.2.1107.5.9.1"
	k := newKeeper()
	rule := &scp.Server{Handler: k, Contexts: []scp.PresentationContext{{AbstractSyntax: usClass, TransferSyntaxes: []string{uid.ExplicitVRLittleEndian}}},
		Others: []string{uid.JPEGXL}}
	srv := httptest.NewServer(&Server{Handler: k, Accounts: accounts(t), Takes: rule.Takes})
	defer srv.Close()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("a long secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &deliver.Stow{URL: srv.URL, Authorize: deliver.Bearer(secret)}
	for i, o := range []struct {
		class, syntax string
		want          uint16
	}{
		{usClass, uid.ExplicitVRLittleEndian, 0},
		{usClass, uid.JPEGXL, 0xC122},
		{vendors, uid.JPEGXL, 0},
		{vendors, uid.ExplicitVRLittleEndian, 0xC122},
		{uid.Verification, uid.ExplicitVRLittleEndian, 0x0122},
	} {
		var b bytes.Buffer
		m := part10.Meta{SOPClassUID: o.class, SOPInstanceUID: fmt.Sprint("1.2.3.", i), TransferSyntaxUID: o.syntax}
		if err := part10.Write(&b, m); err != nil {
			t.Fatal(err)
		}
		results, err := c.SendAll(context.Background(), []deliver.Source{file(t, append(b.Bytes(), "data"...))}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var status *scp.StatusError
		_, stored := k.got[m.SOPInstanceUID]
		if stored != (o.want == 0) || (results[0].Err == nil) != stored || !stored && (!errors.As(results[0].Err, &status) || status.Status != o.want) {
			t.Errorf("%s in %s: %+v, stored: %v", o.class, o.syntax, results[0], stored)
		}
	}
	// Without other classes there is no rule for them.
	if err := (&scp.Server{Handler: k}).Takes(vendors, uid.ExplicitVRLittleEndian); err == nil {
		t.Error("a class beyond those that are known is taken")
	}
}
