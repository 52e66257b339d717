package dicomweb

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// A client that reads the answer only when all of its body is sent hears why it
// was refused.
func TestRefusalIsHeard(t *testing.T) {
	srv := httptest.NewServer(&Server{Handler: newKeeper(), Accounts: accounts(t)})
	defer srv.Close()
	body := bytes.Repeat([]byte{'x'}, 32<<20)
	for _, c := range []struct {
		name, path, header string
		code               int
	}{
		{"no account", "/studies", "", http.StatusUnauthorized},
		{"another path", "/series", "Authorization: Bearer a long secret\r\n", http.StatusNotFound},
		{"another type", "/studies", "Authorization: Bearer a long secret\r\nContent-Type: application/dicom\r\n", http.StatusUnsupportedMediaType},
	} {
		conn, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: node\r\nContent-Length: %d\r\n%s\r\n", c.path, len(body), c.header)
		if err == nil {
			_, err = conn.Write(body)
		}
		if err != nil {
			t.Errorf("%s: the body could not be sent: %v", c.name, err)
		} else if res, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || res.StatusCode != c.code {
			t.Errorf("%s: %v, %v", c.name, res, err)
		} else if err := res.Body.Close(); err != nil {
			t.Error(err)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
}
