package cli

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// statusServer serves the state of the node with a deadline for everything a
// client may be slow at.
func statusServer(handler http.Handler, hosts []string) *http.Server {
	return &http.Server{
		Handler:           knownHost(handler, hosts),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
}

// knownHost answers only requests for an address, localhost or a name in
// hosts. A browser that a foreign page leads here by a name of its own, which
// it lets resolve to this machine, says that name.
func knownHost(next http.Handler, hosts []string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.Host
		if host, _, err := net.SplitHostPort(name); err == nil {
			name = host
		}
		name = strings.ToLower(strings.TrimSuffix(strings.Trim(name, "[]"), "."))
		_, err := netip.ParseAddr(name)
		if err != nil && name != "localhost" && !slices.ContainsFunc(hosts, func(h string) bool { return strings.EqualFold(h, name) }) {
			http.Error(w, "the name this was asked for is not in http.hosts", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}
