package node

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/pipeline/objects"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/pipeline/spool"
	"github.com/echonode/echonode/scp"
)

// Metrics are the node's Prometheus metrics. The zero value records nothing.
type Metrics struct {
	associations *prometheus.CounterVec
	open         prometheus.Gauge
	objects      *prometheus.CounterVec
	bytes        prometheus.Counter
	storeTime    prometheus.Histogram
	loops        *prometheus.CounterVec
	loopTime     prometheus.Histogram
	analyses     *prometheus.CounterVec
	analysisTime prometheus.Histogram
	deliveries   *prometheus.CounterVec
	connections  prometheus.Counter
	rejected     *prometheus.CounterVec
	refused      *prometheus.CounterVec
	notMeasured  *prometheus.CounterVec
	rescues      *prometheus.CounterVec
}

// NewMetrics registers the metrics.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		associations: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "echonode_associations_total",
			Help: "Associations by outcome: released, aborted, rejected, refused."}, []string{"outcome"}),
		open: prometheus.NewGauge(prometheus.GaugeOpts{Name: "echonode_associations_open", Help: "Associations open now."}),
		objects: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "echonode_requests_total", Help: "DIMSE requests answered, by command and status."},
			[]string{"command", "status"}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{Name: "echonode_received_bytes_total", Help: "Bytes of data sets received."}),
		storeTime: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "echonode_store_seconds",
			Help: "Duration of a C-STORE from its command to its response.", Buckets: prometheus.ExponentialBuckets(0.005, 3, 9)}),
		loops: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "echonode_loops_total", Help: "Loops looked at, by outcome: done, failed."},
			[]string{"outcome"}),
		loopTime: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "echonode_loop_seconds", Help: "Duration of the analysis of a loop.",
			Buckets: prometheus.ExponentialBuckets(0.05, 2.5, 10)}),
		analyses: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "echonode_analyses_total", Help: "Runs over studies by outcome: done, failed."},
			[]string{"outcome"}),
		analysisTime: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "echonode_analysis_seconds",
			Help: "Duration of combining a study and making its outputs.", Buckets: prometheus.ExponentialBuckets(0.5, 2.5, 10)}),
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "echonode_deliveries_total",
			Help: "Objects sent to destinations, by class of the answer."}, []string{"destination", "outcome"}),
		connections: prometheus.NewCounter(prometheus.CounterOpts{Name: "echonode_connections_refused_total",
			Help: "Connections closed without an answer: from networks that may not send, or far too many."}),
		rejected: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "echonode_associations_rejected_total",
			Help: "Connections that became no association, by reason; secret: requests by DICOMweb with a secret that is no account's."}, []string{"reason"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "echonode_objects_refused_total",
			Help: "Objects that were not stored, by C-STORE or DICOMweb, by reason."}, []string{"reason"}),
		notMeasured: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "echonode_loops_not_measured_total",
			Help: "Loops of finished runs that were not measured, by the code of the reason."}, []string{"reason"}),
		rescues: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "echonode_rescues_total",
			Help: "Loops and jobs that were taken from a process that died, by what: loop, job."}, []string{"what"}),
	}
	for _, r := range rejectReasons {
		m.rejected.WithLabelValues(r)
	}
	for _, r := range refuseReasons {
		m.refused.WithLabelValues(r)
	}
	for _, r := range []string{result.TimeLimit, result.InternalError} {
		m.notMeasured.WithLabelValues(r)
	}
	for _, what := range []string{"loop", "job"} {
		m.rescues.WithLabelValues(what)
	}
	for _, c := range []prometheus.Collector{m.associations, m.open, m.objects, m.bytes, m.storeTime, m.loops, m.loopTime, m.analyses,
		m.analysisTime, m.deliveries,
		m.connections, m.rejected, m.refused, m.notMeasured, m.rescues} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// rescued counts what was taken from processes that died.
func (m *Metrics) rescued(loops, jobs int) {
	if m != nil && m.rescues != nil {
		m.rescues.WithLabelValues("loop").Add(float64(loops))
		m.rescues.WithLabelValues("job").Add(float64(jobs))
	}
}

