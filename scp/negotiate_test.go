package scp

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/echonode/echonode/dicomio/uid"
)

func TestRejectCodes(t *testing.T) {
	s := &Server{
		AETitle: "ECHONODE", Handler: &memoryStore{},
		Policy: AccessList{
			CalledAETitles: []string{"ECHONODE", "ECHO2"},
			Peers: []Peer{
				{AETitle: "BAD", Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
				{AETitle: "FAR", Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
			},
		},
		Authenticate: func(_ context.Context, _ *AssociateRequest, id *UserIdentity) ([]byte, error) {
			if string(id.Secondary) != "geheim" {
				return nil, errors.New("wrong passcode")
			}
			return nil, nil
		},
	}
	addr := startServer(t, s)
	for _, tc := range []struct {
		name                   string
		edit                   func(*associatePDU)
		result, source, reason byte // 0: accepted
	}{
		{"accepted", func(*associatePDU) {}, 0, 0, 0},
		{"second called title", func(p *associatePDU) { p.Called = aeField("ECHO2") }, 0, 0, 0},
		{"leading spaces are not significant", func(p *associatePDU) { p.Calling = aeField("  BAD") }, 0, 0, 0},
		{"called title unknown", func(p *associatePDU) { p.Called = aeField("OTHER") }, 1, 1, 7},
		{"called title in another case", func(p *associatePDU) { p.Called = aeField("echonode") }, 1, 1, 7},
		{"called title blank", func(p *associatePDU) { p.Called = aeField("") }, 1, 1, 7},
		{"calling title unknown", func(p *associatePDU) { p.Calling = aeField("NOBODY") }, 1, 1, 3},
		{"calling title blank", func(p *associatePDU) { p.Calling = aeField("") }, 1, 1, 3},
		{"calling title with a line feed", func(p *associatePDU) { p.Calling = aeField("BAD\nINFO") }, 1, 1, 3},
		{"known title, other network", func(p *associatePDU) { p.Calling = aeField("FAR") }, 1, 1, 3},
		{"application context", func(p *associatePDU) { p.ApplicationContext = "1.2.840.10008.3.1.1.2" }, 1, 1, 2},
		{"no application context", func(p *associatePDU) { p.ApplicationContext = "" }, 1, 1, 2},
		{"protocol version 2", func(p *associatePDU) { p.ProtocolVersion = 2 }, 1, 2, 2},
		{"protocol versions 1 and 2", func(p *associatePDU) { p.ProtocolVersion = 3 }, 0, 0, 0},
		{"no presentation context", func(p *associatePDU) { p.Contexts = nil }, 1, 2, 1},
		{"maximum length 7", func(p *associatePDU) { p.User.MaxLength = 7 }, 1, 2, 1},
		{"passcode", func(p *associatePDU) {
			p.User.Identity = &UserIdentity{Type: IdentityPasscode, Primary: []byte("sonia"), Secondary: []byte("geheim")}
		}, 0, 0, 0},
		{"wrong passcode", func(p *associatePDU) {
			p.User.Identity = &UserIdentity{Type: IdentityPasscode, Primary: []byte("sonia"), Secondary: []byte("x")}
		}, 1, 1, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := dialRaw(t, addr)
			if tc.result == 0 {
				p.associate(tc.edit)
				p.release()
				return
			}
			rq := testAssociate()
			tc.edit(rq)
			p.send(encodeAssociate(t, rq))
			p.expectReject(tc.result, tc.source, tc.reason)
			p.expect(0)
		})
	}
}

func TestContextIDs(t *testing.T) {
	addr := startServer(t, &Server{Handler: &memoryStore{}})
	for name, ids := range map[string][]byte{"even": {2}, "zero": {0}, "repeated": {1, 1}} {
		t.Run(name, func(t *testing.T) {
			p := dialRaw(t, addr)
			rq := testAssociate()
			rq.Contexts = nil
			for _, id := range ids {
				rq.Contexts = append(rq.Contexts, contextItem{ID: id, AbstractSyntax: testClass, TransferSyntaxes: []string{uid.ExplicitVRLittleEndian}})
			}
			p.send(encodeAssociate(t, rq))
			p.expectAbort(AbortInvalidParam)
		})
	}
}

// TestNegotiation proposes what carts and archives propose: a context for each
// syntax, retired classes, unknown classes, every kind of user item.
func TestNegotiation(t *testing.T) {
	h := struct {
		*memoryStore
		*commitHandler
	}{&memoryStore{}, &commitHandler{}}
	s := &Server{AETitle: "ECHONODE", Handler: h,
		Authenticate: func(_ context.Context, _ *AssociateRequest, id *UserIdentity) ([]byte, error) {
			return []byte("ticket for " + string(id.Primary)), nil
		}}
	addr := startServer(t, s)
	retired := "1.2.840.10008.5.1.4.1.1.3"
	p := dialRaw(t, addr)
	ac := p.associate(func(rq *associatePDU) {
		rq.Reserved[3] = 7
		rq.Contexts = []contextItem{
			{ID: 1, AbstractSyntax: usmfClass, TransferSyntaxes: []string{jpegTS}},
			{ID: 3, AbstractSyntax: usmfClass, TransferSyntaxes: []string{uid.ExplicitVRLittleEndian}},
			{ID: 5, AbstractSyntax: retired, TransferSyntaxes: []string{"1.2.840.10008.1.2.5"}},
			{ID: 7, AbstractSyntax: retired, TransferSyntaxes: []string{"1.2.840.113619.5.2"}},                                                               // GE private: Implicit VR Big Endian
			{ID: 9, AbstractSyntax: "1.2.840.113619.4.30", TransferSyntaxes: []string{uid.ImplicitVRLittleEndian}},                                           // GE private class
			{ID: 11, AbstractSyntax: testClass, TransferSyntaxes: []string{uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.ExplicitVRLittleEndian}}, // Explicit Little wins
			{ID: 13, AbstractSyntax: testClass, TransferSyntaxes: []string{jpegTS, uid.ExplicitVRLittleEndian}},                                              // the first wins
			{ID: 15, AbstractSyntax: testClass, TransferSyntaxes: []string{"1.2.3", uid.ImplicitVRLittleEndian}},
			{ID: 255, AbstractSyntax: uid.StorageCommitmentPushModel, TransferSyntaxes: []string{uid.ImplicitVRLittleEndian}},
			{ID: 253, AbstractSyntax: testClass},
			{ID: 251, AbstractSyntax: usmfClass, TransferSyntaxes: []string{"1.2.840.10008.1.2.4.108"}},
		}
		rq.User.Async = &asyncWindow{0, 0}
		rq.User.Roles = []RoleSelection{
			{usmfClass, true, true}, {uid.StorageCommitmentPushModel, false, true}, {"1.2.840.113619.4.30", true, true}, {usmfClass, false, true},
		}
		rq.User.Extended = []ExtendedNegotiation{{usmfClass, []byte{2, 0, 0, 0, 1}}}
		rq.User.Identity = &UserIdentity{Type: IdentityUsername, ResponseRequested: true, Primary: []byte("sonia")}
	})
	want := map[byte]contextItem{
		1:   {TransferSyntaxes: []string{jpegTS}},
		3:   {TransferSyntaxes: []string{uid.ExplicitVRLittleEndian}},
		5:   {TransferSyntaxes: []string{"1.2.840.10008.1.2.5"}},
		7:   {Result: contextTransferSyntaxUnsupported, TransferSyntaxes: []string{uid.ImplicitVRLittleEndian}},
		9:   {Result: contextAbstractSyntaxUnsupported, TransferSyntaxes: []string{uid.ImplicitVRLittleEndian}},
		11:  {TransferSyntaxes: []string{uid.ExplicitVRLittleEndian}},
		13:  {TransferSyntaxes: []string{jpegTS}},
		15:  {TransferSyntaxes: []string{uid.ImplicitVRLittleEndian}},
		255: {TransferSyntaxes: []string{uid.ImplicitVRLittleEndian}},
		253: {Result: contextTransferSyntaxUnsupported, TransferSyntaxes: []string{uid.ImplicitVRLittleEndian}},
		251: {TransferSyntaxes: []string{"1.2.840.10008.1.2.4.108"}},
	}
	if len(ac.Contexts) != len(want) {
		t.Errorf("%d contexts answered, want %d", len(ac.Contexts), len(want))
	}
	for _, c := range ac.Contexts {
		w := want[c.ID]
		w.ID = c.ID
		if !reflect.DeepEqual(c, w) {
			t.Errorf("context %d: %+v, want %+v", c.ID, c, w)
		}
	}
	if ac.Called != aeField("ECHONODE") || ac.Calling != aeField("BAD") || ac.Reserved[3] != 7 || ac.ApplicationContext != uid.DICOMApplicationContext {
		t.Errorf("fixed fields %+v", ac)
	}
	u := ac.User
	if u.MaxLength != 128<<10 || u.ImplementationClassUID != uid.ImplementationClass || u.ImplementationVersion != uid.ImplementationVersionName {
		t.Errorf("user information %+v", u)
	}
	if u.Async == nil || *u.Async != (asyncWindow{1, 1}) {
		t.Errorf("asynchronous operations %+v, want 1, 1", u.Async)
	}
	if wantRoles := []RoleSelection{{usmfClass, true, false}, {uid.StorageCommitmentPushModel, false, true}}; !slices.Equal(u.Roles, wantRoles) {
		t.Errorf("roles %+v, want %+v", u.Roles, wantRoles)
	}
	if string(u.IdentityResponse) != "ticket for sonia" || len(u.Extended) != 0 {
		t.Errorf("identity %q, extended %v", u.IdentityResponse, u.Extended)
	}
	p.release()
}

func TestAssociationLimits(t *testing.T) {
	s := &Server{AETitle: "ECHONODE", Limits: Limits{MaxAssociations: 5, MaxAssociationsPerPeer: 3}}
	addr := startServer(t, s)
	var open []*rawPeer
	for range 3 {
		p := dialRaw(t, addr)
		p.associate(nil)
		open = append(open, p)
	}
	p := dialRaw(t, addr)
	p.send(encodeAssociate(t, testAssociate()))
	p.expectReject(RejectTransient, SourcePresentation, ReasonLocalLimit)
	p.expect(0)
	p.Close()
	open[0].release()
	open[0].Close()
	for s.Associations() > 2 {
	}
	p = dialRaw(t, addr)
	p.associate(nil)
	p.release()

	// From another address there is still room for two.
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		t.Skip("no second loopback address:", err)
	}
	defer c.Close()
	(&rawPeer{t, c}).associate(nil)
}

