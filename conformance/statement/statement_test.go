package statement

import (
	"bytes"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/scp"
)

var update = flag.Bool("update", false, "write conformance/CONFORMANCE.md")

const file = "../CONFORMANCE.md"

// The statement in the repository says what the program's tables say.
func TestStatementIsCurrent(t *testing.T) {
	if !slices.ContainsFunc(dicomio.Codecs(), func(c dicomio.Codec) bool { return c.Syntax.UID == dicomio.JPEG2000 && c.Decodes }) {
		t.Skip("this build has no JPEG 2000")
	}
	var b bytes.Buffer
	if err := Write(&b); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), want) {
		t.Errorf("%s is not current: go test ./conformance/statement -update", file)
	}
	for _, c := range append(scp.DefaultStorageClasses(), dicomio.JPEGBaseline, scp.StudyRootGet) {
		if !strings.Contains(b.String(), "| "+c+" |") {
			t.Errorf("%s is missing", c)
		}
		if name(c) == c {
			t.Errorf("%s has no name", c)
		}
	}
}
