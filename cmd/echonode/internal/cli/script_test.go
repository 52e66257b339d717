package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"

	"github.com/echonode/echonode/conformance/freeport"
	"github.com/echonode/echonode/dicomio"
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
//	node FILE NAME      runs a node until the script ends, on ports of its own: $NAME and $NAME_HTTP; FILE gets them
//	object FILE UID     writes a small DICOM object with that SOP Instance UID; its study is UID.1
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
			"node":    nodeCommand,
			"object":  objectCommand,
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
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		ts.Check(srv.Shutdown(ctx))
		if err := <-done; !errors.Is(err, scp.ErrServerClosed) {
			ts.Fatalf("archive: %v", err)
		}
	})
}

func nodeCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: node FILE NAME")
	}
	config := ts.MkAbs(args[0])
	text := ts.ReadFile(args[0])
	for _, suffix := range []string{"", "_HTTP"} {
		port, release, err := freeport.Reserve()
		ts.Check(err)
		ts.Defer(func() { ts.Check(release()) })
		ts.Setenv(args[1]+suffix, net.JoinHostPort("127.0.0.1", port))
	}
	text += fmt.Sprintf("dicom: {listen: %q}\nhttp: {listen: %q}\n", ts.Getenv(args[1]), ts.Getenv(args[1]+"_HTTP"))
	ts.Check(os.WriteFile(config, []byte(text), 0o600))

	log, err := os.Create(config + ".log")
	ts.Check(err)
	program, err := exec.LookPath("echonode") // this test binary, under the name that testscript.Main gave it
	ts.Check(err)
	cmd := exec.Command(program, "serve", "-c", config)
	cmd.Dir, cmd.Stdout, cmd.Stderr = ts.Getenv("WORK"), log, log
	ts.Check(cmd.Start())
	ts.Defer(func() {
		if err := errors.Join(cmd.Process.Signal(os.Interrupt), cmd.Wait(), log.Close()); err != nil {
			ts.Logf("node: %v", err)
		}
	})
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		res, err := http.Get("http://" + ts.Getenv(args[1]+"_HTTP") + "/healthz")
		if err == nil {
			ts.Check(res.Body.Close())
			return
		}
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(config + ".log") // for the message
			ts.Fatalf("the node does not answer: %v\n%s", err, text)
		}
	}
}

func objectCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: object FILE UID")
	}
	instance := args[1]
	ds := dicomio.NewDataSet()
	ds.SetString(tag.SOPClassUID, uid.SecondaryCaptureImageStorage)
	ds.SetString(tag.SOPInstanceUID, instance)
	ds.SetString(tag.StudyInstanceUID, instance+".1")
	ds.SetString(tag.SeriesInstanceUID, instance+".2")
	ds.SetString(tag.PatientID, "SCRIPT")
	ds.SetString(tag.Modality, "OT")
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Check(errors.Join(dicomio.Write(f, ds, dicomio.WriteOptions{TransferSyntax: uid.ExplicitVRLittleEndian}), f.Close()))
}