// dialFrom connects from another loopback address, or skips.
func dialFrom(t *testing.T, ip net.IP, addr string) *rawPeer {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: ip}}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		t.Skip("no other loopback address:", err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	return &rawPeer{t, c}
}

// Who may not connect is closed without an answer, and takes no place.
func TestSources(t *testing.T) {
	refused := make(chan net.Addr, 100)
	s := &Server{AETitle: "ECHONODE", Sources: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Limits: Limits{MaxAssociations: 2},
		Observer: Observer{ConnectionRefused: func(a net.Addr) { refused <- a }}}
	addr := startServer(t, s)
	for range 80 {
		p := dialFrom(t, net.IPv4(127, 0, 9, 9), addr)
		p.send(encodeAssociate(t, testAssociate()))
		p.expect(0)
	}
	if n := s.Associations(); n != 0 {
		t.Errorf("%d connections of a foreign network count", n)
	}
	if a := <-refused; remoteIP(a) != netip.MustParseAddr("127.0.9.9") {
		t.Errorf("refused %v", a)
	}
	p := dialRaw(t, addr)
	p.associate(nil)
	p.release()
}

// Silent connections from one network leave room for others, and a network has
// a limit of its own.
func TestSilentConnectionsLeaveRoom(t *testing.T) {
	const limit = 8
	s := &Server{AETitle: "ECHONODE", Limits: Limits{MaxAssociations: limit, MaxAssociationsPerNetwork: limit}}
	addr := startServer(t, s)
	for i := range limit + overflow {
		dialFrom(t, net.IPv4(127, 0, 9, byte(1+i%200)), addr)
	}
	until(t, "all have connected", func() bool { return s.Associations() == limit+overflow })
	for range 3 { // as many as the others have more than these
		dialRaw(t, addr).associate(nil)
	}
	few := &Server{AETitle: "ECHONODE", Limits: Limits{MaxAssociations: limit, MaxAssociationsPerNetwork: 2}}
	addr = startServer(t, few)
	for range 2 {
		dialFrom(t, net.IPv4(127, 0, 9, 9), addr).associate(nil)
	}
	p := dialFrom(t, net.IPv4(127, 0, 9, 10), addr)
	p.send(encodeAssociate(t, testAssociate()))
	p.expectReject(RejectTransient, SourcePresentation, ReasonLocalLimit)
	dialRaw(t, addr).associate(nil)
}

