package scp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/echonode/echonode/dicomio/part10"
	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/scp"
)

// fileStore writes each object to a file. For durable storage see
// pipeline/spool.
type fileStore struct{ dir string }

func (s fileStore) Store(_ context.Context, req *scp.StoreRequest, r io.Reader) error {
	f, err := os.Create(filepath.Join(s.dir, req.SOPInstanceUID+".dcm")) // a valid UID is a safe name
	if err != nil {
		return &scp.StatusError{Status: scp.StatusOutOfResources, Comment: "cannot create a file", Err: err}
	}
	defer f.Close()
	if err := part10.Write(f, part10.Meta{SOPClassUID: req.SOPClassUID, SOPInstanceUID: req.SOPInstanceUID, TransferSyntaxUID: req.TransferSyntaxUID,
		SourceAETitle: req.Association.CallingAE}); err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return err
}

// A storage SCP for one cart, and a client that sends it a file.
func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	srv := &scp.Server{
		AETitle: "ECHONODE",
		Handler: fileStore{dir},
		Policy: scp.AccessList{
			CalledAETitles: []string{"ECHONODE"},
			Peers:          []scp.Peer{{AETitle: "CART1", Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}},
		},
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go srv.Serve(l)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	defer srv.Shutdown(ctx)

	file := filepath.Join(dir, "cine.dcm")
	f, err := os.Create(file)
	if err != nil {
		log.Fatal(err)
	}
	part10.Write(f, part10.Meta{SOPClassUID: "1.2.840.10008.5.1.4.1.1.3.1", SOPInstanceUID: "1.2.3.4", TransferSyntaxUID: "1.2.840.10008.1.2.4.50"})
	f.WriteString("the data set")
	f.Close()

	d := &scp.Dialer{CallingAE: "CART1", CalledAE: "ECHONODE"}
	results, err := d.SendAll(ctx, l.Addr().String(), []scp.ObjectSource{scp.FileSource(file)}, nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, r := range results {
		fmt.Printf("%s: status %04XH, error %v\n", r.Header.SOPInstanceUID, r.Result.Status, r.Err)
	}

	stranger := &scp.Dialer{CallingAE: "STRANGER", CalledAE: "ECHONODE"}
	_, err = stranger.Dial(ctx, l.Addr().String(),
		[]scp.PresentationContext{{AbstractSyntax: uid.Verification, TransferSyntaxes: []string{uid.ImplicitVRLittleEndian}}})
	var rejected *scp.RejectError
	if errors.As(err, &rejected) {
		fmt.Println(rejected.ReasonText())
	}
	// Output:
	// 1.2.3.4: status 0000H, error <nil>
	// calling AE title not recognized
}
