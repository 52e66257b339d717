package freeport

import (
	"errors"
	"net"
	"syscall"
	"testing"
)

// TestReserved checks the three promises: nobody else is given the port, a server can listen on it, and before that
// connections are refused.
func TestReserved(t *testing.T) {
	addr := Addr(t)
	if _, err := net.Dial("tcp", addr); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("before anybody listens: %v", err)
	}
	seen := map[string]bool{addr: true}
	for range 2000 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if seen[l.Addr().String()] {
			t.Fatalf("%s was given away", l.Addr())
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, listen := range []string{addr, "0.0.0.0:" + addr[len("127.0.0.1:"):]} {
		l, err := net.Listen("tcp", listen)
		if err != nil {
			t.Fatalf("a server can't have %s: %v", listen, err)
		}
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(c.Close(), l.Close()); err != nil {
			t.Fatal(err)
		}
	}
}
