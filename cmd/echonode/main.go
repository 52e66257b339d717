// Command echonode is a DICOM node that measures the left ventricle in
// echocardiography studies. See `echonode --help`.
package main

import (
	"os"

	"github.com/echonode/echonode/cmd/echonode/internal/cli"
)

// version is set by the build.
var version = "dev"

func main() {
	os.Exit(cli.Main(version, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
