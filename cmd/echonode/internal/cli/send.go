package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/pipeline/deliver"
	"github.com/echonode/echonode/scp"
)

// peer are the flags that name a DICOM peer.
type peer struct {
	calling, called string
	tls             bool
	ca, cert, key   string
	timeout         time.Duration
}

func (f *peer) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.called, "called", "ANY-SCP", "AE title of the peer")
	cmd.Flags().StringVar(&f.calling, "calling", "ECHONODE", "our AE title")
	cmd.Flags().BoolVar(&f.tls, "tls", false, "use TLS")
	cmd.Flags().StringVar(&f.ca, "ca", "", "file of CA certificates (default: the system's)")
	cmd.Flags().StringVar(&f.cert, "cert", "", "client certificate")
	cmd.Flags().StringVar(&f.key, "key", "", "its key")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 60*time.Second, "longest wait for an answer")
}

func (f *peer) dialer() (*scp.Dialer, error) {
	d := &scp.Dialer{CallingAE: f.calling, CalledAE: f.called}
	d.Timeouts.Connect, d.Timeouts.Response = min(f.timeout, 30*time.Second), f.timeout
	if !f.tls {
		return d, nil
	}
	var pool *x509.CertPool
	var cert *tls.Certificate
	if f.ca != "" {
		p, err := certPool(f.ca)
		if err != nil {
			return nil, usageError{err}
		}
		pool = p
	}
	if f.cert != "" {
		c, err := tls.LoadX509KeyPair(f.cert, f.key)
		if err != nil {
			return nil, usageError{err}
		}
		cert = &c
	}
	d.TLSConfig = scp.ClientTLS(cert, pool)
	return d, nil
}

func (p *program) echoCommand() *cobra.Command {
	var f peer
	cmd := &cobra.Command{
		Use:   "echo HOST:PORT",
		Short: "Verify a DICOM peer with C-ECHO",
		Long:  "Opens an association, sends a C-ECHO and releases. Says what refused if it fails.",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := f.dialer()
			if err != nil {
				return err
			}
			start := time.Now()
			c, err := d.Dial(cmd.Context(), args[0], []scp.PresentationContext{{
				AbstractSyntax: uid.Verification, TransferSyntaxes: []string{uid.ImplicitVRLittleEndian}}})
			if err != nil {
				return err
			}
			defer c.Abort()
			if err := c.Echo(cmd.Context()); err != nil {
				return err
			}
			if err := c.Release(cmd.Context()); err != nil {
				return err
			}
			info := c.Peer()
			fmt.Fprintf(p.out, "%s at %s answers (%s %s) in %d ms\n", f.called, args[0], info.ImplementationVersion, info.ImplementationClassUID,
				time.Since(start).Milliseconds())
			return nil
		},
	}
	f.register(cmd)
	return cmd
}

func (p *program) sendCommand() *cobra.Command {
	var f peer
	var quiet bool
	var convert string
	cmd := &cobra.Command{
		Use:   "send HOST:PORT FILE|DIR...",
		Short: "Send DICOM files with C-STORE",
		Long: `Sends Part 10 files and prints the peer's answer for every object. Each goes in
its own transfer syntax; uncompressed ones go as Implicit or Explicit VR Little
Endian where the peer takes only that, compressed ones as --transcode says.
Folders are searched for DICOM files.`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := f.dialer()
			if err != nil {
				return err
			}
			files, err := findFiles(args[1:], isDICOM)
			if err != nil {
				return err
			}
			switch convert {
			case "auto", "never", "uncompressed":
			default:
				return usageError{fmt.Errorf("--transcode %q is not one of auto, never, uncompressed", convert)}
			}
			return p.send(cmd.Context(), d, args[0], files, deliver.Conversion(convert), quiet)
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&convert, "transcode", "never", "auto: decompressed where the peer does not take the compression; never; uncompressed: always")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print only what was not stored")
	return cmd
}

// send sends files and reports on each.
func (p *program) send(ctx context.Context, d *scp.Dialer, addr string, files []string, convert deliver.Conversion, quiet bool) error {
	sources := make([]scp.ObjectSource, len(files))
	for i, f := range files {
		sources[i] = deliver.Source{Path: f, Convert: convert}
	}
	failed := 0
	_, err := d.SendAll(ctx, addr, sources, func(i int, r scp.SendResult) {
		switch {
		case r.Err != nil:
			failed++
			fmt.Fprintln(p.err, strings.TrimSpace(fmt.Sprintf("%s: not stored: %v %s", files[i], r.Err, harmless(r.Result.Comment))))
		case r.Result.Warning:
			fmt.Fprintf(p.out, "%s: stored with warning %04XH %s\n", files[i], r.Result.Status, harmless(r.Result.Comment))
		case !quiet:
			fmt.Fprintf(p.out, "%s: stored\n", files[i])
		}
	})
	switch {
	case err != nil:
		return err
	case failed == len(files):
		return errors.New("nothing was stored")
	case failed > 0:
		return partError{fmt.Errorf("%d of %d objects were not stored", failed, len(files))}
	}
	return nil
}

// findFiles lists the named files, and those in named folders that are wanted.
func findFiles(args []string, wanted func(path string) bool) ([]string, error) {
	var files []string
	for _, arg := range args {
		info, err := os.Stat(arg)
		if err != nil {
			return nil, usageError{err}
		}
		if !info.IsDir() {
			files = append(files, arg)
			continue
		}
		err = filepath.WalkDir(arg, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.Type().IsRegular() && wanted(path) {
				files = append(files, path)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if len(files) == 0 {
		return nil, usageError{errors.New("no DICOM files found")}
	}
	return files, nil
}

// claimsDICOM reports whether a file calls itself DICOM, by its name or by the
// mark after the preamble.
func claimsDICOM(path string) bool {
	if strings.EqualFold(filepath.Ext(path), ".dcm") {
		return true
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close() // read only
	var mark [132]byte
	_, err = io.ReadFull(f, mark[:])
	return err == nil && string(mark[128:]) == "DICM"
}

// isDICOM reports whether a file reads as DICOM.
func isDICOM(path string) bool {
	f, err := dicomio.Open(path, dicomio.Options{})
	if err != nil {
		return false
	}
	return f.Close() == nil
}
