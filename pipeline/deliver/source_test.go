package deliver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/scp"
)

// object writes a small object: a report without pixels, or an overlay of two
// JPEG frames.
func object(t *testing.T, dir, sop string, jpeg bool) string {
	t.Helper()
	ds := dicomio.NewDataSet().SetString(tag.SOPClassUID, uid.ComprehensiveSRStorage).SetString(tag.SOPInstanceUID, sop).
		SetString(tag.StudyInstanceUID, "1.2.3").SetString(tag.SeriesInstanceUID, "1.2.3.1").SetString(tag.PatientName, "Test^Name")
	o := dicomio.WriteOptions{TransferSyntax: uid.ExplicitVRLittleEndian}
	if jpeg {
		img := image.NewRGBA(image.Rect(0, 0, 64, 48))
		for i := range img.Pix {
			img.Pix[i] = uint8(i / 7)
		}
		frame, err := dicomio.EncodeJPEG(img, 90)
		if err != nil {
			t.Fatal(err)
		}
		ds.SetString(tag.SOPClassUID, uid.MultiFrameTrueColorSecondaryCaptureImageStorage).SetInt(tag.Rows, 48).SetInt(tag.Columns, 64).SetInt(tag.NumberOfFrames, 2).
			SetInt(tag.SamplesPerPixel, 3).SetInt(tag.BitsAllocated, 8).SetInt(tag.BitsStored, 8).SetInt(tag.HighBit, 7).SetInt(tag.PixelRepresentation, 0).
			SetInt(tag.PlanarConfiguration, 0).SetString(tag.PhotometricInterpretation, "YBR_FULL_422").SetString(tag.LossyImageCompression, "01")
		o = dicomio.WriteOptions{TransferSyntax: uid.JPEGBaseline8Bit, Pixels: dicomio.FrameBytes([][]byte{frame, frame})}
	}
	path := filepath.Join(dir, sop+".dcm")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(dicomio.Write(f, ds, o), f.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// peer keeps what it is sent.
type peer struct {
	mu     sync.Mutex
	syntax map[string]string
	data   map[string][]byte
}

func (p *peer) Store(_ context.Context, req *scp.StoreRequest, r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.syntax[req.SOPInstanceUID], p.data[req.SOPInstanceUID] = req.TransferSyntaxUID, b
	return nil
}

// archive serves a peer that takes only these transfer syntaxes.
func archive(t *testing.T, syntaxes ...string) (*peer, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{syntax: map[string]string{}, data: map[string][]byte{}}
	var contexts []scp.PresentationContext
	for _, c := range []string{uid.ComprehensiveSRStorage, uid.MultiFrameTrueColorSecondaryCaptureImageStorage} {
		contexts = append(contexts, scp.PresentationContext{AbstractSyntax: c, TransferSyntaxes: syntaxes})
	}
	srv := &scp.Server{Handler: p, Contexts: contexts}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := errors.Join(srv.Shutdown(ctx), <-done); !errors.Is(err, scp.ErrServerClosed) {
			t.Error(err)
		}
	})
	return p, l.Addr().String()
}

