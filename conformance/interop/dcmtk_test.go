package interop

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/echonode/echonode/conformance/freeport"
	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/scp"
)

// dcmtkKnows are the transfer syntaxes of DCMTK 3.6.7.
func dcmtkKnows(syntax string) bool { return !strings.HasPrefix(syntax, "1.2.840.10008.1.2.4.20") }

// contextProfile writes a storescu configuration that proposes, in GE's manner,
// one presentation context for each pair of class and transfer syntax.
func contextProfile(t *testing.T, pairs [][2]string) string {
	t.Helper()
	var syntaxes []string
	for _, p := range pairs {
		if !slices.Contains(syntaxes, p[1]) {
			syntaxes = append(syntaxes, p[1])
		}
	}
	var b strings.Builder
	b.WriteString("[[TransferSyntaxes]]\n")
	for i, ts := range syntaxes {
		fmt.Fprintf(&b, "[TS%d]\nTransferSyntax1 = %s\n", i, ts)
	}
	b.WriteString("[[PresentationContexts]]\n[Contexts]\n")
	for i, p := range pairs {
		fmt.Fprintf(&b, "PresentationContext%d = %s\\TS%d\n", i+1, p[0], slices.Index(syntaxes, p[1]))
	}
	b.WriteString("[[Profiles]]\n[All]\nPresentationContexts = Contexts\n")
	path := filepath.Join(t.TempDir(), "storescu.cfg")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func pairsOf(objects []object) (pairs [][2]string) {
	for _, o := range objects {
		if p := [2]string{o.class, o.syntax}; !slices.Contains(pairs, p) {
			pairs = append(pairs, p)
		}
	}
	return pairs
}

func TestStorescuIntoUs(t *testing.T) {
	storescu := need(t, "storescu")
	objs := objects(t, dcmtkKnows)
	n := startNode(t, nil)
	// What a cart proposes besides: private and unsupported classes and syntaxes.
	pairs := append([][2]string{
		{"1.2.840.113619.4.30", uid.ImplicitVRLittleEndian},
		{usmfRetired, jpegBaseline}, {usmfRetired, uid.ImplicitVRLittleEndian}, {usClass, jpegBaseline},
		{comprehensive, explicitLittle}, {encapsulated, explicitLittle},
	}, pairsOf(objs)...)
	args := append([]string{"-aet", "CART", "-aec", "ECHONODE", "-xf", contextProfile(t, pairs), "All", "-usr", "sonia", "-pwd", "x", n.host, n.port},
		paths(objs)...)
	run(t, storescu, args...)
	n.wantObjects(t, objs)
	// Again, with other PDU sizes: all are duplicates.
	run(t, storescu, append([]string{"--max-pdu", "4096", "--max-send-pdu", "4096"}, args...)...)
	n.mu.Lock()
	defer n.mu.Unlock()
	for uid, e := range n.entries {
		if !e.Duplicate {
			t.Errorf("%s: not recognised as a duplicate", uid)
		}
	}
}

func TestDcmsendIntoUs(t *testing.T) {
	dcmsend := need(t, "dcmsend")
	// dcmsend proposes all uncompressed syntaxes together and converts to the one
	// accepted, so only the explicit one arrives as it is.
	objs := objects(t, func(s string) bool {
		return dcmtkKnows(s) && s != uid.ImplicitVRLittleEndian && s != uid.ExplicitVRBigEndian
	})
	n := startNode(t, nil)
	run(t, dcmsend, append([]string{"-aec", "ECHONODE", "--decompress-never", n.host, n.port}, paths(objs)...)...)
	n.wantObjects(t, objs)
}

// TestDcmsendIntoUsTLS: dcmsend has no TLS of its own; sites put a TLS wrapper
// such as stunnel in front of it, which here is a few lines.
func TestDcmsendIntoUsTLS(t *testing.T) {
	dcmsend := need(t, "dcmsend")
	objs := objects(t, func(s string) bool {
		return dcmtkKnows(s) && s != uid.ImplicitVRLittleEndian && s != uid.ExplicitVRBigEndian
	})
	ca := newAuthority(t)
	ours, _, _ := ca.issue(t, "ECHONODE")
	cart, _, _ := ca.issue(t, "DCMSEND")
	n := startNode(t, func(s *scp.Server) {
		s.TLSConfig, s.PeerAETitles = scp.ServerTLS(ours, ca.pool), scp.CertificateTitles
	})
	port := wrapTLS(t, n.addr(), &tls.Config{Certificates: []tls.Certificate{cart}, RootCAs: ca.pool, ServerName: "localhost"})
	run(t, dcmsend, append([]string{"-aet", "DCMSEND", "-aec", "ECHONODE", "--decompress-never", "127.0.0.1", port}, paths(objs)...)...)
	n.wantObjects(t, objs)
}

// wrapTLS listens for plain connections and carries them to addr over TLS.
func wrapTLS(t *testing.T, addr string, cfg *tls.Config) (port string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			plain, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer plain.Close()
				secure, err := tls.Dial("tcp", addr, cfg)
				if err != nil {
					return
				}
				defer secure.Close()
				go func() {
					io.Copy(secure, plain)
					secure.CloseWrite()
				}()
				io.Copy(plain, secure)
			}()
		}
	}()
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port
}

