package statement

import (
	"bytes"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/scp"
)

var update = flag.Bool("update", false, "write conformance/CONFORMANCE.md")

const file = "../CONFORMANCE.md"

// configured reads the defaults of the configuration file.
func configured(t *testing.T) Defaults {
	t.Helper()
	text, err := os.ReadFile("../../cmd/echonode/internal/config/echonode.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		DICOM struct {
			Associations int           `yaml:"max_associations"`
			PerPeer      int           `yaml:"max_associations_per_peer"`
			PerNetwork   int           `yaml:"max_associations_per_network"`
			Idle         time.Duration `yaml:"idle_timeout"`
		} `yaml:"dicom"`
		Delivery struct {
			Timeout time.Duration `yaml:"timeout"`
		} `yaml:"delivery"`
	}
	if err := yaml.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	d := Defaults{c.DICOM.Idle, c.Delivery.Timeout, c.DICOM.Associations, c.DICOM.PerPeer, c.DICOM.PerNetwork}
	if d.Idle <= 0 || d.Response <= 0 || d.Associations <= 0 || d.AssociationsPerPeer <= 0 || d.AssociationsPerNetwork <= 0 {
		t.Fatalf("defaults %+v", d)
	}
	return d
}

// The statement in the repository says what the program's tables say.
func TestStatementIsCurrent(t *testing.T) {
	if !slices.ContainsFunc(dicomio.Codecs(), func(c dicomio.Codec) bool { return c.Syntax.UID == uid.JPEG2000 && c.Decodes }) {
		t.Skip("this build has no JPEG 2000")
	}
	var b bytes.Buffer
	if err := Write(&b, configured(t)); err != nil {
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
	for _, c := range append(scp.DefaultStorageClasses(), uid.JPEGBaseline8Bit, uid.StudyRootQueryRetrieveInformationModelGet) {
		if !strings.Contains(b.String(), "| "+c+" |") {
			t.Errorf("%s is missing", c)
		}
		if uid.Name(c) == c {
			t.Errorf("%s has no name", c)
		}
	}
}
