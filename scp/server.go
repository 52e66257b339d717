package scp

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/echonode/echonode/dicomio/part10"
	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/scp/bufpool"
)

// Handler stores objects. Store is called in the goroutine of its association:
// the next message is read after it has returned, and the response is sent
// with what it returned: nil is success, a *StatusError its status, any other
// error C000H. What Store leaves unread of r is discarded.
//
// r fails when the association is lost; Store must then undo what it has done.
// ctx ends when the server is closed.
type Handler interface {
	Store(ctx context.Context, req *StoreRequest, r io.Reader) error
}

// HandlerFunc makes a function a Handler.
type HandlerFunc func(ctx context.Context, req *StoreRequest, r io.Reader) error

// Store calls f.
func (f HandlerFunc) Store(ctx context.Context, req *StoreRequest, r io.Reader) error {
	return f(ctx, req, r)
}

// Echoer is a Handler that wants to know of, or refuse, a C-ECHO.
type Echoer interface {
	Echo(ctx context.Context, a *AssociationInfo) error
}

// AssociationWatcher is a Handler that follows associations. Opened is called
// after the association is accepted, Closed when it is over: err is nil after
// an orderly release.
type AssociationWatcher interface {
	AssociationOpened(a *AssociationInfo)
	AssociationClosed(a *AssociationInfo, err error)
}

// StoreRequest is a C-STORE-RQ. The data set that comes with it is bare: no
// preamble and no file meta information (see part10.Write).
type StoreRequest struct {
	Association       *AssociationInfo
	ContextID         byte
	MessageID         uint16
	Priority          uint16
	SOPClassUID       string // equals the abstract syntax of the presentation context
	SOPInstanceUID    string // syntactically valid (ValidUID), otherwise as the peer sent it
	TransferSyntaxUID string
	StudyInstanceUID  string // the only study that is meant, "" for any: DICOMweb alone names one
	MoveOriginatorAE  string
	MoveOriginatorID  uint16
}

// Meta is the file meta information of the object that is sent.
func (r *StoreRequest) Meta() part10.Meta {
	m := part10.Meta{SOPClassUID: r.SOPClassUID, SOPInstanceUID: r.SOPInstanceUID, TransferSyntaxUID: r.TransferSyntaxUID}
	if r.Association != nil {
		m.SourceAETitle = r.Association.CallingAE
	}
	return m
}

// AssociationInfo describes an accepted association. It does not change.
type AssociationInfo struct {
	ID                     uint64 // unique in the server's life
	CallingAE, CalledAE    string
	RemoteAddr             net.Addr
	LocalAddr              net.Addr
	TLS                    *tls.ConnectionState // nil on a plain connection
	TLSPeerName            string               // subject common name of the client certificate, or ""
	ImplementationClassUID string
	ImplementationVersion  string
	Username               string // of a user identity of type 1 or 2 that the server authenticated, or ""
	Started                time.Time
}

// PresentationContext pairs a SOP class with transfer syntaxes: on a Server
// what it accepts (no syntaxes means DefaultTransferSyntaxes), on a Dialer
// what it proposes.
type PresentationContext struct {
	AbstractSyntax   string
	TransferSyntaxes []string
}

// AssociateRequest is what a Policy judges.
type AssociateRequest struct {
	CallingAE, CalledAE    string
	RemoteAddr             net.Addr
	TLS                    *tls.ConnectionState
	CertificateAEs         []string // from Server.PeerAETitles; nil without it
	Identity               *UserIdentity
	ImplementationClassUID string
	ImplementationVersion  string
	Contexts               []PresentationContext
}

// Policy decides about an association before anything is negotiated. nil
// accepts, a *RejectError rejects with its codes, any other error rejects
// permanently without a reason.
type Policy interface {
	Accept(ctx context.Context, req *AssociateRequest) error
}

// PolicyFunc makes a function a Policy.
type PolicyFunc func(ctx context.Context, req *AssociateRequest) error

// Accept calls f.
func (f PolicyFunc) Accept(ctx context.Context, req *AssociateRequest) error { return f(ctx, req) }