// An archive gets every object in a syntax that it takes, without loss; what it
// cannot get by the rule is refused and says so.
func TestSyntaxOfDestination(t *testing.T) {
	const implicit, explicit, jpeg = uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.JPEGBaseline8Bit
	dir := t.TempDir()
	report, overlay := object(t, dir, "1.2.3.4", false), object(t, dir, "1.2.3.5", true)
	for _, c := range []struct {
		takes           []string
		rule            Conversion
		report, overlay string // syntax they arrive in, "" for not at all
	}{
		{[]string{implicit}, Auto, implicit, implicit},
		{[]string{implicit}, "", implicit, implicit},
		{[]string{implicit}, Never, implicit, ""},
		{[]string{implicit, jpeg}, Auto, implicit, jpeg},
		{[]string{explicit, implicit}, Auto, explicit, explicit},
		{[]string{explicit, implicit, jpeg}, Auto, explicit, jpeg},
		{[]string{explicit, implicit, jpeg}, Never, explicit, jpeg},
		{[]string{explicit, implicit, jpeg}, Uncompressed, explicit, explicit},
		{[]string{implicit, jpeg}, Uncompressed, implicit, implicit},
		{[]string{jpeg}, Auto, "", jpeg},
	} {
		t.Run(fmt.Sprint(c.takes, c.rule), func(t *testing.T) {
			p, addr := archive(t, c.takes...)
			d := &scp.Dialer{CallingAE: "ECHONODE", CalledAE: "PACS"}
			results, err := d.SendAll(context.Background(), addr, []scp.ObjectSource{Source{Path: report, Convert: c.rule}, Source{Path: overlay, Convert: c.rule}}, nil)
			if err != nil {
				t.Fatal(err)
			}
			for i, want := range []string{c.report, c.overlay} {
				uid := []string{"1.2.3.4", "1.2.3.5"}[i]
				var refused *scp.ContextError
				if p.syntax[uid] != want || results[i].Sent != want || (results[i].Err != nil) != (want == "") || want == "" && !errors.As(results[i].Err, &refused) {
					t.Errorf("%s arrived in %q, want %q; %+v", uid, p.syntax[uid], want, results[i])
				}
			}
			if b := p.data["1.2.3.5"]; b != nil {
				same(t, overlay, b, p.syntax["1.2.3.5"])
			}
			if b := p.data["1.2.3.4"]; b != nil {
				f, err := dicomio.Read(bytes.NewReader(b), int64(len(b)), dicomio.Options{TransferSyntax: p.syntax["1.2.3.4"], Strict: true})
				if err != nil || f.DataSet.String(tag.PatientName) != "Test^Name" {
					t.Errorf("report: %v", err)
				}
			}
		})
	}
}

// same compares all frames of a file with those of a data set that was sent.
func same(t *testing.T, path string, sent []byte, ts string) {
	t.Helper()
	frames := func(f *dicomio.File, err error) (out [][]byte) {
		if err != nil {
			t.Fatal(err)
		}
		r, err := f.Frames()
		if err != nil {
			t.Fatal(err)
		}
		var img image.RGBA
		for i := range r.Len() {
			if err := r.RGB(i, &img); err != nil {
				t.Fatal(err)
			}
			out = append(out, bytes.Clone(img.Pix))
		}
		return out
	}
	want := frames(dicomio.Open(path, dicomio.Options{}))
	got := frames(dicomio.Read(bytes.NewReader(sent), int64(len(sent)), dicomio.Options{TransferSyntax: ts, Strict: true}))
	if !slices.EqualFunc(got, want, bytes.Equal) {
		t.Errorf("the frames arrived otherwise in %s", ts)
	}
}

// A peer that goes away in the middle ends the conversion too.
func TestConversionEndsWithItsReader(t *testing.T) {
	path := object(t, t.TempDir(), "1.2.3.5", true)
	o, err := Source{Path: path}.OpenAs(uid.ImplicitVRLittleEndian)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, o.DataSet, 100); err != nil {
		t.Fatal(err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := o.DataSet.Read(make([]byte, 1)); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("after Close: %v", err)
	}
}

