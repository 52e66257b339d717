package netdicom

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	dicom "github.com/grailbio/go-dicom"
	netdicom "github.com/grailbio/go-netdicom"
	"github.com/grailbio/go-netdicom/dimse"

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

// TestNetdicomIntoUs: C-ECHO and C-STORE from go-netdicom.
func TestNetdicomIntoUs(t *testing.T) {
	var mu sync.Mutex
	got := map[string][]byte{}
	srv := &scp.Server{AETitle: "ECHONODE", Handler: scp.HandlerFunc(func(_ context.Context, req *scp.StoreRequest, r io.Reader) error {
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
		SOPClasses: []string{class, "1.2.840.10008.1.1"}, TransferSyntaxes: []string{scp.ExplicitVRLittleEndian},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer user.Release()
	user.Connect(l.Addr().String())
	if err := user.CEcho(); err != nil {
		t.Fatal(err)
	}
	for i, n := range []int{160, 16000, 1600000} {
		instance := fmt.Sprintf("1.2.3.%d", i)
		want := dataSet(instance, n)
		var file bytes.Buffer
		if err := scp.WritePart10Header(&file, class, instance, scp.ExplicitVRLittleEndian, ""); err != nil {
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

// TestUsIntoNetdicom: every transfer syntax, as bytes.
func TestUsIntoNetdicom(t *testing.T) {
	var mu sync.Mutex
	got := map[string][]byte{}
	syntaxes := map[string]string{}
	provider, err := netdicom.NewServiceProvider(netdicom.ServiceProviderParams{
		AETitle: "NETDICOM",
		CEcho:   func(netdicom.ConnectionState) dimse.Status { return dimse.Success },
		CStore: func(_ netdicom.ConnectionState, syntax, _, instance string, data []byte) dimse.Status {
			mu.Lock()
			defer mu.Unlock()
			got[instance], syntaxes[instance] = bytes.Clone(data), syntax
			return dimse.Success
		},
	}, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go provider.Run()

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	contexts := []scp.PresentationContext{{AbstractSyntax: scp.VerificationSOPClass, TransferSyntaxes: []string{scp.ImplicitVRLittleEndian}}}
	for _, ts := range scp.DefaultTransferSyntaxes() {
		contexts = append(contexts, scp.PresentationContext{AbstractSyntax: class, TransferSyntaxes: []string{ts}})
	}
	d := &scp.Dialer{CallingAE: "ECHONODE", CalledAE: "NETDICOM"}
	c, err := d.Dial(ctx, provider.ListenAddr().String(), contexts)
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
