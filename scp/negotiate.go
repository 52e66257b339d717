package scp

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"context"
	"net"

	"github.com/echonode/echonode/dicomio/encoding"
	"github.com/echonode/echonode/dicomio/uid"
)

// AccessList is a Policy of AE titles and source networks.
type AccessList struct {
	CalledAETitles []string // accepted titles; none accepts any
	Peers          []Peer   // accepted sources; none accepts any
}

// Peer is a source of associations.
type Peer struct {
	AETitle  string         // "*" or "" is any
	Networks []netip.Prefix // none is any
}

// Accept implements Policy: called AE title not recognized (1,1,7) before
// calling AE title not recognized (1,1,3); a known title from another network
// is not recognized either.
func (l AccessList) Accept(_ context.Context, req *AssociateRequest) error {
	if len(l.CalledAETitles) > 0 && !slices.Contains(l.CalledAETitles, req.CalledAE) {
		return &RejectError{RejectPermanent, SourceUser, ReasonCalledAE}
	}
	if len(l.Peers) == 0 {
		return nil
	}
	addr := remoteIP(req.RemoteAddr)
	for _, p := range l.Peers {
		if p.matches(req.CallingAE, addr) {
			return nil
		}
	}
	return &RejectError{RejectPermanent, SourceUser, ReasonCallingAE}
}

func (p Peer) matches(ae string, addr netip.Addr) bool {
	if p.AETitle != "" && p.AETitle != "*" && p.AETitle != ae {
		return false
	}
	return len(p.Networks) == 0 || slices.ContainsFunc(p.Networks, func(n netip.Prefix) bool { return n.Contains(addr) })
}

