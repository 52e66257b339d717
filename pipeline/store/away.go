package store

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// Away reports whether an error is that of a server which does not answer, or not
// yet, and may do so later as it is: it cannot be reached, starts, stops, or has
// no connection left. What it refuses (a password, a name) stays refused.
func Away(err error) bool {
	var said *pgconn.PgError
	if errors.As(err, &said) {
		switch said.Code {
		case "57P01", "57P02", "57P03", "53300": // admin_shutdown, crash_shutdown, cannot_connect_now, too_many_connections
			return true
		}
		return strings.HasPrefix(said.Code, "08") // connection_exception
	}
	if errors.As(err, new(*tls.CertificateVerificationError)) || errors.Is(err, context.Canceled) {
		return false
	}
	return errors.As(err, new(*pgconn.ConnectError)) || errors.As(err, new(*net.OpError)) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}