// Server is a DICOM service class provider. Set the fields before Serve and
// leave them alone afterwards. The zero value of every optional field is
// usable.
type Server struct {
	AETitle string  // called AE title; with no Policy a request has to call it, unless it is ""
	Handler Handler // nil: verification only

	Contexts []PresentationContext // accepted storage classes; nil: DefaultStorageContexts
	// Others are the transfer syntaxes in which objects of storage classes beyond
	// Contexts are taken, those of the standard and private ones: a sender that
	// is refused one object of a study often keeps back the rest. nil refuses
	// them.
	Others []string
	Policy Policy // nil: AccessList{CalledAETitles: {AETitle}}

	// Authenticate judges a user identity (PS3.7 D.3.3.7). Its response is
	// returned to the peer where the peer asked for one; an error rejects the
	// association. With nil the item is tolerated and not answered.
	Authenticate func(ctx context.Context, req *AssociateRequest, id *UserIdentity) (response []byte, err error)

	// Sources are the networks that may connect; nil: any. A connection from
	// elsewhere is closed at once, without an answer and without counting.
	Sources []netip.Prefix

	TLSConfig *tls.Config // nil: plain. See ServerTLS
	// PeerAETitles, when not nil, maps a client certificate to the calling AE
	// titles it may use. Any other title, and a TLS peer without a certificate,
	// is rejected as not recognized.
	PeerAETitles func(tls.ConnectionState) []string

	Limits   Limits
	Timeouts Timeouts
	Logger   *slog.Logger // nil: discard. No patient data is ever logged
	Observer Observer

	initOnce     sync.Once
	lim          Limits
	tmo          Timeouts
	log          *slog.Logger
	accepted     map[string]map[string]bool // abstract syntax -> transfer syntaxes
	others       map[string]bool
	certificates certificateWarner
	pool         bufpool.Pool
	lastID       atomic.Uint64
	connections  atomic.Uint64
	baseCtx      context.Context
	cancel       context.CancelFunc

	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	active    map[*association]struct{}
	perPeer   map[string]int
	perNet    map[netip.Prefix]int
	closing   bool
	wg        sync.WaitGroup
}

// overflow is how many connections beyond MaxAssociations are kept open just
// to be told that they are rejected.
const overflow = 64

func (s *Server) init() {
	s.initOnce.Do(func() {
		s.lim, s.tmo = s.Limits.withDefaults(), s.Timeouts.withDefaults()
		s.log = s.Logger
		if s.log == nil {
			s.log = slog.New(slog.DiscardHandler)
		}
		s.accepted = s.acceptedContexts()
		if s.Handler != nil {
			s.others = set(s.Others)
		}
		s.baseCtx, s.cancel = context.WithCancel(context.Background())
		s.listeners = make(map[net.Listener]struct{})
		s.active = make(map[*association]struct{})
		s.perPeer = make(map[string]int)
		s.perNet = make(map[netip.Prefix]int)
	})
}

// Takes tells whether objects of a storage class are taken in a transfer syntax, by
// the rule of the negotiation: nil, or a *StatusError that says which of the two is
// not. It is for objects that come by another way.
func (s *Server) Takes(class, syntax string) error {
	s.init()
	taken, ok := s.taken(class)
	switch {
	case !ok || !uid.StorageClass(class):
		return &StatusError{Status: StatusSOPClassUnsupported, Comment: "SOP class is not accepted"}
	case !taken[syntax]:
		return &StatusError{Status: StatusSyntaxUnsupported, Comment: "transfer syntax is not accepted"}
	}
	return nil
}

// taken are the transfer syntaxes in which an abstract syntax is accepted.
func (s *Server) taken(abstract string) (syntaxes map[string]bool, ok bool) {
	if syntaxes, ok = s.accepted[abstract]; !ok && uid.StorageClass(abstract) {
		return s.others, len(s.others) > 0
	}
	return syntaxes, ok
}

func (s *Server) acceptedContexts() map[string]map[string]bool {
	contexts := s.Contexts
	if contexts == nil {
		contexts = DefaultStorageContexts()
	}
	if s.Handler == nil {
		contexts = nil
	}
	all := set(DefaultTransferSyntaxes())
	m := make(map[string]map[string]bool, len(contexts)+2)
	for _, c := range contexts {
		if len(c.TransferSyntaxes) == 0 {
			m[c.AbstractSyntax] = all
		} else {
			m[c.AbstractSyntax] = set(c.TransferSyntaxes)
		}
	}
	little := set([]string{uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian})
	m[uid.Verification] = set([]string{uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.DeflatedExplicitVRLittleEndian})
	if s.committer() != nil || s.commitReceiver() != nil {
		m[uid.StorageCommitmentPushModel] = little
	}
	return m
}

func set(list []string) map[string]bool {
	m := make(map[string]bool, len(list))
	for _, v := range list {
		m[v] = true
	}
	return m
}

func (s *Server) committer() Committer           { c, _ := s.Handler.(Committer); return c }
func (s *Server) commitReceiver() CommitReceiver { c, _ := s.Handler.(CommitReceiver); return c }

// Serve accepts associations on l until Shutdown or Close, and then returns
// ErrServerClosed. It may be called for several listeners. It closes l.
func (s *Server) Serve(l net.Listener) error {
	s.init()
	defer l.Close()
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return ErrServerClosed
	}
	s.listeners[l] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.listeners, l)
		s.mu.Unlock()
	}()

	var pause time.Duration
	for {
		conn, err := l.Accept()
		if err != nil {
			if s.isClosing() {
				return ErrServerClosed
			}
			if !temporary(err) {
				return err
			}
			// Out of descriptors, or a peer gone before accept: wait, so that
			// neither the processor nor the log is flooded.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.log.Warn("accept failed, trying again", "error", err, "pause", pause)
			select {
			case <-time.After(pause):
			case <-s.baseCtx.Done():
			}
			continue
		}
		pause = 0
		s.start(conn)
	}
}

// temporary reports whether Accept may succeed later.
func temporary(err error) bool {
	if errors.Is(err, net.ErrClosed) {
		return false
	}
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}

