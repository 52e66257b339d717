// Command receiver is a storage SCP of scp and pipeline/spool and nothing else,
// for crash tests and benchmarks. It prints the address it listens on and
// serves until SIGTERM or SIGINT.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/echonode/echonode/pipeline/node"
	"github.com/echonode/echonode/pipeline/spool"
	"github.com/echonode/echonode/scp"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	dir := flag.String("dir", "", "spool directory")
	noSync := flag.Bool("nosync", false, "leave out every sync")
	discard := flag.Bool("discard", false, "read objects and forget them")
	minFree := flag.Int64("minfree", 0, "free bytes to keep; negative: none")
	flag.Parse()
	if err := run(*listen, *dir, spool.Options{NoSync: *noSync, MinFree: *minFree}, *discard); err != nil {
		fmt.Fprintln(os.Stderr, "receiver:", err)
		os.Exit(1)
	}
}

func run(listen, dir string, opt spool.Options, discard bool) error {
	var handler scp.Handler = scp.HandlerFunc(func(_ context.Context, _ *scp.StoreRequest, r io.Reader) error {
		_, err := io.Copy(io.Discard, r)
		return err
	})
	if !discard {
		sp, err := spool.Open(dir, opt)
		if err != nil {
			return err
		}
		defer sp.Close()
		handler = store{sp}
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	srv := &scp.Server{Handler: handler}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err = srv.Shutdown(grace)
	if serr := <-served; !errors.Is(serr, scp.ErrServerClosed) {
		err = errors.Join(err, serr)
	}
	return err
}

// store puts objects into a spool.
type store struct{ spool *spool.Spool }

func (s store) Store(_ context.Context, req *scp.StoreRequest, r io.Reader) error {
	in, err := s.spool.Create(req.Meta())
	if err != nil {
		return node.StatusOf(err)
	}
	if _, err := in.ReadFrom(r); err != nil {
		return node.StatusOf(errors.Join(err, in.Abort()))
	}
	_, err = in.Commit()
	return node.StatusOf(err)
}
