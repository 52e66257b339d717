package cli

import (
	"strings"
	"testing"

	"github.com/echonode/echonode/cmd/echonode/internal/config"
)

// A node that listens on every interface is asked on the loopback.
func TestReachable(t *testing.T) {
	for listen, want := range map[string]string{
		":8104": "127.0.0.1:8104", "0.0.0.0:8104": "127.0.0.1:8104", "[::]:8104": "[::1]:8104", "127.0.0.1:8104": "127.0.0.1:8104",
		"[::1]:8104": "[::1]:8104", "echo.example.org:8104": "echo.example.org:8104", "10.1.2.3:8104": "10.1.2.3:8104",
	} {
		if got := reachable(listen); got != want {
			t.Errorf("%s: asked at %s, want %s", listen, got, want)
		}
	}
}

// Only what the process opens is looked at.
func TestListenersOfRoles(t *testing.T) {
	c, err := config.Parse([]byte("roles: [analyse]\ndicom: {listen: '127.0.0.1:1'}\nhttp: {listen: '127.0.0.1:0'}\nreview: {listen: '127.0.0.1:1'}\n" +
		"outputs: {device_uid: 2.25.1}\nstorage: {database: 'postgres://me@db/echonode', objects: {kind: shared, shared: /mnt}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	l := &liveCheck{c: c}
	l.listeners(t.Context())
	for i, want := range []string{"not the role receive", "is free", "off", "not the role web"} {
		if i >= len(l.findings) || l.findings[i].verdict != good || !strings.Contains(l.findings[i].text, want) {
			t.Errorf("%+v, want %s", l.findings, want)
		}
	}
}
