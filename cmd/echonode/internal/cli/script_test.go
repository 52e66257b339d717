package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	_ "github.com/echonode/echonode/models/devlibrary"
	"github.com/echonode/echonode/scp"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"echonode": func() { os.Exit(Main("0.5.0-test", os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
	})
}

// TestScripts runs the command line as a shell would; the scripts are in testdata/script. Beside testscript's own
// commands they have:
//
//	exits CODE CMD...   runs CMD and wants that exit code
//	envfile FILE        replaces $NAME in a file by the script's variables
//	listen NAME         binds a port for the rest of the script and puts its address into $NAME
//	archive NAME        a DICOM receiver that takes everything, its address in $NAME
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(e *testscript.Env) error {
			e.Setenv("ECHONODE_ONNXRUNTIME", os.Getenv("ECHONODE_ONNXRUNTIME"))
			return nil
		},
		Condition: func(cond string) (bool, error) {
			if cond != "onnxruntime" {
				return false, fmt.Errorf("unknown condition %s", cond)
			}
			return os.Getenv("ECHONODE_ONNXRUNTIME") != "", nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":   exits,
			"envfile": envfile,
			"listen":  listenCommand,
			"archive": archiveCommand,
		},
	})
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE CMD...")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	var exit interface{ ExitCode() int }
	switch {
	case errors.As(err, &exit):
		code = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if fmt.Sprint(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

func envfile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: envfile FILE")
	}
	text := os.Expand(ts.ReadFile(args[0]), ts.Getenv)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

func bind(ts *testscript.TestScript, neg bool, args []string) net.Listener {
	if neg || len(args) != 1 {
		ts.Fatalf("one name is needed")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv(args[0], l.Addr().String())
	return l
}

func listenCommand(ts *testscript.TestScript, neg bool, args []string) {
	l := bind(ts, neg, args)
	ts.Defer(func() { ts.Check(l.Close()) })
}

func archiveCommand(ts *testscript.TestScript, neg bool, args []string) {
	l := bind(ts, neg, args)
	srv := &scp.Server{AETitle: "ARCHIVE", Handler: scp.HandlerFunc(func(_ context.Context, _ *scp.StoreRequest, r io.Reader) error {
		_, err := io.Copy(io.Discard, r)
		return err
	})}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	ts.Defer(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		ts.Check(srv.Shutdown(ctx))
		if err := <-done; !errors.Is(err, scp.ErrServerClosed) {
			ts.Fatalf("archive: %v", err)
		}
	})
}