// TestStorescuOptions sends one object with each of storescu's ready-made
// proposals.
func TestStorescuOptions(t *testing.T) {
	storescu := need(t, "storescu")
	objs := objects(t, func(s string) bool {
		return slices.Contains([]string{jpegBaseline, "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.108", "1.2.840.10008.1.2.5",
			deflated, uid.ImplicitVRLittleEndian}, s)
	})
	for _, tc := range []struct{ name, option string }{
		{"jpeg-baseline", "-xy"}, {"jpeg-lossless-sv1", "-xs"}, {"jpeg2000-lossless", "-xv"}, {"hevc-10", "-x5"},
		{"rle", "-xr"}, {"deflated", "-xd"}, {"implicit", "-xi"}, {"explicit-" + usmfClass, "-xe"},
	} {
		t.Run(tc.name+tc.option, func(t *testing.T) {
			i := slices.IndexFunc(objs, func(o object) bool { return o.name == tc.name })
			for _, combine := range []string{"", "+C", "-R"} {
				n := startNode(t, nil)
				args := []string{"-aec", "ECHONODE", tc.option, n.host, n.port, objs[i].path}
				if combine != "" {
					args = append([]string{combine}, args...)
				}
				run(t, storescu, args...)
				n.wantObjects(t, objs[i:i+1])
			}
		})
	}
}

func TestUsIntoStorescp(t *testing.T) {
	storescp := need(t, "storescp")
	// storescp +xa leaves out JPEG process 14 and JPEG 2000 part 2.
	objs := objects(t, func(s string) bool {
		return dcmtkKnows(s) && !slices.Contains([]string{"1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.92", "1.2.840.10008.1.2.4.93"}, s)
	})
	for _, bit := range []string{"+B", "-B"} {
		t.Run(bit, func(t *testing.T) {
			dir, port := t.TempDir(), freeport.Port(t)
			start(t, port, storescp, "+xa", bit, "-pm", "-od", dir, "-aet", "STORESCP", port)
			echo(t, dialer("STORESCP"), hostPort(port))
			sendAll(t, dialer("STORESCP"), hostPort(port), objs)
			files, err := filepath.Glob(filepath.Join(dir, "*"))
			if err != nil || len(files) != len(objs) {
				t.Fatalf("storescp wrote %d files, want %d", len(files), len(objs))
			}
			for _, f := range files {
				i := slices.IndexFunc(objs, func(o object) bool { return strings.HasSuffix(f, "."+o.instance) })
				if i < 0 {
					t.Fatalf("unknown file %s", f)
				}
				sameDataSet(t, objs[i], f)
			}
		})
	}
}

// TestStorescpMisbehaves lets storescp break the association off.
func TestStorescpMisbehaves(t *testing.T) {
	storescp := need(t, "storescp")
	objs := objects(t, func(string) bool { return false })[:1]
	for _, option := range []string{"--abort-after", "--abort-during", "--refuse"} {
		t.Run(option, func(t *testing.T) {
			port := freeport.Port(t)
			start(t, port, storescp, option, "-od", t.TempDir(), port)
			results, err := dialer("STORESCP").SendAll(timeout(t), hostPort(port), []scp.ObjectSource{scp.FileSource(objs[0].path)}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if results[0].Err == nil {
				t.Error("stored")
			}
			if errors.Is(results[0].Err, context.DeadlineExceeded) {
				t.Error("it was waited for to the end")
			}
			t.Log(results[0].Err)
		})
	}
}

// authority makes certificates as PEM files for dcmtk.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
	file string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{dir: t.TempDir(), key: key, pool: x509.NewCertPool()}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(a.cert)
	a.file = a.pem(t, "ca.pem", "CERTIFICATE", der)
	return a
}

