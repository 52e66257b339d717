package node

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/echonode/echonode/scp"
)

// deliverTo hands an object to the node as an association would, with a change to
// the request.
func (r *running) deliverTo(t *testing.T, path string, edit func(*scp.StoreRequest)) *scp.StatusError {
	t.Helper()
	o, err := scp.FileObject(path)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	req := &scp.StoreRequest{Association: &scp.AssociationInfo{ID: 1, CallingAE: "CART"}, SOPClassUID: o.SOPClassUID, SOPInstanceUID: o.SOPInstanceUID,
		TransferSyntaxUID: o.TransferSyntaxUID}
	edit(req)
	if err = r.Store(context.Background(), req, o.DataSet); err == nil {
		return nil
	}
	var status *scp.StatusError
	if !errors.As(err, &status) {
		t.Fatal(err)
	}
	return status
}

// An object that is not what was announced is refused with what is wrong, A900H;
// one of another study than a request over DICOMweb names, too.
func TestWhatIsNotAnnounced(t *testing.T) {
	dir := t.TempDir()
	n := start(t, dir, &fakeProcessor{t: t}, Options{})
	path := writeObject(t, dir, "1.2.3", "1.2.3.10", nil)
	for name, c := range map[string]struct {
		edit func(*scp.StoreRequest)
		want string
	}{
		"another object": {func(r *scp.StoreRequest) { r.SOPInstanceUID = "1.2.3.11" }, "data set is another object than announced"},
		"another class":  {func(r *scp.StoreRequest) { r.SOPClassUID = "1.2.840.10008.5.1.4.1.1.6.1" }, "data set is of another SOP class than announced"},
		"another study":  {func(r *scp.StoreRequest) { r.StudyInstanceUID = "1.2.4" }, "data set is of another study than the request names"},
	} {
		if got := n.deliverTo(t, path, c.edit); got == nil || got.Status != scp.StatusDataSetMismatch || got.Comment != c.want || len(got.Comment) > 64 {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got := n.deliverTo(t, path, func(r *scp.StoreRequest) { r.StudyInstanceUID = "1.2.3" }); got != nil {
		t.Errorf("the study that is named: %+v", got)
	}
}

// panicking is a data set whose bytes end in a panic.
type panicking struct{ io.Reader }

func (p panicking) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	if err == io.EOF {
		panic("a fault of this program")
	}
	return n, err
}

// What panics while an object is received leaves nothing of it behind: what was
// staged is deleted before the association is given up.
func TestPanicLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	n := start(t, dir, &fakeProcessor{t: t}, Options{})
	o, err := scp.FileObject(writeObject(t, dir, "1.2.3", "1.2.3.10", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	req := &scp.StoreRequest{Association: &scp.AssociationInfo{ID: 1, CallingAE: "CART"}, SOPClassUID: o.SOPClassUID, SOPInstanceUID: o.SOPInstanceUID,
		TransferSyntaxUID: o.TransferSyntaxUID}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic is not its caller's")
			}
		}()
		_ = n.Store(t.Context(), req, panicking{o.DataSet})
	}()
	staged, err := os.ReadDir(filepath.Join(dir, "spool", "incoming"))
	if err != nil || len(staged) > 0 {
		t.Errorf("%v is left, %v", staged, err)
	}
}