// Observer connects the metrics to a DICOM server.
func (m *Metrics) Observer() scp.Observer {
	if m == nil || m.associations == nil {
		return scp.Observer{}
	}
	return scp.Observer{
		ConnectionRefused: func(net.Addr) { m.connections.Inc() },
		AssociationRejected: func(r scp.RejectedAssociation) {
			m.associations.WithLabelValues("rejected").Inc()
			m.rejected.WithLabelValues(rejectReason(r)).Inc()
		},
		AssociationOpened: func(*scp.AssociationInfo) { m.open.Inc() },
		AssociationClosed: func(_ *scp.AssociationInfo, c scp.ClosedAssociation) {
			m.open.Dec()
			outcome := "released"
			if c.Err != nil {
				outcome = "aborted"
			}
			m.associations.WithLabelValues(outcome).Inc()
		},
		Message: func(e scp.MessageEvent) {
			m.objects.WithLabelValues(e.Command, "0x"+strconv.FormatUint(uint64(e.Status), 16)).Inc()
			m.bytes.Add(float64(e.Bytes))
			if e.Command == "C-STORE" {
				m.storeTime.Observe(e.Duration.Seconds())
			}
		},
	}
}

// SecretRefused counts a request by DICOMweb with a secret that is no account's.
func (m *Metrics) SecretRefused() {
	if m != nil && m.rejected != nil {
		m.rejected.WithLabelValues("secret").Inc()
	}
}

func (m *Metrics) looked(outcome string, took time.Duration) {
	if m == nil || m.loops == nil {
		return
	}
	m.loops.WithLabelValues(outcome).Inc()
	m.loopTime.Observe(took.Seconds())
}

func (m *Metrics) analysed(outcome string, took time.Duration) {
	if m == nil || m.analyses == nil {
		return
	}
	m.analyses.WithLabelValues(outcome).Inc()
	m.analysisTime.Observe(took.Seconds())
}

func (m *Metrics) delivered(destination, outcome string) {
	if m == nil || m.deliveries == nil {
		return
	}
	m.deliveries.WithLabelValues(destination, outcome).Inc()
}

// rejectReasons are the reasons of associations that did not come about.
var rejectReasons = []string{"tls", "timeout", "protocol", "calling_ae_title", "called_ae_title", "congestion", "secret", "other"}

// rejectReason names why there is no association.
func rejectReason(r scp.RejectedAssociation) string {
	var rejected *scp.RejectError
	switch {
	case r.TLSFailed:
		return "tls"
	case errors.As(r.Err, new(*scp.TimeoutError)):
		return "timeout"
	case errors.As(r.Err, &rejected):
		switch [2]uint8{rejected.Source, rejected.Reason} { // PS3.8 table 9-21
		case [2]uint8{1, 3}:
			return "calling_ae_title"
		case [2]uint8{1, 7}:
			return "called_ae_title"
		case [2]uint8{3, 1}, [2]uint8{3, 2}:
			return "congestion"
		}
		return "other"
	case errors.As(r.Err, new(*scp.ProtocolError)):
		return "protocol"
	}
	return "other"
}

// refuseReasons are the reasons why objects are not stored.
var refuseReasons = []string{"disk", "object_store", "descriptors", "database", "memory", "too_large", "unreadable",
	"other_picture", "uid", "interrupted", "other"}

// refuseReason names why an object is not stored; "" when it is.
func refuseReason(err error) string {
	var status *scp.StatusError
	switch {
	case err == nil:
		return ""
	case errors.Is(err, spool.ErrWatermark), errors.Is(err, spool.ErrDiskFull), errors.Is(err, spool.ErrDisk):
		return "disk"
	case errors.Is(err, spool.ErrObjectStore), errors.Is(err, objects.ErrUnavailable):
		return "object_store"
	case errors.Is(err, spool.ErrDescriptors):
		return "descriptors"
	case errors.Is(err, errDatabase):
		return "database"
	case errors.Is(err, dicomio.ErrBusy):
		return "memory"
	case errors.Is(err, scp.ErrObjectTooLarge):
		return "too_large"
	case errors.Is(err, context.Canceled), errors.Is(err, io.ErrUnexpectedEOF):
		return "interrupted"
	case errors.As(err, &status):
		switch status.Status {
		case scp.StatusDuplicateInstance:
			return "other_picture"
		case scp.StatusInvalidInstance:
			return "uid"
		case scp.StatusCannotUnderstand, scp.StatusDataSetMismatch:
			return "unreadable"
		}
	}
	return "other"
}

// stored counts an object that was not stored.
func (m *Metrics) stored(err error) {
	if reason := refuseReason(err); reason != "" && m != nil && m.refused != nil {
		m.refused.WithLabelValues(reason).Inc()
	}
}

// measured counts the loops of a run that were not measured.
func (m *Metrics) measured(s Summary) {
	if m == nil || m.notMeasured == nil {
		return
	}
	for code, n := range s.Reasons {
		m.notMeasured.WithLabelValues(code).Add(float64(n))
	}
}