// A service that does not take the compression is sent the object decompressed
// where the rule allows it.
func TestStowTranscodes(t *testing.T) {
	var got string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if bytes.Contains(b, []byte(uid.JPEGBaseline8Bit)) {
			http.Error(w, "not this one", http.StatusUnsupportedMediaType)
			return
		}
		got = "native"
	}))
	defer srv.Close()
	overlay := object(t, t.TempDir(), "1.2.3.5", true)
	for _, rule := range []Conversion{Auto, Never, Uncompressed} {
		got = ""
		c := &Stow{URL: srv.URL}
		results, err := c.SendAll(context.Background(), []Source{{Path: overlay, Convert: rule}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var refused *HTTPError
		if want := rule != Never; (got == "native") != want || (results[0].Err == nil) != want ||
			!want && (!errors.As(results[0].Err, &refused) || refused.Status != 415) {
			t.Errorf("%s: %q, %+v", rule, got, results[0])
		}
	}
}

// Success is what the answer says of the object, not the status of the whole:
// some services answer 200 to what they have not stored.
func TestStowGoesByTheAnswer(t *testing.T) {
	answer, code := "", 200
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			t.Error(err)
		}
		w.WriteHeader(code)
		if _, err := io.WriteString(w, answer); err != nil {
			t.Error(err)
		}
	}))
	defer srv.Close()
	path := object(t, t.TempDir(), "1.2.3.4", false)
	const item = `{"00081155":{"vr":"UI","Value":["1.2.3.4"]}`
	for _, c := range []struct {
		name, answer string
		code         int
		stored       bool
		status       uint16
	}{
		{"stored", `{"00081199":{"vr":"SQ","Value":[` + item + `}]}}`, 200, true, 0},
		{"with a warning", `{"00081199":{"vr":"SQ","Value":[` + item + `,"00081196":{"vr":"US","Value":[45056]}}]}}`, 202, true, 0xB000},
		{"failed", `{"00081198":{"vr":"SQ","Value":[` + item + `,"00081197":{"vr":"US","Value":[272]}}]}}`, 202, false, 0x0110},
		{"failed, 409", `{"00081198":{"vr":"SQ","Value":[` + item + `,"00081197":{"vr":"US","Value":[42752]}}]}}`, 409, false, 0xA700},
		{"neither", `{"00081198":{"vr":"SQ"},"00081199":{"vr":"SQ"}}`, 200, false, 0},
		{"another object", `{"00081199":{"vr":"SQ","Value":[{"00081155":{"vr":"UI","Value":["1.2.3.9"]}}]}}`, 200, false, 0},
		{"no JSON", "<html>", 200, false, 0},
		{"nothing said", "", 200, true, 0},
		{"server error", "out of order", 500, false, 0},
	} {
		answer, code = c.answer, c.code
		results, err := (&Stow{URL: srv.URL}).SendAll(context.Background(), []Source{{Path: path}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		r := results[0]
		if (r.Err == nil) != c.stored || r.Result.Status != c.status || r.Result.Warning != (c.status == 0xB000 || c.name == "nothing said") {
			t.Errorf("%s: %+v", c.name, r)
		}
	}
}

// What a service says nothing of is asked for, and has a warning if it does not say then
// either; what it answers before it has read it was not stored.
func TestStowWithoutAWord(t *testing.T) {
	finds, reads := false, true
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodGet && finds:
			_, _ = io.WriteString(w, `[{"00080018":{"vr":"UI","Value":["1.2.3.4"]}}]`)
		case r.Method == http.MethodGet:
			w.WriteHeader(http.StatusNotImplemented)
		case reads:
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusOK)
		default: // a proxy that has lost patience: the connection is cut
			c, b, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = b.WriteString("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			_ = b.Flush()
			_ = c.Close()
		}
	}))
	defer srv.Close()
	path := object(t, t.TempDir(), "1.2.3.4", false)
	send := func(path string) scp.SendResult {
		t.Helper()
		results, err := (&Stow{URL: srv.URL}).SendAll(t.Context(), []Source{{Path: path}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return results[0]
	}
	if r := send(path); r.Err != nil || !r.Result.Warning || r.Result.Comment == "" {
		t.Errorf("nobody knows: %+v", r)
	}
	finds = true
	if r := send(path); r.Err != nil || r.Result.Warning || r.Result.Comment != "" {
		t.Errorf("it is there: %+v", r)
	}
	reads = false
	large := filepath.Join(t.TempDir(), "large.dcm") // more than connections hold
	f, err := os.Create(large)
	if err != nil {
		t.Fatal(err)
	}
	ds := dicomio.NewDataSet().SetString(tag.SOPClassUID, uid.EncapsulatedPDFStorage).SetString(tag.SOPInstanceUID, "1.2.3.4").
		SetString(tag.StudyInstanceUID, "1.2.3").SetString(tag.SeriesInstanceUID, "1.2.3.1").SetBytes(tag.EncapsulatedDocument, "OB", make([]byte, 32<<20))
	if err := errors.Join(dicomio.Write(f, ds, dicomio.WriteOptions{TransferSyntax: uid.ExplicitVRLittleEndian}), f.Close()); err != nil {
		t.Fatal(err)
	}
	if r := send(large); r.Err == nil {
		t.Errorf("nothing of it was read: %+v", r)
	}
}
