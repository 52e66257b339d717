package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/echonode/echonode/cmd/echonode/internal/config"
	"github.com/echonode/echonode/pipeline/node"
	"github.com/echonode/echonode/pipeline/spool"
	"github.com/echonode/echonode/scp"
)

func (p *program) archiveCommand() *cobra.Command {
	var listen, ae string
	cmd := &cobra.Command{
		Use:   "archive DIR",
		Short: "Receive objects into a folder: a small storage SCP for trials",
		Long: `Accepts every association, answers C-ECHO, and writes what it receives by
C-STORE into the folder, each object as UID.dcm, durable before it is
acknowledged. It stands in for a PACS in the demo and in tests.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.archive(cmd.Context(), args[0], listen, ae)
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:11113", "address to listen on")
	cmd.Flags().StringVar(&ae, "ae", "", "AE title to insist on (default: any)")
	return cmd
}

func (p *program) archive(ctx context.Context, dir, listen, ae string) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	log := logger(p.err, config.Log{Level: "info", Format: "text"})
	sp, err := spool.Open(filepath.Join(dir, ".spool"), spool.Options{Logger: log})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return errors.Join(err, sp.Close())
	}
	srv := &scp.Server{AETitle: ae, Handler: &archive{dir: dir, spool: sp, log: log}, Logger: log}
	fmt.Fprintf(p.out, "archive %s listens on %s\n", dir, l.Addr())
	return errors.Join(serve(ctx, srv, l), sp.Close())
}

// serve runs a DICOM server until the context ends, then lets associations
// finish.
func serve(ctx context.Context, srv *scp.Server, l net.Listener) error {
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
	if err := <-failed; err != nil && !errors.Is(err, scp.ErrServerClosed) {
		return err
	}
	return nil
}

// finish lets a server's peers finish for some time. Those that take longer are
// cut, which is no failure of the server's.
func finish(ctx context.Context, srv interface {
	Shutdown(context.Context) error
	Close() error
}, limit time.Duration) error {
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	err := srv.Shutdown(stop)
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil
	}
	return errors.Join(err, srv.Close())
}

// archive stores objects as files named by their UID, which scp has checked.
type archive struct {
	dir   string
	spool *spool.Spool
	log   *slog.Logger
}

// Store implements scp.Handler.
func (a *archive) Store(_ context.Context, req *scp.StoreRequest, r io.Reader) error {
	return node.StatusOf(a.keep(req, r))
}

// keep is Store.
func (a *archive) keep(req *scp.StoreRequest, r io.Reader) error {
	in, err := a.spool.Create(req.Meta())
	if err != nil {
		return err
	}
	if _, err := io.Copy(in, r); err != nil {
		return errors.Join(err, in.Abort())
	}
	entry, err := in.Commit()
	if err != nil {
		return err
	}
	name := filepath.Join(a.dir, req.SOPInstanceUID+".dcm")
	if err := os.Link(entry.Path, name); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	a.log.Info("stored", "object", req.SOPInstanceUID, "class", req.SOPClassUID, "bytes", entry.Size, "from", req.Association.CallingAE)
	return nil
}