func (a *authority) pem(t *testing.T, name, typ string, der []byte) string {
	t.Helper()
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// issue makes a certificate for 127.0.0.1 with an RSA key, which dcmtk's
// default suites need.
func (a *authority) issue(t *testing.T, name string) (cert tls.Certificate, keyFile, certFile string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyFile = a.pem(t, name+".key", "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key))
	certFile = a.pem(t, name+".pem", "CERTIFICATE", der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, keyFile, certFile
}

func TestDcmtkTLS(t *testing.T) {
	storescu, storescp, echoscu := need(t, "storescu"), need(t, "storescp"), need(t, "echoscu")
	ca := newAuthority(t)
	ours, _, _ := ca.issue(t, "ECHONODE")
	_, cartKey, cartCert := ca.issue(t, "CART")
	_, otherKey, otherCert := newAuthority(t).issue(t, "CART")
	objs := objects(t, func(s string) bool {
		return dcmtkKnows(s) && !slices.Contains([]string{"1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.92", "1.2.840.10008.1.2.4.93"}, s)
	})
	withTLS := func(legacy bool) func(*scp.Server) {
		return func(s *scp.Server) {
			s.TLSConfig = scp.ServerTLS(ours, ca.pool)
			if legacy {
				s.TLSConfig = scp.LegacyTLS(s.TLSConfig)
			}
			s.PeerAETitles = scp.CertificateTitles
		}
	}
	for _, profile := range []string{"+py", "+px", "+pz"} {
		t.Run("storescu into us "+profile, func(t *testing.T) {
			n := startNode(t, withTLS(false))
			args := []string{"+tls", cartKey, cartCert, "+cf", ca.file, profile, "-aet", "CART", "-aec", "ECHONODE", "-xf", contextProfile(t, pairsOf(objs)),
				"All", n.host, n.port}
			run(t, storescu, append(args, paths(objs)...)...)
			n.wantObjects(t, objs)
		})
	}
	t.Run("old profile", func(t *testing.T) {
		args := []string{"+tls", cartKey, cartCert, "+cf", ca.file, "+pa", "-aet", "CART", "-aec", "ECHONODE"}
		n := startNode(t, withTLS(true))
		run(t, echoscu, append(args, n.host, n.port)...)
		n = startNode(t, withTLS(false))
		if out, err := try(t, echoscu, append(args, "+cs", "TLS_RSA_WITH_AES_128_CBC_SHA", n.host, n.port)...); err == nil && !strings.Contains(out, "rror") {
			t.Errorf("RSA key exchange without LegacyTLS: %s", out)
		}
	})
	t.Run("refused", func(t *testing.T) {
		n := startNode(t, withTLS(false))
		for name, args := range map[string][]string{
			"title of another": {"+tls", cartKey, cartCert, "+cf", ca.file, "-aet", "OTHER"},
			"other authority":  {"+tls", otherKey, otherCert, "+cf", ca.file, "-aet", "CART"},
			"no certificate":   {"+tla", "+cf", ca.file, "-aet", "CART"},
			"plain":            {"-aet", "CART"},
		} {
			if out, err := try(t, echoscu, append(args, "-aec", "ECHONODE", n.host, n.port)...); err == nil {
				t.Errorf("%s: accepted\n%s", name, out)
			}
		}
	})
	t.Run("us into storescp", func(t *testing.T) {
		_, key, cert := ca.issue(t, "STORESCP")
		dir, port := t.TempDir(), freeport.Port(t)
		start(t, port, storescp, "+tls", key, cert, "+cf", ca.file, "+xa", "+B", "-od", dir, port)
		d := dialer("STORESCP")
		d.TLSConfig = scp.ClientTLS(&ours, ca.pool)
		echo(t, d, hostPort(port))
		sendAll(t, d, hostPort(port), objs)
		files, _ := filepath.Glob(filepath.Join(dir, "*"))
		if len(files) != len(objs) {
			t.Errorf("storescp wrote %d files, want %d", len(files), len(objs))
		}
	})
}
