package interop

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// dicomRS returns a tool of dicom-rs, from the path or ECHONODE_DICOMRS.
func dicomRS(t *testing.T, name string) string {
	t.Helper()
	return need(t, filepath.Join(os.Getenv("ECHONODE_DICOMRS"), name), name)
}

// dicomrsKnows leaves out the one syntax whose data set dicom-rs refuses to
// read back.
func dicomrsKnows(s string) bool { return s != deflated }

func TestDicomRSIntoUs(t *testing.T) {
	storescu := dicomRS(t, "dicom-storescu")
	objs := objects(t, dicomrsKnows)
	n := startNode(t, nil)
	run(t, storescu, append([]string{"--never-transcode", "--fail-first", "--called-ae-title", "ECHONODE", n.addr()}, paths(objs)...)...)
	n.wantObjects(t, objs)
}

func TestUsIntoDicomRS(t *testing.T) {
	storescp := dicomRS(t, "dicom-storescp")
	objs := objects(t, dicomrsKnows)
	dir, port := t.TempDir(), freePort(t)
	start(t, port, storescp, "--promiscuous", "-p", port, "-o", dir)
	echo(t, dialer("STORE-SCP"), hostPort(port))
	sendAll(t, dialer("STORE-SCP"), hostPort(port), objs)
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != len(objs) {
		t.Errorf("dicom-storescp wrote %d files, want %d", len(files), len(objs))
	}
	for _, f := range files {
		uid := strings.TrimSuffix(filepath.Base(f), ".dcm")
		i := slices.IndexFunc(objs, func(o object) bool { return o.instance == uid })
		if i < 0 {
			t.Fatalf("unknown file %s", f)
		}
		sameDataSet(t, objs[i], f)
	}
}
