package scp

import (
	"net"
	"time"
)

// Observer is told what happens, for metrics. Any function may be nil; all are
// called from the goroutines of associations and must not block.
type Observer struct {
	// ConnectionRefused: far too many connections; closed without an answer.
	ConnectionRefused func(remote net.Addr)
	// AssociationRejected: no association came about.
	AssociationRejected func(RejectedAssociation)
	// AssociationOpened: an association was accepted.
	AssociationOpened func(*AssociationInfo)
	// AssociationClosed: an accepted association is over.
	AssociationClosed func(*AssociationInfo, ClosedAssociation)
	// Message: a request was answered.
	Message func(MessageEvent)
	// Panicked: a handler panicked; its association was cut.
	Panicked func()
}

// RejectedAssociation tells why a connection became no association. Err is a
// *RejectError that was sent, a *ProtocolError for which the peer was aborted,
// a *TimeoutError, or with TLSFailed the error of the handshake.
type RejectedAssociation struct {
	RemoteAddr          net.Addr
	CallingAE, CalledAE string // "" when the request was not understood
	TLSFailed           bool
	Err                 error
}

// ClosedAssociation sums an association up. Err is nil after an orderly release.
type ClosedAssociation struct {
	Err               error
	Received, Sent    int64 // bytes of PDUs
	Objects, Failures int
}

// MessageEvent is one answered request. Duration runs from the end of its
// command set to the end of its response; Bytes is the size of its data set.
type MessageEvent struct {
	Association       *AssociationInfo
	Command           string // "C-STORE", "C-ECHO", "N-ACTION", "N-EVENT-REPORT", "other"
	Status            uint16
	SOPClassUID       string
	TransferSyntaxUID string
	Bytes             int64
	Duration          time.Duration
}

func (o *Observer) connectionRefused(a net.Addr) {
	if o.ConnectionRefused != nil {
		o.ConnectionRefused(a)
	}
}

func (o *Observer) rejected(r RejectedAssociation) {
	if o.AssociationRejected != nil {
		o.AssociationRejected(r)
	}
}

func (o *Observer) opened(a *AssociationInfo) {
	if o.AssociationOpened != nil {
		o.AssociationOpened(a)
	}
}

func (o *Observer) closed(a *AssociationInfo, c ClosedAssociation) {
	if o.AssociationClosed != nil {
		o.AssociationClosed(a, c)
	}
}

func (o *Observer) message(m MessageEvent) {
	if o.Message != nil {
		o.Message(m)
	}
}

func (o *Observer) panicked() {
	if o.Panicked != nil {
		o.Panicked()
	}
}
