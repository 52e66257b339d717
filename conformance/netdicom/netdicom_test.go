package netdicom

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"fmt"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	dicom "github.com/grailbio/go-dicom"
	netdicom "github.com/grailbio/go-netdicom"
	"github.com/grailbio/go-netdicom/dimse"

	"github.com/echonode/echonode/dicomio/part10"
	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/scp"
)

const class = "1.2.840.10008.5.1.4.1.1.3.1" // Ultrasound Multi-frame Image

// dataSet is a small Explicit VR Little Endian data set of n pixel bytes.
func dataSet(instance string, n int) []byte {
	var b []byte
	el := func(group, element uint16, vr, v string) {
		if len(v)%2 == 1 {
			v += "\x00"
		}
		b = binary.LittleEndian.AppendUint16(b, group)
		b = binary.LittleEndian.AppendUint16(b, element)
		b = append(b, vr...)
		if vr == "OB" {
			b = append(b, 0, 0)
			b = binary.LittleEndian.AppendUint32(b, uint32(len(v)))
		} else {
			b = binary.LittleEndian.AppendUint16(b, uint16(len(v)))
		}
		b = append(b, v...)
	}
	el(0x0008, 0x0016, "UI", class)
	el(0x0008, 0x0018, "UI", instance)
	el(0x0008, 0x0060, "CS", "US")
	el(0x0020, 0x000D, "UI", "1.2.3.4")
	el(0x0020, 0x000E, "UI", "1.2.3.4.5")
	el(0x0028, 0x0010, "US", "\x10\x00")
	el(0x0028, 0x0011, "US", string(binary.LittleEndian.AppendUint16(nil, uint16(n/16))))
	pixels := make([]byte, n)
	for i := range pixels {
		pixels[i] = byte(i * 7)
	}
	el(0x7FE0, 0x0010, "OB", string(pixels))
	return b
}

// TestNetdicomIntoUs: over TLS go-netdicom is given its connection, since it has
// no settings to make one.
func TestNetdicomIntoUs(t *testing.T) {
	t.Run("plain", func(t *testing.T) { netdicomIntoUs(t, nil, nil) })
	t.Run("TLS", func(t *testing.T) {
		cert, pool := certificate(t)
		netdicomIntoUs(t, scp.ServerTLS(cert, pool), &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: pool, ServerName: "localhost"})
	})
}

// netdicomIntoUs: C-ECHO and C-STORE from go-netdicom.
func netdicomIntoUs(t *testing.T, server, client *tls.Config) {
	var mu sync.Mutex
	got := map[string][]byte{}
	srv := &scp.Server{AETitle: "ECHONODE", TLSConfig: server, Handler: scp.HandlerFunc(func(_ context.Context, req *scp.StoreRequest, r io.Reader) error {
		b, err := io.ReadAll(r)
		mu.Lock()
		defer mu.Unlock()
		got[req.SOPInstanceUID] = b
		return err
	})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(l)
	defer srv.Close()

	user, err := netdicom.NewServiceUser(netdicom.ServiceUserParams{
		CalledAETitle: "ECHONODE", CallingAETitle: "NETDICOM",
		SOPClasses: []string{class, "1.2.840.10008.1.1"}, TransferSyntaxes: []string{uid.ExplicitVRLittleEndian},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer user.Release()
	if client == nil {
		user.Connect(l.Addr().String())
	} else {
		conn, err := tls.Dial("tcp", l.Addr().String(), client)
		if err != nil {
			t.Fatal(err)
		}
		user.SetConn(conn)
	}
	if err := user.CEcho(); err != nil {
		t.Fatal(err)
	}
	for i, n := range []int{160, 16000, 1600000} {
		instance := fmt.Sprintf("1.2.3.%d", i)
		want := dataSet(instance, n)
		var file bytes.Buffer
		if err := part10.Write(&file, part10.Meta{SOPClassUID: class, SOPInstanceUID: instance, TransferSyntaxUID: uid.ExplicitVRLittleEndian}); err != nil {
			t.Fatal(err)
		}
		file.Write(want)
		ds, err := dicom.ReadDataSetInBytes(file.Bytes(), dicom.ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := user.CStore(ds); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		if !bytes.Equal(got[instance], want) {
			t.Errorf("%d pixel bytes: %d bytes arrived, %d sent", n, len(got[instance]), len(want))
		}
		mu.Unlock()
	}
}

func TestUsIntoNetdicom(t *testing.T) {
	t.Run("plain", func(t *testing.T) { usIntoNetdicom(t, nil, nil) })
	t.Run("TLS", func(t *testing.T) {
		cert, pool := certificate(t)
		usIntoNetdicom(t, &tls.Config{Certificates: []tls.Certificate{cert}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}, scp.ClientTLS(&cert, pool))
	})
}

// usIntoNetdicom: every transfer syntax, as bytes.
func usIntoNetdicom(t *testing.T, server, client *tls.Config) {
	var mu sync.Mutex
	got := map[string][]byte{}
	syntaxes := map[string]string{}
	params := netdicom.ServiceProviderParams{
		AETitle: "NETDICOM",
		CEcho:   func(netdicom.ConnectionState) dimse.Status { return dimse.Success },
		CStore: func(_ netdicom.ConnectionState, syntax, _, instance string, data []byte) dimse.Status {
			mu.Lock()
			defer mu.Unlock()
			got[instance], syntaxes[instance] = bytes.Clone(data), syntax
			return dimse.Success
		},
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if server != nil {
		l = tls.NewListener(l, server)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go netdicom.RunProviderForConn(conn, params)
		}
	}()

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	contexts := []scp.PresentationContext{{AbstractSyntax: uid.Verification, TransferSyntaxes: []string{uid.ImplicitVRLittleEndian}}}
	for _, ts := range scp.DefaultTransferSyntaxes() {
		contexts = append(contexts, scp.PresentationContext{AbstractSyntax: class, TransferSyntaxes: []string{ts}})
	}
	d := &scp.Dialer{CallingAE: "ECHONODE", CalledAE: "NETDICOM", TLSConfig: client}
	c, err := d.Dial(ctx, l.Addr().String(), contexts)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Abort()
	if err := c.Echo(ctx); err != nil {
		t.Fatal(err)
	}
	for i, ts := range scp.DefaultTransferSyntaxes() {
		instance := fmt.Sprintf("1.2.3.%d", i)
		want := dataSet(instance, 1600*(i+1))
		res, err := c.Store(ctx, scp.Object{SOPClassUID: class, SOPInstanceUID: instance, TransferSyntaxUID: ts, DataSet: bytes.NewReader(want)})
		if err != nil || res.Status != 0 {
			t.Fatalf("%s: %+v, %v", ts, res, err)
		}
		mu.Lock()
		if syntaxes[instance] != ts || !bytes.Equal(got[instance], want) {
			t.Errorf("%s: %d bytes arrived in %s, %d sent", ts, len(got[instance]), syntaxes[instance], len(want))
		}
		mu.Unlock()
	}
	if err := c.Release(ctx); err != nil {
		t.Error(err)
	}
}

// certificate makes one for this host that vouches for itself.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:    []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}
