package scp

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// ServerTLS is a server configuration after the BCP 195 profiles of PS3.15 B.9
// and B.12: TLS 1.2 and 1.3 with Go's default cipher suites, all with forward
// secrecy and authenticated encryption. With clientCAs, a client certificate
// that one of them signed is required.
func ServerTLS(cert tls.Certificate, clientCAs *x509.CertPool) *tls.Config {
	cfg := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	if clientCAs != nil {
		cfg.ClientCAs, cfg.ClientAuth = clientCAs, tls.RequireAndVerifyClientCert
	}
	return cfg
}

// ClientTLS is the same for a client: cert may be nil, rootCAs nil means the
// system's. The server's certificate is verified for the host dialled unless
// ServerName is set.
func ClientTLS(cert *tls.Certificate, rootCAs *x509.CertPool) *tls.Config {
	cfg := &tls.Config{RootCAs: rootCAs, MinVersion: tls.VersionTLS12}
	if cert != nil {
		cfg.Certificates = []tls.Certificate{*cert}
	}
	return cfg
}

// LegacyTLS returns a copy of cfg for machines that can do no better: TLS 1.0
// and the retired basic and AES profiles of PS3.15 B.1 and B.3 (RSA key
// exchange, CBC, 3DES) beside the modern suites. Use it for single peers on
// their own listener, and only with a network that protects them.
func LegacyTLS(cfg *tls.Config) *tls.Config {
	c := cfg.Clone()
	c.MinVersion = tls.VersionTLS10
	c.CipherSuites = nil
	for _, s := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		if s.ID != tls.TLS_RSA_WITH_RC4_128_SHA && s.ID != tls.TLS_ECDHE_RSA_WITH_RC4_128_SHA && s.ID != tls.TLS_ECDHE_ECDSA_WITH_RC4_128_SHA {
			c.CipherSuites = append(c.CipherSuites, s.ID)
		}
	}
	return c
}

// CertificateTitles is a Server.PeerAETitles that takes the subject common name
// and the DNS names of the client certificate as its AE titles.
func CertificateTitles(cs tls.ConnectionState) []string {
	titles := []string{}
	if len(cs.PeerCertificates) > 0 {
		c := cs.PeerCertificates[0]
		if c.Subject.CommonName != "" {
			titles = append(titles, c.Subject.CommonName)
		}
		titles = append(titles, c.DNSNames...)
	}
	return titles
}

// expiresSoon is how long before its end a certificate is worth a warning.
const expiresSoon = 30 * 24 * time.Hour

// CertificateDoubt says that a certificate is expired, not yet valid, or
// expires within 30 days; "" when there is nothing to say.
func CertificateDoubt(c *x509.Certificate, now time.Time) string {
	name := c.Subject.CommonName
	if name == "" && len(c.DNSNames) > 0 {
		name = c.DNSNames[0]
	}
	switch {
	case now.After(c.NotAfter):
		return fmt.Sprintf("the certificate of %q expired on %s", name, c.NotAfter.UTC().Format(time.DateOnly))
	case now.Before(c.NotBefore):
		return fmt.Sprintf("the certificate of %q is valid only from %s", name, c.NotBefore.UTC().Format(time.DateOnly))
	case now.Add(expiresSoon).After(c.NotAfter):
		return fmt.Sprintf("the certificate of %q expires on %s", name, c.NotAfter.UTC().Format(time.DateOnly))
	}
	return ""
}

// maxWarned bounds how many certificates are remembered as warned of.
const maxWarned = 1000

// certificateWarner warns of peers' certificates, of each once a day.
type certificateWarner struct {
	mu   sync.Mutex
	last map[string]time.Time // by the certificate's signature
}

func (w *certificateWarner) check(log *slog.Logger, cs tls.ConnectionState, now time.Time) {
	if log == nil || len(cs.PeerCertificates) == 0 {
		return
	}
	c := cs.PeerCertificates[0]
	doubt := CertificateDoubt(c, now)
	if doubt == "" {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if t, ok := w.last[string(c.Signature)]; ok && now.Sub(t) < 24*time.Hour {
		return
	}
	if w.last == nil || len(w.last) >= maxWarned {
		w.last = make(map[string]time.Time)
	}
	w.last[string(c.Signature)] = now
	log.Warn("peer's TLS certificate: " + doubt)
}
