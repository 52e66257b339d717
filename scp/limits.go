package scp

import "time"

// Limits bound what peers can make this side hold. A zero field takes the
// default named beside it; a negative one switches that limit off where that
// makes sense.
type Limits struct {
	MaxAssociations           int   // at the same time; 1024. Beyond it: A-ASSOCIATE-RJ transient, local limit exceeded
	MaxAssociationsPerPeer    int   // at the same time from one IP address; 512. Same answer
	MaxAssociationsPerNetwork int   // at the same time from one /24 (IPv4) or /64 (IPv6); no more than MaxAssociations. Same answer
	MaxPDU                    int   // longest P-DATA-TF advertised and accepted; 131072
	MaxAssociatePDU           int   // longest A-ASSOCIATE-RQ or -AC read; 262144
	MaxCommandSet             int   // longest command set; 65536
	MaxObject                 int64 // longest data set of a C-STORE; 4 GiB. Beyond it: status A700H
	MaxDataSet                int   // longest data set held in memory (N-ACTION, N-EVENT-REPORT); 8 MiB
	MinRate                   int   // bytes per second a peer has to deliver inside a message, averaged over Timeouts.Rate; 1024
}

// Timeouts bound every wait. A zero field takes the default named beside it; a
// negative one waits without end.
type Timeouts struct {
	ARTIM    time.Duration // from connection to association, TLS handshake included, on either side; 10 s
	Idle     time.Duration // server: between messages; 60 s
	PDU      time.Duration // from the first to the last byte of one PDU, and between the PDUs of a message; 30 s
	Rate     time.Duration // waiting inside messages over which Limits.MinRate is averaged; 30 s
	Write    time.Duration // one write; 20 s
	Response time.Duration // client: from the end of a request to its response; 120 s
	Connect  time.Duration // client: TCP connection; 10 s
	Release  time.Duration // client: from A-RELEASE-RQ to A-RELEASE-RP; 10 s
	Linger   time.Duration // for the peer to close after the last PDU of this side; 2 s
}

// DefaultLimits returns the limits that a zero Limits stands for.
func DefaultLimits() Limits { return Limits{}.withDefaults() }

// DefaultTimeouts returns the timeouts that a zero Timeouts stands for.
func DefaultTimeouts() Timeouts { return Timeouts{}.withDefaults() }

const noTimeout = 100 * 365 * 24 * time.Hour

func (l Limits) withDefaults() Limits {
	def(&l.MaxAssociations, 1024, 1<<30)
	def(&l.MaxAssociationsPerPeer, 512, 1<<30)
	def(&l.MaxAssociationsPerNetwork, l.MaxAssociations, 1<<30)
	def(&l.MaxPDU, 128<<10, 128<<10)
	def(&l.MaxAssociatePDU, 256<<10, 256<<10)
	def(&l.MaxCommandSet, 64<<10, 64<<10)
	def(&l.MaxObject, 4<<30, 1<<62)
	def(&l.MaxDataSet, 8<<20, 8<<20)
	def(&l.MinRate, 1024, 0)
	l.MaxPDU = min(max(l.MaxPDU, 4096), 1<<30)
	return l
}

func (t Timeouts) withDefaults() Timeouts {
	def(&t.ARTIM, 10*time.Second, noTimeout)
	def(&t.Idle, 60*time.Second, noTimeout)
	def(&t.PDU, 30*time.Second, noTimeout)
	def(&t.Rate, 30*time.Second, noTimeout)
	def(&t.Write, 20*time.Second, noTimeout)
	def(&t.Response, 120*time.Second, noTimeout)
	def(&t.Connect, 10*time.Second, noTimeout)
	def(&t.Release, 10*time.Second, noTimeout)
	def(&t.Linger, 2*time.Second, 2*time.Second)
	return t
}

// def replaces 0 by zero and negative values by negative.
func def[T int | int64 | time.Duration](v *T, zero, negative T) {
	switch {
	case *v == 0:
		*v = zero
	case *v < 0:
		*v = negative
	}
}
