// Package cli is the command line of echonode: one file for each command, and
// the wiring of configuration to packages in app.go.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes, as printed by --help.
const (
	exitOK     = 0
	exitFailed = 1 // what was asked for could not be done
	exitUsage  = 2 // wrong arguments or configuration
	exitPart   = 3 // done in part: some objects were refused or failed
)

const exitHelp = `
Exit codes:
  0  done
  1  it could not be done; the message says why
  2  wrong arguments or configuration
  3  done in part: some of the inputs could not be read, sent or analysed`

// usageError is a mistake in arguments or configuration.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// partError says that some of the work was not done.
type partError struct{ err error }

func (e partError) Error() string { return e.err.Error() }
func (e partError) Unwrap() error { return e.err }

// program is what every command gets.
type program struct {
	version string
	in      io.Reader
	out     io.Writer
	err     io.Writer
}

// Main runs the command line and returns the exit code.
func Main(version string, args []string, in io.Reader, out, errw io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	p := &program{version: version, in: in, out: out, err: errw}
	root := p.root()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errw)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(errw, "echonode: %v\n", err)
	var usage usageError
	var part partError
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &part):
		return exitPart
	default:
		return exitFailed
	}
}

func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "echonode",
		Short: "DICOM node that measures the left ventricle in echocardiography studies",
		Long: `EchoNode receives echocardiography cine loops by C-STORE, analyses every
complete study with a neural network, and sends structured reports and overlay
cines back. Results are UNVERIFIED research output: EchoNode is not a cleared
medical device.
` + exitHelp,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("unknown command %q; echonode --help lists the commands", args[0])}
			}
			return cmd.Help()
		},
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(
		p.serveCommand(),
		p.analyzeCommand(),
		p.demoCommand(),
		p.archiveCommand(),
		p.sendCommand(),
		p.echoCommand(),
		p.fetchCommand(),
		p.checkConfigCommand(),
		p.healthCommand(),
		p.studiesCommand(),
		p.retryCommand(),
		p.reanalyseCommand(),
		p.backupCommand(),
		p.restoreCommand(),
		p.verifyCommand(),
		p.removeCommand(),
		p.moveCommand(),
		p.mergeCommand(),
		p.redirectCommand(),
		p.dropCommand(),
		p.userCommand(),
		p.versionCommand(),
	)
	for _, c := range root.Commands() {
		validate := c.Args
		if validate == nil {
			validate = cobra.NoArgs
		}
		c.Args = func(cmd *cobra.Command, args []string) error {
			if err := validate(cmd, args); err != nil {
				return usageError{err}
			}
			return nil
		}
		c.Long += "\n" + exitHelp
	}
	return root
}
