// Package freeport finds TCP ports for programs that cannot be handed an open socket.
package freeport

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// Reserve returns a port of 127.0.0.1 that is kept for the caller until release: a socket stays bound to it, so that
// nobody is given it in the meantime, neither another call nor another process. The socket has SO_REUSEADDR and does
// not listen, therefore a program that sets SO_REUSEADDR, as servers do, can bind the same port and listen; until then
// connections are refused.
func Reserve() (port string, release func() error, err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", nil, os.NewSyscallError("socket", err)
	}
	fail := func(call string, err error) (string, func() error, error) {
		return "", nil, errors.Join(os.NewSyscallError(call, err), unix.Close(fd))
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return fail("setsockopt", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return fail("bind", err)
	}
	addr, err := unix.Getsockname(fd)
	if err != nil {
		return fail("getsockname", err)
	}
	in4, ok := addr.(*unix.SockaddrInet4)
	if !ok {
		return fail("getsockname", fmt.Errorf("address of type %T", addr))
	}
	return strconv.Itoa(in4.Port), func() error { return unix.Close(fd) }, nil
}

// Port reserves a port until the test ends.
func Port(t testing.TB) string {
	t.Helper()
	port, release, err := Reserve()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := release(); err != nil {
			t.Error(err)
		}
	})
	return port
}

// Addr reserves a port until the test ends and returns it with the loopback address.
func Addr(t testing.TB) string {
	t.Helper()
	return net.JoinHostPort("127.0.0.1", Port(t))
}
