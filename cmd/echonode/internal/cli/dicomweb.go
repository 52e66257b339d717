package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/echonode/echonode/cmd/echonode/internal/config"
	"github.com/echonode/echonode/pipeline/deliver"
	"github.com/echonode/echonode/pipeline/dicomweb"
	"github.com/echonode/echonode/pipeline/node"
	"github.com/echonode/echonode/scp"
)

// stowTo is the client of a DICOMweb destination.
func stowTo(d config.Destination, t *tls.Config, timeout time.Duration) *deliver.Stow {
	s := &deliver.Stow{
		URL: d.URL,
		Client: &http.Client{
			Transport: &http.Transport{TLSClientConfig: t, Proxy: http.ProxyFromEnvironment, ResponseHeaderTimeout: timeout, TLSHandshakeTimeout: timeout,
				DialContext: (&net.Dialer{Timeout: timeout}).DialContext, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute},
			// Objects and credentials go where the configuration says.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		Timeout: 10 * timeout,
	}
	switch {
	case d.Auth.User != "":
		s.Authorize = deliver.Basic(d.Auth.User, d.Auth.PasswordFile)
	case d.Auth.TokenFile != "":
		s.Authorize = deliver.Bearer(d.Auth.TokenFile)
	case d.Auth.TokenURL != "":
		client := *s.Client
		client.Timeout = timeout
		tokens := &deliver.Tokens{URL: d.Auth.TokenURL, ID: d.Auth.ClientID, Secret: d.Auth.ClientSecretFile, Scopes: d.Auth.Scopes,
			Params: d.Auth.Params, Client: &client}
		s.Authorize, s.Refused = tokens.Authorize, tokens.Refused
	}
	return s
}

// dicomwebServer is the listener and the server of dicomweb.listen, nil without
// one. What is taken is by the rule of the other way in.
func dicomwebServer(c *config.Config, h scp.Handler, dimse *scp.Server, metrics *node.Metrics, log *slog.Logger) (*http.Server, net.Listener, error) {
	w := c.DICOMweb
	if w.Listen == "" {
		return nil, nil, nil
	}
	accounts, err := dicomweb.OpenAccounts(w.Accounts)
	if err != nil {
		return nil, nil, usageError{fmt.Errorf("dicomweb.accounts: %w", err)}
	}
	srv := &http.Server{
		Handler: &dicomweb.Server{Handler: h, Called: c.DICOM.AETitle, Takes: dimse.Takes, Current: accounts.Current, Refused: metrics.SecretRefused,
			MaxObject: int64(c.DICOM.MaxObject), Idle: time.Duration(c.DICOM.IdleTimeout), Log: log},
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 32 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	var t *tls.Config
	if w.TLS.Certificate != "" {
		cert, err := tls.LoadX509KeyPair(w.TLS.Certificate, w.TLS.Key)
		if err != nil {
			return nil, nil, usageError{fmt.Errorf("dicomweb.tls: %w", err)}
		}
		t = scp.ServerTLS(cert, nil)
		warnOfCertificates(log, "dicomweb.tls", t)
	}
	room, err := share(shareOfHTTP)
	if err != nil {
		return nil, nil, err
	}
	l, err := net.Listen("tcp", w.Listen)
	if err != nil {
		return nil, nil, fmt.Errorf("dicomweb.listen: %w", err)
	}
	l = limitConnections(l, "dicomweb.listen", room, room/4, log)
	if t != nil {
		l = tls.NewListener(l, t)
	}
	return srv, l, nil
}

// serveHTTP serves until ctx ends, and then lets requests finish.
func serveHTTP(ctx context.Context, srv *http.Server, l net.Listener) error {
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	if err := finish(ctx, srv, grace); err != nil {
		return err
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
