package scp

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"

	"github.com/echonode/echonode/conformance/golden"
	"github.com/echonode/echonode/dicomio/uid"
)

// BenchmarkStore sends objects over one association on the loopback interface;
// the receiver discards them. Allocations are of both sides together.
func BenchmarkStore(b *testing.B) {
	for _, size := range []int{10 << 10, 5 << 20, 80 << 20} {
		for _, pdu := range []int{16 << 10, 128 << 10} {
			b.Run(fmt.Sprintf("%dKiB/pdu%dKiB", size>>10, pdu>>10), func(b *testing.B) {
				addr := startServer(b, &Server{Limits: Limits{MaxPDU: pdu}, Handler: HandlerFunc(func(_ context.Context, _ *StoreRequest, r io.Reader) error {
					_, err := io.Copy(io.Discard, r)
					return err
				})})
				ctx := context.Background()
				c, err := testDialer().Dial(ctx, addr, []PresentationContext{{testClass, []string{uid.ExplicitVRLittleEndian}}})
				if err != nil {
					b.Fatal(err)
				}
				defer c.Abort()
				data := make([]byte, size)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := c.Store(ctx, Object{SOPClassUID: testClass, SOPInstanceUID: "1.2.3", TransferSyntaxUID: uid.ExplicitVRLittleEndian,
						DataSet: bytes.NewReader(data)}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkAssociation opens, echoes and releases.
func BenchmarkAssociation(b *testing.B) {
	addr := startServer(b, &Server{})
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		c, err := testDialer().Dial(ctx, addr, []PresentationContext{{uid.Verification, []string{uid.ImplicitVRLittleEndian}}})
		if err != nil {
			b.Fatal(err)
		}
		if err := c.Echo(ctx); err != nil {
			b.Fatal(err)
		}
		if err := c.Release(ctx); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkParseAssociate decodes the golden request.
func BenchmarkParseAssociate(b *testing.B) {
	body := golden.Bytes(b, goldenAssociateRQ)[6:]
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseAssociate(body, false); err != nil {
			b.Fatal(err)
		}
	}
}
