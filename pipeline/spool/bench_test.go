package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/echonode/echonode/dicomio/part10"
	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/scp"
)

// BenchmarkCommit stores 5.4 MB objects, the size of a compressed cine, in the
// pieces in which they come from the network; beside it a plain file with a
// sync is the floor.
func BenchmarkCommit(b *testing.B) {
	for name, opt := range map[string]Options{"sync": {MinFree: -1}, "nosync": {MinFree: -1, NoSync: true}} {
		b.Run(name, func(b *testing.B) {
			s, err := Open(b.TempDir(), opt)
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			piece := make([]byte, 131066)
			for i := range piece {
				piece[i] = byte(i * 7)
			}
			const size = 5_400_000
			b.SetBytes(size)
			n := 0
			for b.Loop() {
				n++
				in, err := s.Create(part10.Meta{SourceAETitle: "A", SOPClassUID: "1.2",
					SOPInstanceUID: fmt.Sprintf("1.2.%d", n), TransferSyntaxUID: "1.2.840.10008.1.2.1"})
				if err != nil {
					b.Fatal(err)
				}
				for left := size; left > 0; left -= len(piece) {
					if _, err := in.Write(piece[:min(left, len(piece))]); err != nil {
						b.Fatal(err)
					}
				}
				e, err := in.Commit()
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if err := s.Remove(e.Path); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}

// BenchmarkReceive sends 5.4 MB objects over a loopback association into the
// spool. cpu-ns/op is the processor time of both sides, which a busy machine
// changes less than the time of the operation.
func BenchmarkReceive(b *testing.B) {
	for _, bc := range []struct {
		name string
		pdu  int
		opt  Options
	}{{"sync", 128 << 10, Options{MinFree: -1}}, {"nosync", 128 << 10, Options{MinFree: -1, NoSync: true}},
		{"nosync/pdu16KiB", 16 << 10, Options{MinFree: -1, NoSync: true}}} {
		b.Run(bc.name, func(b *testing.B) {
			s, err := Open(b.TempDir(), bc.opt)
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			srv := &scp.Server{Limits: scp.Limits{MaxPDU: bc.pdu}, Handler: scp.HandlerFunc(func(_ context.Context, req *scp.StoreRequest, r io.Reader) error {
				in, err := s.Create(req.Meta())
				if err != nil {
					return err
				}
				if _, err := in.ReadFrom(r); err != nil {
					return errors.Join(err, in.Abort())
				}
				e, err := in.Commit()
				if err != nil {
					return err
				}
				return s.Remove(e.Path)
			})}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			go srv.Serve(l)
			defer srv.Close()
			const class = "1.2.840.10008.5.1.4.1.1.3.1"
			ctx := context.Background()
			c, err := (&scp.Dialer{CallingAE: "A", CalledAE: "B"}).Dial(ctx, l.Addr().String(),
				[]scp.PresentationContext{{AbstractSyntax: class, TransferSyntaxes: []string{uid.ExplicitVRLittleEndian}}})
			if err != nil {
				b.Fatal(err)
			}
			defer c.Abort()
			data := make([]byte, 5_400_000)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			before, n := processorTime(), 0
			for b.Loop() {
				n++
				if _, err := c.Store(ctx, scp.Object{SOPClassUID: class, SOPInstanceUID: fmt.Sprintf("1.2.%d", n),
					TransferSyntaxUID: uid.ExplicitVRLittleEndian, DataSet: bytes.NewReader(data)}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(processorTime()-before)/float64(n), "cpu-ns/op")
		})
	}
}

// processorTime is that of this process so far, in nanoseconds.
func processorTime() int64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
