package scp

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/echonode/echonode/dicomio/uid"
)

// Classes beyond the list are taken where the server says so, and of a class on
// the list only the syntaxes that it names: what is proposed first but cannot be
// used does not win.
func TestOtherClassesAndUsableSyntaxes(t *testing.T) {
	const jxl, ecg, vendor, find = "1.2.840.10008.1.2.4.110", "1.2.840.10008.5.1.4.1.1.9.1.1", "1.3.46.670589.2.4.1.1", "1.2.840.10008.5.1.4.1.2.2.1"
	usable := []string{uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, jpegTS}
	propose := []PresentationContext{
		{usmfClass, []string{jxl, jpegTS, uid.ExplicitVRLittleEndian}},
		{usmfClass, []string{jxl}},
		{ecg, []string{uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian}},
		{vendor, []string{uid.ImplicitVRLittleEndian}},
		{vendor, []string{"1.2.3.4.5"}},
		{find, []string{uid.ImplicitVRLittleEndian}},
	}
	for _, c := range []struct {
		others []string
		want   []byte
	}{
		{nil, []byte{contextAccepted, contextTransferSyntaxUnsupported, contextAbstractSyntaxUnsupported, contextAbstractSyntaxUnsupported, contextAbstractSyntaxUnsupported, contextAbstractSyntaxUnsupported}},
		{usable, []byte{contextAccepted, contextTransferSyntaxUnsupported, contextAccepted, contextAccepted, contextTransferSyntaxUnsupported, contextAbstractSyntaxUnsupported}},
	} {
		h := &memoryStore{}
		addr := startServer(t, &Server{AETitle: "ECHONODE", Handler: h, Contexts: []PresentationContext{{usmfClass, usable}}, Others: c.others})
		ctx := testContext(t)
		client, err := testDialer().Dial(ctx, addr, propose)
		if err != nil {
			t.Fatal(err)
		}
		for i, pc := range client.contexts {
			if pc.result != c.want[i] {
				t.Errorf("others %v, context %d (%v): result %d, want %d", c.others, i, propose[i], pc.result, c.want[i])
			}
		}
		if client.contexts[0].syntax != jpegTS {
			t.Errorf("chosen: %s, want JPEG", client.contexts[0].syntax)
		}
		if c.others != nil {
			data := randomBytes(100)
			if _, err := client.Store(ctx, Object{SOPClassUID: vendor, SOPInstanceUID: "1.2.3", TransferSyntaxUID: uid.ImplicitVRLittleEndian,
				DataSet: bytes.NewReader(data), Size: 100}); err != nil {
				t.Errorf("a vendor's object: %v", err)
			}
			if got, ok := h.get("1.2.3"); !ok || !bytes.Equal(got.data, data) {
				t.Error("a vendor's object was not stored")
			}
		}
		if err := client.Release(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCertificateDoubt(t *testing.T) {
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	day := 24 * time.Hour
	for _, c := range []struct {
		from, to time.Duration
		want     string
	}{
		{-day, 365 * day, ""},
		{-day, 31 * day, ""},
		{-day, 29 * day, `"PACS" expires on 2026-12-26`},
		{-2 * day, -day, `"PACS" expired on 2026-11-26`},
		{day, 365 * day, `"PACS" is valid only from 2026-11-28`},
	} {
		cert := &x509.Certificate{Subject: pkix.Name{CommonName: "PACS"}, NotBefore: now.Add(c.from), NotAfter: now.Add(c.to)}
		if got := CertificateDoubt(cert, now); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%v to %v: %q", c.from, c.to, got)
		}
	}
}

// lockedBuffer is a bytes.Buffer for a logger of another goroutine.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Both sides warn of a certificate that expires, once a day.
func TestCertificateWarnings(t *testing.T) {
	serverCert, serverPool := selfSigned("localhost") // valid for an hour
	cartCert, cartPool := selfSigned("CART1")
	var server, client lockedBuffer
	s := &Server{AETitle: "ECHONODE", TLSConfig: ServerTLS(serverCert, cartPool),
		Logger: slog.New(slog.NewTextHandler(&server, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	addr := startServer(t, s)
	d := &Dialer{CallingAE: "CART1", CalledAE: "ECHONODE", TLSConfig: ClientTLS(&cartCert, serverPool), Logger: slog.New(slog.NewTextHandler(&client, nil))}
	ctx := testContext(t)
	for range 2 {
		c, err := d.Dial(ctx, addr, []PresentationContext{{uid.Verification, []string{uid.ImplicitVRLittleEndian}}})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(c.Echo(ctx), c.Release(ctx)); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(client.String(), `localhost\" expires on`); n != 1 {
		t.Errorf("client: %d warnings: %s", n, &client)
	}
	if n := strings.Count(server.String(), `CART1\" expires on`); n != 1 {
		t.Errorf("server: %d warnings: %s", n, &server)
	}
	var w certificateWarner
	var log bytes.Buffer
	l := slog.New(slog.NewTextHandler(&log, nil))
	cs := tls.ConnectionState{PeerCertificates: []*x509.Certificate{{NotAfter: time.Now().Add(-time.Hour)}}}
	w.check(l, cs, time.Now())
	w.check(l, cs, time.Now().Add(25*time.Hour))
	if n := strings.Count(log.String(), "expired on"); n != 2 {
		t.Errorf("%d warnings on two days", n)
	}
}