// TestTLS: client certificates are required, verified and bound to AE titles.
func TestTLS(t *testing.T) {
	serverCert, serverPool := selfSigned("localhost")
	cartCert, cartPool := selfSigned("CART1")
	strangerCert, _ := selfSigned("CART1")
	var seen AssociationInfo
	h := &memoryStore{}
	s := &Server{AETitle: "ECHONODE", Handler: h, TLSConfig: ServerTLS(serverCert, cartPool), PeerAETitles: CertificateTitles,
		Observer: Observer{AssociationOpened: func(a *AssociationInfo) { seen = *a }}}
	addr := startServer(t, s)
	ctx := testContext(t)
	echo := func(calling string, cfg *tls.Config) error {
		d := &Dialer{CallingAE: calling, CalledAE: "ECHONODE", TLSConfig: cfg}
		c, err := d.Dial(ctx, addr, []PresentationContext{{uid.Verification, []string{uid.ImplicitVRLittleEndian}}})
		if err != nil {
			return err
		}
		defer c.Abort()
		if err := c.Echo(ctx); err != nil {
			return err
		}
		return c.Release(ctx)
	}
	if err := echo("CART1", ClientTLS(&cartCert, serverPool)); err != nil {
		t.Errorf("right certificate: %v", err)
	}
	if seen.TLS == nil || seen.TLSPeerName != "CART1" || seen.TLS.Version != tls.VersionTLS13 {
		t.Errorf("association %+v", seen)
	}
	var rj *RejectError
	if err := echo("CART2", ClientTLS(&cartCert, serverPool)); !errors.As(err, &rj) || rj.Reason != ReasonCallingAE {
		t.Errorf("another title than the certificate's: %v", err)
	}
	if err := echo("CART1", ClientTLS(nil, serverPool)); err == nil {
		t.Error("no client certificate: accepted")
	}
	if err := echo("CART1", ClientTLS(&strangerCert, serverPool)); err == nil {
		t.Error("certificate of another authority: accepted")
	}
	if err := echo("CART1", ClientTLS(&cartCert, cartPool)); err == nil {
		t.Error("server certificate of another authority: accepted by the client")
	}
	old := ClientTLS(&cartCert, serverPool)
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if err := echo("CART1", old); err == nil {
		t.Error("TLS 1.1: accepted without LegacyTLS")
	}

	// A map that knows no certificate admits nobody, with or without one.
	empty := map[string][]string{}
	s2 := &Server{AETitle: "ECHONODE", TLSConfig: ServerTLS(serverCert, nil), PeerAETitles: func(cs tls.ConnectionState) []string {
		return empty[cs.PeerCertificates[0].Subject.CommonName]
	}}
	s2.TLSConfig.ClientAuth = tls.RequestClientCert
	addr = startServer(t, s2)
	for _, cert := range []*tls.Certificate{nil, &cartCert} {
		if err := echo("CART1", ClientTLS(cert, serverPool)); !errors.As(err, &rj) || rj.Reason != ReasonCallingAE {
			t.Errorf("certificate without titles: %v", err)
		}
	}

	legacy := startServer(t, &Server{AETitle: "ECHONODE", TLSConfig: LegacyTLS(ServerTLS(serverCert, nil))})
	addr = legacy
	if err := echo("CART1", old); err != nil {
		t.Errorf("TLS 1.1 with LegacyTLS: %v", err)
	}
	if err := echo("CART1", ClientTLS(nil, serverPool)); err != nil {
		t.Errorf("TLS 1.3 with LegacyTLS: %v", err)
	}
}

func TestClientIdentityAndRoles(t *testing.T) {
	addr := startServer(t, &Server{AETitle: "ECHONODE", Handler: &memoryStore{},
		Authenticate: func(_ context.Context, _ *AssociateRequest, id *UserIdentity) ([]byte, error) { return id.Primary, nil }})
	d := testDialer()
	d.Identity = &UserIdentity{Type: IdentityJWT, ResponseRequested: true, Primary: []byte("e30.e30.")}
	d.Roles = []RoleSelection{{testClass, true, true}}
	d.Extended = []ExtendedNegotiation{{testClass, []byte{1}}}
	c, err := d.Dial(testContext(t), addr, []PresentationContext{{testClass, []string{uid.ExplicitVRLittleEndian}}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Abort()
	if string(c.IdentityResponse()) != "e30.e30." || !slices.Equal(c.Roles(), []RoleSelection{{testClass, true, false}}) {
		t.Errorf("identity %q, roles %v", c.IdentityResponse(), c.Roles())
	}
	if p := c.Peer(); p.ImplementationVersion != uid.ImplementationVersionName || p.MaxPDU != 128<<10 {
		t.Errorf("peer %+v", p)
	}
}
