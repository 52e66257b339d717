package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/pipeline/spool"
	"github.com/echonode/echonode/pipeline/store"
	"github.com/echonode/echonode/scp"
)

// refusing is a processor that refuses every loop.
type refusing struct{ *fakeProcessor }

func (p refusing) Look(_ context.Context, req LoopRequest) (Seen, error) {
	return Seen{Key: req.SOPInstanceUID}, req.Kept.Save(context.Background(), req.SOPInstanceUID, &result.Loop{SOPInstanceUID: req.SOPInstanceUID})
}

func (p refusing) Process(ctx context.Context, req Request) (*result.Document, error) {
	doc, err := p.fakeProcessor.Process(ctx, req)
	if err == nil {
		doc.Studies[0].Loops = []result.Loop{{Status: result.Refused, Reason: &result.Reason{Code: "doppler"}}, {Status: result.Analysed}}
	}
	return doc, err
}

// Why something was refused is counted: associations, objects, loops; and the
// memory budget is seen.
func TestRefusalMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	m, err := NewMetrics(reg)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Limits: dicomio.Limits{Memory: dicomio.NewMemory(64 << 20)}}
	n := startMeasured(t, t.TempDir(), refusing{&fakeProcessor{t: t}}, o, slog.New(slog.DiscardHandler), m)
	reg.MustRegister(n.Collector())
	n.mustSend(t, picture(t, "1.2.3", "1.2.3.10", 7, nil))
	if res := n.send(t, picture(t, "1.2.3", "1.2.3.10", 8, nil)); res[0].Err == nil {
		t.Error("another picture was stored")
	}
	d := &scp.Dialer{CallingAE: "CART", CalledAE: "NOBODY"}
	if _, err := d.Dial(t.Context(), n.addr,
		[]scp.PresentationContext{{AbstractSyntax: uid.Verification, TransferSyntaxes: []string{uid.ImplicitVRLittleEndian}}}); err == nil {
		t.Error("another title was taken")
	}
	eventually(t, "done", func() bool { return n.status(t, "1.2.3").State == store.Done })
	eventually(t, "all counted", func() bool {
		return testutil.CollectAndCount(m.rejected) == len(rejectReasons) && testutil.ToFloat64(m.rejected.WithLabelValues("called_ae_title")) == 1 &&
			testutil.ToFloat64(m.refused.WithLabelValues("other_picture")) == 1 && testutil.ToFloat64(m.notMeasured.WithLabelValues("doppler")) == 1
	})
	if err := testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP echonode_memory_budget_bytes memory.budget: what received objects may make the node hold at a time.
# TYPE echonode_memory_budget_bytes gauge
echonode_memory_budget_bytes 6.7108864e+07
# HELP echonode_memory_budget_used_bytes What of it is held now.
# TYPE echonode_memory_budget_used_bytes gauge
echonode_memory_budget_used_bytes 0
`), "echonode_memory_budget_bytes", "echonode_memory_budget_used_bytes"); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v, %v", problems, err)
	}
	// Run it again with nothing changed: nothing is counted twice.
	if err := n.Reanalyse(t.Context(), "1.2.3"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "done again", func() bool { s := n.status(t, "1.2.3"); return s.State == store.Done && s.Revision == 2 })
	if got := testutil.ToFloat64(m.notMeasured.WithLabelValues("doppler")); got != 1 {
		t.Errorf("%v loops, want 1", got)
	}
}

func TestReasons(t *testing.T) {
	status := func(code uint16, err error) error { return &scp.StatusError{Status: code, Err: err} }
	for want, err := range map[string]error{
		"": nil, "disk": status(0xA700, fmt.Errorf("x: %w", spool.ErrWatermark)), "object_store": status(0xA700, fmt.Errorf("x: %w", spool.ErrObjectStore)),
		"descriptors": status(0xA700, fmt.Errorf("x: %w", spool.ErrDescriptors)), "database": status(0xA700, fmt.Errorf("%w: full", errDatabase)),
		"memory": status(0xC000, fmt.Errorf("x: %w", dicomio.ErrBusy)), "too_large": fmt.Errorf("x: %w", scp.ErrObjectTooLarge), "unreadable": status(0xC000, nil),
		"other_picture": status(0x0111, nil), "uid": status(0x0117, spool.ErrUID), "interrupted": io.ErrUnexpectedEOF, "other": errors.New("x"),
	} {
		if got := refuseReason(err); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
	for want, r := range map[string]scp.RejectedAssociation{
		"tls": {TLSFailed: true, Err: io.EOF}, "timeout": {Err: &scp.TimeoutError{}}, "protocol": {Err: &scp.ProtocolError{}},
		"calling_ae_title": {Err: &scp.RejectError{Source: 1, Reason: 3}}, "called_ae_title": {Err: &scp.RejectError{Source: 1, Reason: 7}},
		"congestion": {Err: &scp.RejectError{Source: 3, Reason: 2}}, "other": {Err: &scp.RejectError{Source: 2, Reason: 1}},
	} {
		if got := rejectReason(r); got != want {
			t.Errorf("%+v: %q, want %q", r, got, want)
		}
	}
}
