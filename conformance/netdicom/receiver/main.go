// Command receiver is a storage SCP of go-netdicom, for the network benchmark.
// It writes each data set to a file of the directory, without sync, and prints
// the address it listens on.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"

	netdicom "github.com/grailbio/go-netdicom"
	"github.com/grailbio/go-netdicom/dimse"
)

func main() {
	dir := flag.String("dir", "", "directory")
	flag.Parse()
	provider, err := netdicom.NewServiceProvider(netdicom.ServiceProviderParams{
		AETitle: "BENCH",
		CEcho:   func(netdicom.ConnectionState) dimse.Status { return dimse.Success },
		CStore: func(_ netdicom.ConnectionState, _, _, instance string, data []byte) dimse.Status {
			if err := os.WriteFile(filepath.Join(*dir, filepath.Base(instance)), data, 0o600); err != nil {
				return dimse.Status{Status: dimse.CStoreOutOfResources, ErrorComment: err.Error()}
			}
			return dimse.Success
		},
	}, "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(provider.ListenAddr())
	provider.Run()
}