// start admits conn and serves it in a goroutine of its own.
func (s *Server) start(conn net.Conn) {
	ip := remoteIP(conn.RemoteAddr())
	if s.Sources != nil && !slices.ContainsFunc(s.Sources, func(n netip.Prefix) bool { return n.Contains(ip) }) {
		conn.Close()
		s.Observer.connectionRefused(conn.RemoteAddr())
		return
	}
	a := &association{srv: s, conn: conn, seq: s.connections.Add(1), peer: peerKey(conn.RemoteAddr()), network: networkOf(ip),
		log: s.log.With("remote", conn.RemoteAddr().String())}
	s.mu.Lock()
	total, own, near := len(s.active), s.perPeer[a.peer], s.perNet[a.network]
	if total >= s.lim.MaxAssociations && !s.closing && s.makeRoom(a) {
		total = s.lim.MaxAssociations - 1 // the one that was cut is on its way out
	}
	if s.closing || total >= s.lim.MaxAssociations+overflow || own >= s.lim.MaxAssociationsPerPeer+overflow || near >= s.lim.MaxAssociationsPerNetwork+overflow {
		s.mu.Unlock()
		conn.Close()
		s.Observer.connectionRefused(conn.RemoteAddr())
		return
	}
	a.overLimit = total >= s.lim.MaxAssociations || own >= s.lim.MaxAssociationsPerPeer || near >= s.lim.MaxAssociationsPerNetwork
	s.active[a] = struct{}{}
	s.perPeer[a.peer]++
	s.perNet[a.network]++
	s.wg.Add(1)
	s.mu.Unlock()
	go func() {
		defer s.finished(a)
		// The outer guard is for callbacks outside messages.
		if err := a.guarded(func() error { a.run(); return nil }); err != nil {
			conn.Close()
		}
	}()
}

// makeRoom cuts a connection that has not become an association, of the network
// that has most of those, so that silent connections from one place do not shut
// out another. It does nothing where the newcomer's own network has as many.
func (s *Server) makeRoom(newcomer *association) bool {
	silent := map[netip.Prefix]int{}
	first := map[netip.Prefix]*association{}
	for a := range s.active {
		if a.associated.Load() || a.cut {
			continue
		}
		silent[a.network]++
		if f := first[a.network]; f == nil || a.seq < f.seq {
			first[a.network] = a
		}
	}
	var most netip.Prefix
	for n, count := range silent {
		if count > silent[most] {
			most = n
		}
	}
	if silent[most] <= silent[newcomer.network]+1 {
		return false
	}
	victim := first[most]
	victim.cut = true
	victim.conn.Close()
	s.Observer.connectionRefused(victim.conn.RemoteAddr())
	return true
}

func (s *Server) finished(a *association) {
	s.mu.Lock()
	delete(s.active, a)
	if s.perPeer[a.peer]--; s.perPeer[a.peer] == 0 {
		delete(s.perPeer, a.peer)
	}
	if s.perNet[a.network]--; s.perNet[a.network] == 0 {
		delete(s.perNet, a.network)
	}
	s.mu.Unlock()
	s.wg.Done()
}

// networkOf is what connections per network are counted by: the /24 of an IPv4
// address, the /64 of an IPv6 address.
func networkOf(ip netip.Addr) netip.Prefix {
	bits := 64
	if ip.Is4() {
		bits = 24
	}
	n, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return n
}

// peerKey is what associations per peer are counted by: the IP address.
func peerKey(addr net.Addr) string {
	if t, ok := addr.(*net.TCPAddr); ok {
		return t.IP.String()
	}
	return addr.String()
}

func (s *Server) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

// Associations is the number of connections being served.
func (s *Server) Associations() int {
	s.init()
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.active)
}

// shutdownIdle is how long an association may be silent between messages
// before Shutdown ends it.
const shutdownIdle = time.Second

// shutdownStalled is how long a peer may be silent inside a message, or before
// its association, before Shutdown ends it.
const shutdownStalled = 3 * time.Second

// Shutdown stops accepting, lets associations go on while they are busy, and
// aborts those that are silent between messages for a second, or elsewhere for
// three. When ctx ends
// first, what is left is cut as by Close and ctx.Err() is returned.
func (s *Server) Shutdown(ctx context.Context) error {
	s.init()
	s.stopListening()
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-done:
			s.cancel()
			return nil
		case <-ctx.Done():
			s.cut()
			return ctx.Err()
		case now := <-tick.C:
			s.mu.Lock()
			for a := range s.active {
				if since := a.idleSince.Load(); since != 0 && now.Sub(time.Unix(0, since)) > shutdownIdle || a.stalled(now, shutdownStalled) {
					a.stop()
				}
			}
			s.mu.Unlock()
		}
	}
}

// Close stops accepting and cuts every association. It does not wait for
// handlers; their contexts end and their readers fail.
func (s *Server) Close() error {
	s.init()
	s.stopListening()
	s.cut()
	return nil
}

func (s *Server) stopListening() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing = true
	for l := range s.listeners {
		l.Close()
	}
}

func (s *Server) cut() {
	s.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	for a := range s.active {
		a.conn.Close()
	}
}
