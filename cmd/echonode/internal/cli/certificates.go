package cli

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/echonode/echonode/cmd/echonode/internal/config"
	"github.com/echonode/echonode/pipeline/node"
)

// certificate is one of this node's own certificates.
type certificate struct {
	key  string // of the configuration
	leaf *x509.Certificate
}

// certificates are those with which this node proves who it is.
type certificates []certificate

// problemCertificate is the code of a certificate that peers refuse, or will
// soon.
const problemCertificate = "certificate"

// certificateNotice is how long before its end a certificate is worth a word.
const certificateNotice = 30 * 24 * time.Hour

// loadCertificates reads the certificates that the configuration names.
func loadCertificates(c *config.Config) (all certificates, err error) {
	add := func(key, certFile, keyFile string) {
		if certFile == "" || err != nil {
			return
		}
		pair, lerr := tls.LoadX509KeyPair(certFile, keyFile)
		if lerr == nil && pair.Leaf == nil {
			pair.Leaf, lerr = x509.ParseCertificate(pair.Certificate[0])
		}
		if lerr != nil {
			err = fmt.Errorf("%s: %w", key, lerr)
			return
		}
		all = append(all, certificate{key, pair.Leaf})
	}
	add("dicom.tls", c.DICOM.TLS.Certificate, c.DICOM.TLS.Key)
	if w := c.DICOMweb; w.Listen != "" {
		add("dicomweb.tls", w.TLS.Certificate, w.TLS.Key)
	}
	if r := c.Review; r.Listen != "" {
		add("review.tls", r.TLS.Certificate, r.TLS.Key)
	}
	for _, d := range c.Destinations {
		if d.TLS.Enabled {
			add("destination "+d.Name, d.TLS.Certificate, d.TLS.Key)
		}
	}
	return all, err
}

// problems says which certificates are not valid at a time, or end soon.
func (all certificates) problems(now time.Time) (out []node.Problem) {
	for _, c := range all {
		day := func(t time.Time) string { return t.Local().Format(time.DateTime) }
		switch {
		case now.After(c.leaf.NotAfter):
			out = append(out,
				node.Problem{Code: problemCertificate, Text: fmt.Sprintf("%s: the certificate has expired on %s: peers refuse it", c.key, day(c.leaf.NotAfter))})
		case now.Before(c.leaf.NotBefore):
			out = append(out,
				node.Problem{Code: problemCertificate, Text: fmt.Sprintf("%s: the certificate is valid from %s only: peers refuse it", c.key, day(c.leaf.NotBefore))})
		case now.Add(certificateNotice).After(c.leaf.NotAfter):
			out = append(out, node.Problem{Code: problemCertificate, Text: fmt.Sprintf("%s: the certificate expires on %s", c.key, day(c.leaf.NotAfter))})
		}
	}
	return out
}
