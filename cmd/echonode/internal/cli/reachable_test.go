package cli

import "testing"

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
