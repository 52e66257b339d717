package store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

func TestAway(t *testing.T) {
	for _, c := range []struct {
		what string
		err  error
		away bool
	}{
		{"refused connection", &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, true},
		{"no answer", fmt.Errorf("dial: %w", context.DeadlineExceeded), true},
		{"closed in the middle", io.ErrUnexpectedEOF, true},
		{"starting up", &pgconn.PgError{Code: "57P03"}, true},
		{"shutting down", &pgconn.PgError{Code: "57P01"}, true},
		{"too many connections", &pgconn.PgError{Code: "53300"}, true},
		{"wrong password", &pgconn.PgError{Code: "28P01"}, false},
		{"no such database", &pgconn.PgError{Code: "3D000"}, false},
		{"no right to make tables", &pgconn.PgError{Code: "42501"}, false},
		{"certificate of an unknown authority", &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, false},
		{"newer schema", &NewerError{}, false},
		{"stopped", context.Canceled, false},
		{"no such file", &fs.PathError{Op: "open", Path: "node.db", Err: syscall.ENOENT}, false},
		{"no right to the file", syscall.EACCES, false},
		{"disk full", syscall.ENOSPC, false},
		{"anything else", errors.New("no"), false},
	} {
		if got := Away(fmt.Errorf("database at x: %w", c.err)); got != c.away {
			t.Errorf("%s: away %t", c.what, got)
		}
	}
}