// remoteIP is the peer's address, IPv4 also where the socket is IPv6.
func remoteIP(a net.Addr) netip.Addr {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// negotiate reads the A-ASSOCIATE-RQ within the ARTIM budget and answers it.
// It reports whether there is an association.
func (a *association) negotiate() bool {
	l := a.link
	rq, err := a.readRequest()
	if err != nil {
		var proto *ProtocolError
		var timeout *TimeoutError
		switch {
		case errors.As(err, &proto):
			a.rejected(nil, err)
			l.finish(appendAbort(nil, AbortByProvider, proto.Reason))
		case errors.As(err, &timeout):
			a.rejected(nil, err)
			l.finish(nil)
		default:
			// A connection that came and went, as load balancers do.
			a.log.Debug("connection closed before an association", "error", err)
		}
		return false
	}
	ac, err := a.answer(rq)
	if err != nil {
		rj := &RejectError{RejectPermanent, SourceUser, ReasonNoReason}
		errors.As(err, &rj)
		a.rejected(rq, rj)
		l.finish(appendReject(nil, rj))
		return false
	}
	b, err := ac.append(nil)
	if err == nil {
		err = l.write(b)
	}
	if err != nil {
		a.log.Info("association lost while it was accepted", "error", err)
		return false
	}
	return true
}

func (a *association) rejected(rq *associatePDU, err error) {
	ev := RejectedAssociation{RemoteAddr: a.conn.RemoteAddr(), Err: err}
	if rq != nil {
		ev.CallingAE, ev.CalledAE = aeString(rq.Calling), aeString(rq.Called)
	}
	a.log.Warn("association refused", "calling", ev.CallingAE, "called", ev.CalledAE, "error", err)
	a.srv.Observer.rejected(ev)
}

func (a *association) readRequest() (*associatePDU, error) {
	l := a.link
	h, err := l.need(pduHeaderLen)
	if err != nil {
		return nil, err
	}
	typ, n := h[0], binary.BigEndian.Uint32(h[2:])
	switch typ {
	case pduAssociateRQ:
	case pduAbort:
		return nil, net.ErrClosed
	case pduAssociateAC, pduAssociateRJ, pduData, pduReleaseRQ, pduReleaseRP:
		return nil, protocolErrorf(AbortUnexpectedPDU, "PDU %02XH before an association", typ)
	default:
		return nil, protocolErrorf(AbortUnrecognizedPDU, "first byte %02XH is no PDU type", typ)
	}
	if n > uint32(l.lim.MaxAssociatePDU) {
		return nil, protocolErrorf(AbortInvalidParam, "A-ASSOCIATE-RQ of %d bytes, at most %d are read", n, l.lim.MaxAssociatePDU)
	}
	body, err := l.body(int(n))
	if err != nil {
		return nil, err
	}
	return parseAssociate(body, false)
}

// answer decides about the request and makes the A-ASSOCIATE-AC. An error is
// the reason of a rejection.
func (a *association) answer(rq *associatePDU) (*associatePDU, error) {
	if err := a.acceptable(rq); err != nil {
		return nil, err
	}
	req, info := a.describe(rq)
	if err := a.srv.admit(req); err != nil {
		return nil, err
	}
	identity, err := a.authenticate(req, info)
	if err != nil {
		return nil, err
	}
	ac := a.accept(rq, identity)
	a.link.peerMax = rq.User.MaxLength
	info.ID = a.srv.lastID.Add(1)
	a.info = info
	a.log = a.log.With("association", info.ID, "calling", info.CallingAE, "called", info.CalledAE)
	a.log.Info("association accepted", "contexts", len(a.contexts), "proposed", len(rq.Contexts),
		"implementation", printable(info.ImplementationVersion), "peer_max_pdu", a.link.peerMax, "tls", info.TLS != nil)
	return ac, nil
}

// acceptable refuses what cannot be served, whoever asks.
func (a *association) acceptable(rq *associatePDU) error {
	switch {
	case a.overLimit:
		return &RejectError{RejectTransient, SourcePresentation, ReasonLocalLimit}
	case a.srv.isClosing():
		return &RejectError{RejectTransient, SourcePresentation, ReasonCongestion}
	case rq.ProtocolVersion&1 == 0:
		return &RejectError{RejectPermanent, SourceACSE, ReasonProtocolVersion}
	case rq.ApplicationContext != uid.DICOMApplicationContext:
		return &RejectError{RejectPermanent, SourceUser, ReasonApplicationContext}
	case rq.User.MaxLength != 0 && rq.User.MaxLength < minPeerPDU: // no PDV fits: nothing could ever be answered
		return &RejectError{RejectPermanent, SourceACSE, ReasonNoReason}
	case len(rq.Contexts) == 0:
		return &RejectError{RejectPermanent, SourceACSE, ReasonNoReason}
	}
	return nil
}

// describe tells policies and watchers who asks for what, and over which
// connection.
func (a *association) describe(rq *associatePDU) (*AssociateRequest, *AssociationInfo) {
	req := &AssociateRequest{
		CallingAE: aeString(rq.Calling), CalledAE: aeString(rq.Called),
		RemoteAddr: a.conn.RemoteAddr(), Identity: rq.User.Identity,
		ImplementationClassUID: rq.User.ImplementationClassUID,
		ImplementationVersion:  rq.User.ImplementationVersion,
	}
	for _, c := range rq.Contexts {
		req.Contexts = append(req.Contexts, PresentationContext{c.AbstractSyntax, c.TransferSyntaxes})
	}
	info := &AssociationInfo{
		CallingAE: req.CallingAE, CalledAE: req.CalledAE,
		RemoteAddr: req.RemoteAddr, LocalAddr: a.conn.LocalAddr(),
		ImplementationClassUID: rq.User.ImplementationClassUID,
		ImplementationVersion:  rq.User.ImplementationVersion,
		Started:                time.Now(),
	}
	t, ok := a.link.conn.(*tls.Conn)
	if !ok {
		return req, info
	}
	cs := t.ConnectionState()
	req.TLS, info.TLS = &cs, &cs
	a.srv.certificates.check(a.log, cs, time.Now())
	if len(cs.PeerCertificates) > 0 {
		info.TLSPeerName = cs.PeerCertificates[0].Subject.CommonName
	}
	if titles := a.srv.PeerAETitles; titles != nil {
		req.CertificateAEs = []string{}
		if len(cs.PeerCertificates) > 0 {
			req.CertificateAEs = append(req.CertificateAEs, titles(cs)...)
		}
	}
	return req, info
}

// authenticate checks the user identity of the request, and returns the answer
// to it.
func (a *association) authenticate(req *AssociateRequest, info *AssociationInfo) (answer []byte, err error) {
	id := req.Identity
	if id == nil || a.srv.Authenticate == nil {
		return nil, nil
	}
	resp, err := a.srv.Authenticate(a.srv.baseCtx, req, id)
	if err != nil {
		return nil, err
	}
	if id.ResponseRequested {
		answer = append([]byte{}, resp...)
	}
	if id.Type == IdentityUsername || id.Type == IdentityPasscode {
		info.Username = string(id.Primary)
	}
	return answer, nil
}

// accept judges the presentation contexts and roles, and makes the
// A-ASSOCIATE-AC.
func (a *association) accept(rq *associatePDU, identity []byte) *associatePDU {
	s := a.srv
	ac := &associatePDU{
		AC: true, ProtocolVersion: 1,
		Called: rq.Called, Calling: rq.Calling, Reserved: rq.Reserved,
		ApplicationContext: uid.DICOMApplicationContext,
		User: userInformation{
			MaxLength:              uint32(s.lim.MaxPDU),
			ImplementationClassUID: uid.ImplementationClass,
			ImplementationVersion:  uid.ImplementationVersionName,
			IdentityResponse:       identity,
		},
	}
	a.contexts = make(map[byte]PresentationContext, len(rq.Contexts))
	for _, c := range rq.Contexts {
		item := s.judgeContext(c)
		ac.Contexts = append(ac.Contexts, item)
		if item.Result == contextAccepted {
			a.contexts[c.ID] = PresentationContext{c.AbstractSyntax, item.TransferSyntaxes}
		}
	}
	if rq.User.Async != nil {
		ac.User.Async = &asyncWindow{1, 1}
	}
	ac.User.Roles = s.roles(rq.User.Roles, a.contexts)
	return ac
}

// admit applies the rules on AE titles: the policy, and the certificate's titles.
func (s *Server) admit(req *AssociateRequest) error {
	if !encoding.ValidAETitle(req.CalledAE) {
		return &RejectError{RejectPermanent, SourceUser, ReasonCalledAE}
	}
	if !encoding.ValidAETitle(req.CallingAE) {
		return &RejectError{RejectPermanent, SourceUser, ReasonCallingAE}
	}
	policy := s.Policy
	if policy == nil {
		list := AccessList{}
		if s.AETitle != "" {
			list.CalledAETitles = []string{s.AETitle}
		}
		policy = list
	}
	if err := policy.Accept(s.baseCtx, req); err != nil {
		return err
	}
	if req.CertificateAEs != nil && !slices.Contains(req.CertificateAEs, req.CallingAE) {
		return &RejectError{RejectPermanent, SourceUser, ReasonCallingAE}
	}
	return nil
}

// judgeContext answers one proposed context. Of the syntaxes it takes, the
// first proposed wins, except that Explicit VR Little Endian is preferred over
// Implicit VR and Big Endian, which are the same pixels with less information
// or more work.
func (s *Server) judgeContext(c contextItem) contextItem {
	out := contextItem{ID: c.ID, TransferSyntaxes: []string{uid.ImplicitVRLittleEndian}}
	taken, ok := s.taken(c.AbstractSyntax)
	if !ok {
		out.Result = contextAbstractSyntaxUnsupported
		return out
	}
	i := slices.IndexFunc(c.TransferSyntaxes, func(ts string) bool { return taken[ts] })
	if i < 0 {
		out.Result = contextTransferSyntaxUnsupported
		return out
	}
	chosen := c.TransferSyntaxes[i]
	if (chosen == uid.ImplicitVRLittleEndian || chosen == uid.ExplicitVRBigEndian) &&
		taken[uid.ExplicitVRLittleEndian] && slices.Contains(c.TransferSyntaxes, uid.ExplicitVRLittleEndian) {
		chosen = uid.ExplicitVRLittleEndian
	}
	out.TransferSyntaxes = []string{chosen}
	return out
}

// roles answers role selections for accepted SOP classes: the requestor may be
// SCU of everything, and SCP of storage commitment where the handler takes
// reports.
func (s *Server) roles(proposed []RoleSelection, accepted map[byte]PresentationContext) []RoleSelection {
	var out []RoleSelection
	for _, r := range proposed {
		known := false
		for _, pc := range accepted {
			known = known || pc.AbstractSyntax == r.SOPClassUID
		}
		if !known || slices.ContainsFunc(out, func(o RoleSelection) bool { return o.SOPClassUID == r.SOPClassUID }) {
			continue
		}
		scu, scpRole := true, false
		if r.SOPClassUID == uid.StorageCommitmentPushModel {
			scu, scpRole = s.committer() != nil, s.commitReceiver() != nil
		}
		out = append(out, RoleSelection{r.SOPClassUID, r.SCU && scu, r.SCP && scpRole})
	}
	return out
}

// printable keeps a peer's text from breaking a log line.
func printable(s string) string {
	if len(s) > 64 {
		s = s[:64]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}

// String names a context for logs.
func (c PresentationContext) String() string {
	return fmt.Sprintf("%s %v", c.AbstractSyntax, c.TransferSyntaxes)
}
