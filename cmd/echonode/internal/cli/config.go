package cli

import (
	"crypto/tls"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/echonode/echonode/cmd/echonode/internal/config"
	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/deliver"
	"github.com/echonode/echonode/pipeline/dicomweb"
)

func (p *program) checkConfigCommand() *cobra.Command {
	var path string
	var print, live bool
	cmd := &cobra.Command{
		Use:   "check-config [-c FILE]",
		Short: "Check a configuration file, or print the default one",
		Long: `Reads the configuration file, says everything that is wrong with it, checks
that certificates, accounts, passwords, tokens and model can be loaded, and warns
of settings that are probably not meant. With --live it also tries what the file names: ONNX Runtime
and the model (with its self-test), the data directory and its free space, the
ports, the certificates' dates, and every destination by C-ECHO and whether it
would accept what it is to be sent. It may run beside the node; run it as the
node's user. With --print-default it prints the commented default file.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if print {
				_, err := p.out.Write(config.Default)
				return err
			}
			c, err := load(path)
			if err != nil {
				return err
			}
			choices, err := models.Choices(engineConfig(c))
			if err != nil {
				return usageError{err}
			}
			if _, err := serverTLS(c.DICOM.TLS); err != nil {
				return usageError{err}
			}
			for _, d := range c.Destinations {
				if _, err := clientTLS(d); err != nil {
					return usageError{fmt.Errorf("destination %s: %w", d.Name, err)}
				}
			}
			if err := checkListenerFiles(c); err != nil {
				return usageError{err}
			}
			if bad := secretProblems(c); len(bad) > 0 {
				return usageError{errors.Join(bad...)}
			}
			for _, w := range c.Warnings() {
				fmt.Fprintln(p.out, "warning:", w)
			}
			contradictions := c.Contradictions()
			for _, w := range contradictions {
				fmt.Fprintln(p.out, "contradiction:", w)
			}
			valid := "valid"
			if len(contradictions) > 0 {
				valid = "contradictory"
				err = usageError{fmt.Errorf("%d settings contradict each other", len(contradictions))}
			}
			fmt.Fprintf(p.out, "configuration is %s: %s on %s, %d destinations, model %s\n",
				valid, c.DICOM.AETitle, c.DICOM.Listen, len(c.Destinations), describe(choices))
			if live {
				err = errors.Join(err, p.checkLive(cmd.Context(), c))
			}
			return err
		},
	}
	cmd.Flags().StringVarP(&path, "config", "c", "", "configuration file (default: the embedded one)")
	cmd.Flags().BoolVar(&live, "live", false, "try everything the file names")
	cmd.Flags().BoolVar(&print, "print-default", false, "print the default configuration")
	return cmd
}

// checkListenerFiles reads the files without which dicomweb.listen and
// review.listen do not start.
func checkListenerFiles(c *config.Config) error {
	pair := func(key, cert, keyFile string) error {
		if cert == "" {
			return nil
		}
		if _, err := tls.LoadX509KeyPair(cert, keyFile); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		return nil
	}
	var errs []error
	if w := c.DICOMweb; w.Listen != "" {
		if _, err := dicomweb.ReadAccounts(w.Accounts); err != nil {
			errs = append(errs, fmt.Errorf("dicomweb.accounts: %w", err))
		}
		errs = append(errs, pair("dicomweb.tls", w.TLS.Certificate, w.TLS.Key))
	}
	if r := c.Review; r.Listen != "" {
		errs = append(errs, pair("review.tls", r.TLS.Certificate, r.TLS.Key))
	}
	return errors.Join(errs...)
}

// secretProblems says which destinations' passwords and tokens cannot be read
// now. The node starts without: they are read again for every object.
func secretProblems(c *config.Config) (out []error) {
	for _, d := range c.Destinations {
		for _, s := range []struct{ key, file string }{{"password_file", d.Auth.PasswordFile}, {"token_file", d.Auth.TokenFile},
			{"client_secret_file", d.Auth.ClientSecretFile}} {
			if s.file == "" {
				continue
			}
			if err := deliver.CheckSecret(s.file); err != nil {
				out = append(out, fmt.Errorf("destination %s: auth.%s: %w", d.Name, s.key, err))
			}
		}
	}
	if c.Storage.Objects.S3.CredentialsFile != "" {
		// Nothing is asked of the store yet.
		if _, err := objectStore(c); err != nil {
			out = append(out, err)
		}
	}
	return out
}

// load reads the configuration; without a path the embedded defaults.
func load(path string) (*config.Config, error) {
	if path == "" {
		return config.Parse(nil)
	}
	c, err := config.Load(path)
	if err != nil {
		return nil, usageError{err}
	}
	return c, nil
}

// describe names the models that may run, in the order they are tried.
func describe(choices []models.Choice) string {
	var parts []string
	for _, c := range choices {
		parts = append(parts, fmt.Sprintf("%s %s (%s) on %s", c.Card.Name, c.Card.Version, filepath.Base(c.Model), c.Provider))
	}
	return strings.Join(parts, ", or else ")
}

func (p *program) versionCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print version, model and libraries",
		Long: `Prints the versions of the program and the toolchain, the ONNX Runtime that is
loaded, and the model that runs on this machine: without -c the built-in one on
the best provider. Where a GPU may take it, the models are listed in the order
they are tried.`,
		RunE: func(*cobra.Command, []string) error {
			fmt.Fprintf(p.out, "echonode %s\n", p.version)
			if info, ok := debug.ReadBuildInfo(); ok {
				for _, s := range info.Settings {
					if s.Key == "vcs.revision" {
						fmt.Fprintf(p.out, "commit   %s\n", s.Value)
					}
				}
			}
			fmt.Fprintf(p.out, "go       %s %s/%s\n", runtime.Version(), runtime.GOOS, runtime.GOARCH)
			c, err := load(path)
			if err != nil {
				return err
			}
			if library, build, err := models.Library(c.Analysis.ONNXRuntime); err != nil {
				fmt.Fprintf(p.out, "library  none: %v\n", err)
			} else {
				fmt.Fprintf(p.out, "library  %s (ONNX Runtime, %s)\n", library, build)
			}
			choices, err := models.Choices(engineConfig(c))
			if err != nil {
				return usageError{err}
			}
			for _, m := range choices {
				fmt.Fprintf(p.out, "model    %s %s on %s: %s, sha256 %s\n", m.Card.Name, m.Card.Version, m.Provider, m.Model, m.Card.SHA256)
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&path, "config", "c", "", "configuration file (default: the embedded one)")
	return cmd
}
