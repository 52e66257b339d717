package node

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

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
}

// NewMetrics registers the metrics.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		associations: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "echonode_associations_total", Help: "Associations by outcome: released, aborted, rejected, refused."}, []string{"outcome"}),
		open:         prometheus.NewGauge(prometheus.GaugeOpts{Name: "echonode_associations_open", Help: "Associations open now."}),
		objects:      prometheus.NewCounterVec(prometheus.CounterOpts{Name: "echonode_requests_total", Help: "DIMSE requests answered, by command and status."}, []string{"command", "status"}),
		bytes:        prometheus.NewCounter(prometheus.CounterOpts{Name: "echonode_received_bytes_total", Help: "Bytes of data sets received."}),
		storeTime:    prometheus.NewHistogram(prometheus.HistogramOpts{Name: "echonode_store_seconds", Help: "Duration of a C-STORE from its command to its response.", Buckets: prometheus.ExponentialBuckets(0.005, 3, 9)}),
		loops:        prometheus.NewCounterVec(prometheus.CounterOpts{Name: "echonode_loops_total", Help: "Loops looked at, by outcome: done, failed."}, []string{"outcome"}),
		loopTime:     prometheus.NewHistogram(prometheus.HistogramOpts{Name: "echonode_loop_seconds", Help: "Duration of the analysis of a loop.", Buckets: prometheus.ExponentialBuckets(0.05, 2.5, 10)}),
		analyses:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "echonode_analyses_total", Help: "Runs over studies by outcome: done, failed."}, []string{"outcome"}),
		analysisTime: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "echonode_analysis_seconds", Help: "Duration of combining a study and making its outputs.", Buckets: prometheus.ExponentialBuckets(0.5, 2.5, 10)}),
		deliveries:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "echonode_deliveries_total", Help: "Objects sent to destinations, by class of the answer."}, []string{"destination", "outcome"}),
	}
	for _, c := range []prometheus.Collector{m.associations, m.open, m.objects, m.bytes, m.storeTime, m.loops, m.loopTime, m.analyses, m.analysisTime, m.deliveries} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// Observer connects the metrics to a DICOM server.
func (m *Metrics) Observer() scp.Observer {
	if m == nil || m.associations == nil {
		return scp.Observer{}
	}
	return scp.Observer{
		AssociationRejected: func(scp.RejectedAssociation) { m.associations.WithLabelValues("rejected").Inc() },
		AssociationOpened:   func(*scp.AssociationInfo) { m.open.Inc() },
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
