package cli

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
)

// A listener holds no more connections than it may, closes the others at once, and
// has room again when one has gone.
func TestConnectionsAreLimited(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	l := limitConnections(inner, "test.listen", 3, 2, slog.New(slog.NewTextHandler(&said, nil)))
	taken := make(chan net.Conn, 10)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			taken <- c
		}
	}()
	var peers []net.Conn
	dial := func() net.Conn {
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		peers = append(peers, c)
		return c
	}
	closed := func(c net.Conn) {
		t.Helper()
		if n, err := c.Read(make([]byte, 1)); err == nil || n > 0 {
			t.Error("a connection too many was taken")
		}
	}
	for range 3 {
		dial()
	}
	first := <-taken
	<-taken
	<-taken
	closed(dial())
	closed(dial())
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	_ = first.Close() // as servers do: counts once
	dial()
	last := <-taken
	if _, err := last.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(peers[len(peers)-1], make([]byte, 1)); err != nil {
		t.Error(err)
	}
	closed(dial())
	for _, c := range peers {
		_ = c.Close()
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	<-done
	if strings.Count(said.String(), "closed") != 2 || !strings.Contains(said.String(), "listener=test.listen") { // message and attribute, once
		t.Errorf("log: %s", said.String())
	}
}

// One network does not take what others need; this machine, with its proxies, is
// none.
func TestConnectionsOfANetwork(t *testing.T) {
	c := &crowd{total: 10, each: 2, log: slog.New(slog.DiscardHandler), by: map[netip.Prefix]int{}}
	from := func(address string) netip.Prefix {
		return networkOf(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(address)))
	}
	for i, step := range []struct {
		address string
		taken   bool
	}{
		{"10.0.0.1:1", true}, {"10.0.0.200:1", true}, {"10.0.0.3:1", false}, {"10.0.1.3:1", true},
		{"[::ffff:10.0.0.9]:1", false}, {"[2001:db8::1]:1", true}, {"[2001:db8::2]:1", true}, {"[2001:db8::3]:1", false},
		{"[2001:db8:0:1::3]:1", true}, {"127.0.0.1:1", true}, {"127.0.0.1:2", true}, {"[::1]:3", true}, {"127.0.0.1:4", true}, {"10.9.0.1:1", false},
	} {
		if got := c.enter(from(step.address)); got != step.taken {
			t.Errorf("%d: %s taken: %t", i, step.address, got)
		}
	}
	c.leave(from("10.0.0.1:1"))
	if !c.enter(from("10.0.0.7:1")) {
		t.Error("no room where one has left")
	}
	for _, a := range []string{"10.0.0.1:1", "10.0.0.1:1", "10.0.1.3:1", "[2001:db8::1]:1", "[2001:db8::1]:1",
		"[2001:db8:0:1::1]:1", "127.0.0.1:1", "[::1]:1", "[::1]:1", "[::1]:1"} {
		c.leave(from(a))
	}
	if c.open != 0 || len(c.by) != 0 {
		t.Errorf("%d open, %v", c.open, c.by)
	}
}
