package cli

import (
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// What the HTTP servers may take of the process's descriptors, of which a service
// has 16,384: the rest is left for DICOM, the database and the objects, whoever
// connects.
const (
	shareOfReview = 2  // a half: every page that is open holds a connection, and a browser up to six
	shareOfHTTP   = 16 // status and DICOMweb, each
	maxCrowd      = 8192
	minCrowd      = 200
)

// crowdComplaint is how often the log says that connections were closed.
const crowdComplaint = time.Minute

// share is how many connections a part of the process's descriptors are.
func share(part uint64) (int, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, err
	}
	return int(max(minCrowd, min(limit.Cur/part, maxCrowd))), nil
}

// crowd is a listener that closes connections beyond a number at once. Those of
// this machine, among them a proxy that speaks for everybody, count in all only.
type crowd struct {
	net.Listener
	name        string
	total, each int // each 0: no limit but total
	log         *slog.Logger

	mu      sync.Mutex
	open    int
	by      map[netip.Prefix]int // by network
	refused int
	said    time.Time
}

func limitConnections(l net.Listener, name string, total, each int, log *slog.Logger) net.Listener {
	return &crowd{Listener: l, name: name, total: total, each: each, log: log, by: map[netip.Prefix]int{}}
}

// Accept implements net.Listener.
func (c *crowd) Accept() (net.Conn, error) {
	for {
		conn, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		network := networkOf(conn.RemoteAddr())
		if c.enter(network) {
			return &crowded{Conn: conn, leave: sync.OnceFunc(func() { c.leave(network) })}, nil
		}
		_ = conn.Close()
	}
}

// enter counts a connection, or says that there is no room for it.
func (c *crowd) enter(network netip.Prefix) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open >= c.total || network.IsValid() && c.each > 0 && c.by[network] >= c.each {
		c.refused++
		if now := time.Now(); now.Sub(c.said) >= crowdComplaint {
			c.log.Warn("connections closed: there are too many", "listener", c.name, "closed", c.refused, "open", c.open, "network", network.String())
			c.said, c.refused = now, 0
		}
		return false
	}
	c.open++
	if network.IsValid() {
		c.by[network]++
	}
	return true
}

func (c *crowd) leave(network netip.Prefix) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open--
	if c.by[network]--; c.by[network] <= 0 {
		delete(c.by, network)
	}
}

// networkOf is the network of a peer, /24 of IPv4 or /64 of IPv6 as for
// associations; none for this machine.
func networkOf(a net.Addr) netip.Prefix {
	at, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Prefix{}
	}
	addr := at.Addr().Unmap().WithZone("")
	if addr.IsLoopback() {
		return netip.Prefix{}
	}
	bits := 64
	if addr.Is4() {
		bits = 24
	}
	network, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return network
}

// crowded is a connection of a crowd.
type crowded struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (c *crowded) Close() error {
	c.leave()
	return c.Conn.Close()
}
