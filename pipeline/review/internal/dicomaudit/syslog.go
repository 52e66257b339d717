package dicomaudit

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// Collector is where messages go.
type Collector struct {
	Address string // host:port; RFC 5425 has 6514
	TLS     *tls.Config
	Host    string // of this node, as the header has it; "" asks the system
}

// priority is facility 10 (security and authorization), severity 5 (notice), as
// PS3.15 A.6 has it.
const priority = 10*8 + 5

// Frame makes a syslog message (RFC 5424) in a frame of its own (RFC 5425 section
// 4.3: length, space, message).
func (c *Collector) Frame(at time.Time, body []byte) []byte {
	host := c.Host
	if host == "" {
		host, _ = os.Hostname()
	}
	head := fmt.Sprintf("<%d>1 %s %s EchoNode %d DICOM+RFC3881 - \xEF\xBB\xBF", priority, at.UTC().Format("2006-01-02T15:04:05.000Z07:00"),
		headerName(host), os.Getpid())
	message := append([]byte(head), body...)
	return append([]byte(strconv.Itoa(len(message))+" "), message...)
}

// headerName keeps a name to what the header may hold: printable ASCII without
// spaces, "-" for none.
func headerName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return -1
		}
		return r
	}, s)
	if s == "" {
		return "-"
	}
	return s[:min(len(s), 255)]
}

// Connection is an open connection to a collector.
type Connection struct {
	conn   *tls.Conn
	closed chan error // what reading said: a collector never answers
}

// Dial connects.
func (c *Collector) Dial(ctx context.Context) (*Connection, error) {
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: 10 * time.Second}, Config: c.TLS}
	conn, err := d.DialContext(ctx, "tcp", c.Address)
	if err != nil {
		return nil, err
	}
	k := &Connection{conn: conn.(*tls.Conn), closed: make(chan error, 1)}
	go func() {
		_, err := k.conn.Read(make([]byte, 1))
		k.closed <- err
	}()
	return k, nil
}

// Send writes a frame. Syslog has no acknowledgement: that a frame was written
// says that it is on its way, and one that follows a broken connection finds out.
func (k *Connection) Send(frame []byte) error {
	select {
	case err := <-k.closed:
		k.closed <- err
		return fmt.Errorf("the collector has closed the connection: %w", err)
	default:
	}
	if err := k.conn.SetWriteDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	_, err := k.conn.Write(frame)
	return err
}

// Close ends the connection.
func (k *Connection) Close() error { return k.conn.Close() }
