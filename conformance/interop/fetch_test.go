package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"

	"github.com/echonode/echonode/conformance/freeport"
	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/pipeline/deliver"
	"github.com/echonode/echonode/pipeline/fetch"
	"github.com/echonode/echonode/scp"
)

// archived are the objects of an archive: study A of two loops, one of them
// compressed, and a report; study B of a year before with one loop.
const (
	studyA, studyB   = "1.2.826.0.1.3680043.10.7.1", "1.2.826.0.1.3680043.10.7.2"
	loopsA, reportsA = studyA + ".1", studyA + ".2"
)

func archived(t *testing.T) (files []string) {
	t.Helper()
	dir := t.TempDir()
	img := image.NewRGBA(image.Rect(0, 0, 64, 48))
	for i := range img.Pix {
		img.Pix[i] = uint8(i)
	}
	jpeg, err := dicomio.EncodeJPEG(img, 90)
	if err != nil {
		t.Fatal(err)
	}
	native := bytes.Repeat([]byte{1, 2, 3}, 64*48)
	for _, o := range []struct{ study, date, series, object, modality, ts string }{
		{studyA, "20260301", loopsA, loopsA + ".1", "US", uid.JPEGBaseline8Bit},
		{studyA, "20260301", loopsA, loopsA + ".2", "US", uid.ExplicitVRLittleEndian},
		{studyA, "20260301", reportsA, reportsA + ".1", "SR", uid.ExplicitVRLittleEndian},
		{studyB, "20250301", studyB + ".1", studyB + ".1.1", "US", uid.ExplicitVRLittleEndian},
	} {
		ds := dicomio.NewDataSet().SetString(tag.SOPInstanceUID, o.object).SetString(tag.StudyInstanceUID, o.study).SetString(tag.SeriesInstanceUID, o.series).
			SetString(tag.Modality, o.modality).SetString(tag.StudyDate, o.date).SetString(tag.StudyTime, "101112").SetString(tag.StudyID, "1").
			SetString(tag.PatientID, "FETCH").SetString(tag.PatientName, "Test^Fetch").SetString(tag.AccessionNumber, "A"+o.date).
			SetString(tag.SeriesNumber, "1").SetString(tag.InstanceNumber, "1").SetString(tag.SOPClassUID, uid.ComprehensiveSRStorage)
		w := dicomio.WriteOptions{TransferSyntax: o.ts}
		if o.modality == "US" {
			ds.SetString(tag.SOPClassUID, uid.UltrasoundMultiFrameImageStorage).SetInt(tag.Rows, 48).SetInt(tag.Columns, 64).SetInt(tag.NumberOfFrames, 1).
				SetInt(tag.SamplesPerPixel, 3).SetInt(tag.BitsAllocated, 8).SetInt(tag.BitsStored, 8).SetInt(tag.HighBit, 7).SetInt(tag.PixelRepresentation, 0).
				SetInt(tag.PlanarConfiguration, 0).SetString(tag.PhotometricInterpretation, "RGB")
			w.Pixels = dicomio.FrameBytes([][]byte{native})
			if o.ts == uid.JPEGBaseline8Bit {
				ds.SetString(tag.PhotometricInterpretation, "YBR_FULL_422").SetString(tag.LossyImageCompression, "01")
				w.Pixels = dicomio.FrameBytes([][]byte{jpeg})
			}
		}
		path := filepath.Join(dir, o.object+".dcm")
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(dicomio.Write(f, ds, w), f.Close()); err != nil {
			t.Fatal(err)
		}
		files = append(files, path)
	}
	return files
}

// fill sends the archived objects to an archive.
func fill(t *testing.T, d *scp.Dialer, addr string) {
	t.Helper()
	var sources []scp.ObjectSource
	for _, f := range archived(t) {
		sources = append(sources, scp.FileSource(f))
	}
	results, err := d.SendAll(timeout(t), addr, sources, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Err != nil {
			t.Fatalf("%+v", r)
		}
	}
}

// fetchCases is what every archive has to give: queries by study, date,
// modality, patient and accession number, C-GET of what is missing, C-MOVE to a
// running node; stay is how many objects the archive cannot send by C-MOVE.
func fetchCases(t *testing.T, d *scp.Dialer, addr string, n *node, moveTo string, stay int) {
	t.Helper()
	ctx := timeout(t)
	dir := t.TempDir()
	f := &fetch.Fetcher{Dialer: d, Address: addr, Dir: dir}
	for _, c := range []struct {
		q    fetch.Query
		want []string
	}{
		{fetch.Query{StudyInstanceUID: studyA}, []string{studyA}},
		{fetch.Query{StudyInstanceUID: "1.2.3.4"}, nil},
		{fetch.Query{Date: "20240101-20261231", Modality: "US"}, []string{studyB, studyA}},
		{fetch.Query{Date: "20260101-", Modality: "US"}, []string{studyA}},
		{fetch.Query{Date: "20250301"}, []string{studyB}},
		{fetch.Query{PatientID: "FETCH"}, []string{studyB, studyA}},
		{fetch.Query{AccessionNumber: "A20260301"}, []string{studyA}},
	} {
		got, err := f.Studies(ctx, c.q)
		if err != nil {
			t.Fatalf("%+v: %v", c.q, err)
		}
		var uids []string
		for _, s := range got {
			uids = append(uids, s.StudyInstanceUID)
		}
		if !slices.Equal(uids, c.want) {
			t.Errorf("%+v: %v, want %v", c.q, uids, c.want)
		}
	}
	all, err := f.Studies(ctx, fetch.Query{PatientID: "FETCH"})
	if err != nil {
		t.Fatal(err)
	}
	objects := func() (out []string) {
		paths, err := filepath.Glob(filepath.Join(dir, "*", "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range paths {
			out = append(out, strings.TrimSuffix(filepath.Base(p), ".dcm"))
		}
		return out
	}
	// Only ultrasound, then the rest, then one that was lost; each object once.
	fetched := func(want int, modality string) {
		t.Helper()
		last := fetch.Progress{}
		f.Progress = func(p fetch.Progress) { last = p }
		r, err := f.Fetch(ctx, all, modality)
		if err != nil || r.Fetched != want || r.Failed != 0 || want > 0 && (last.Have != last.Total || r.Bytes == 0) {
			t.Fatalf("fetched %+v, want %d objects; last progress %+v; %v", r, want, last, err)
		}
	}
	if r, err := f.Fetch(ctx, all, "MR"); !errors.Is(err, fetch.ErrNothing) || r.Fetched != 0 {
		t.Errorf("no series of a modality: %+v, %v", r, err)
	}
	fetched(3, "US")
	if got := objects(); slices.Contains(got, reportsA+".1") || len(got) != 3 {
		t.Errorf("ultrasound: %v", got)
	}
	fetched(1, "")
	fetched(0, "")
	if err := os.Remove(filepath.Join(dir, studyA, loopsA+".2.dcm")); err != nil {
		t.Fatal(err)
	}
	fetched(1, "")
	for _, p := range []string{filepath.Join(studyA, loopsA+".1.dcm"), filepath.Join(studyA, loopsA+".2.dcm"), filepath.Join(studyB, studyB+".1.1.dcm")} {
		file, err := dicomio.Open(filepath.Join(dir, p), dicomio.Options{Strict: true})
		if err != nil {
			t.Fatal(err)
		}
		frames, err := file.Frames()
		if err != nil {
			t.Fatal(err)
		}
		var img image.RGBA
		if err := errors.Join(frames.RGB(0, &img), file.Close()); err != nil || img.Rect != image.Rect(0, 0, 64, 48) {
			t.Errorf("%s: %v %v", p, img.Rect, err)
		}
	}
	// The archive sends to a node that it knows.
	m := &fetch.Fetcher{Dialer: d, Address: addr, MoveTo: moveTo, Done: filepath.Join(dir, "done")}
	r, err := m.Fetch(ctx, all, "US")
	if r.Fetched != 3-stay || r.Failed != stay || (err != nil) != (stay > 0) || stay > 0 && !errors.Is(err, fetch.ErrPartial) {
		t.Fatalf("moved %+v, %v", r, err)
	}
	n.mu.Lock()
	if len(n.entries) != 3-stay || n.entries[studyB+".1.1"].Path == "" {
		t.Errorf("%d objects came by C-MOVE: %v", len(n.entries), n.entries)
	}
	n.mu.Unlock()
	if r, err := m.Fetch(ctx, all, "US"); stay == 0 && (err != nil || r.Fetched != 0 || r.SeriesAlreadyDone != 2) || stay > 0 && r.SeriesAlreadyDone != 1 {
		t.Errorf("moved again: %+v, %v", r, err)
	}
	var refused *scp.StatusError
	nobody := &fetch.Fetcher{Dialer: d, Address: addr, MoveTo: "NOBODY"}
	if _, err := nobody.Fetch(ctx, all, "US"); !errors.As(err, &refused) {
		t.Errorf("a destination that the archive does not know: %v", err)
	}
}

func TestFetchFromDcmqrscp(t *testing.T) {
	program := need(t, "dcmqrscp")
	n := startNode(t, nil)
	dir, port := t.TempDir(), freeport.Port(t)
	db := filepath.Join(dir, "db")
	if err := os.Mkdir(db, 0o700); err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf("NetworkTCPPort = %s\nMaxPDUSize = 16384\nMaxAssociations = 16\nHostTable BEGIN\nus = (ECHONODE, %s, %s)\nHostTable END\n"+
		"VendorTable BEGIN\nVendorTable END\nAETable BEGIN\nQRSCP %s RW (100, 1024mb) ANY\nAETable END\n", port, n.host, n.port, db)
	path := filepath.Join(dir, "dcmqrscp.cfg")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, port, program, "--config", path, "+xy")
	fill(t, dialer("QRSCP"), hostPort(port))
	// It proposes one set of transfer syntaxes for whatever it sends by C-MOVE, and
	// converts nothing: the compressed loop stays.
	fetchCases(t, dialer("QRSCP"), hostPort(port), n, "ECHONODE", 1)
}

func TestFetchFromOrthanc(t *testing.T) {
	n := startNode(t, nil)
	o := startOrthanc(t, n,
		map[string]any{"DicomModalities": map[string]any{"us": map[string]any{"AET": "ECHONODE", "Host": n.host, "Port": json.Number(n.port)}},
			"DicomAlwaysAllowGet": true})
	fill(t, dialer("ORTHANC"), hostPort(o.port))
	fetchCases(t, dialer("ORTHANC"), hostPort(o.port), n, "ECHONODE", 0)
}

// pynetdicomArchive answers queries about the files of a folder; arguments:
// port, folder, title, host and port of the move destination.
const pynetdicomArchive = `
import sys, glob, os
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, evt, build_role, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, StoragePresentationContexts
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as F, StudyRootQueryRetrieveInformationModelGet as G
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelMove as M
files = [dcmread(p) for p in sorted(glob.glob(os.path.join(sys.argv[2], "*.dcm")))]
def match(d, q):
    for e in q:
        if e.keyword in ("QueryRetrieveLevel", "SpecificCharacterSet") or e.value in (None, "", []):
            continue
        have = str({"ModalitiesInStudy": d.Modality}.get(e.keyword, d.get(e.keyword, "")))
        want = e.value
        if e.keyword == "StudyDate" and "-" in want:
            lo, hi = want.split("-")
            if (lo and have < lo) or (hi and have > hi):
                return False
        elif isinstance(want, str) and have != want or not isinstance(want, str) and have not in list(want):
            return False
    return True
def find(event):
    q, seen = event.identifier, set()
    key = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}[q.QueryRetrieveLevel]
    for d in files:
        if d.get(key) in seen or not match(d, q):
            continue
        seen.add(d.get(key))
        r = Dataset()
        r.QueryRetrieveLevel = q.QueryRetrieveLevel
        for e in q:
            if e.keyword == "ModalitiesInStudy":
                r.ModalitiesInStudy = sorted({x.Modality for x in files if x.StudyInstanceUID == d.StudyInstanceUID})
            elif e.keyword in d:
                r[e.tag] = d[e.tag]
        yield 0xFF00, r
def get(event):
    found = [d for d in files if match(d, event.identifier)]
    yield len(found)
    for d in found:
        yield 0xFF00, d
def move(event):
    if event.move_destination.strip() != sys.argv[3]:
        yield None, None
        return
    yield sys.argv[4], int(sys.argv[5]), {"contexts": [c for c in out]}
    yield from get(event)
out = []
for d in files:
    from pynetdicom import build_context
    out.append(build_context(d.SOPClassUID, d.file_meta.TransferSyntaxUID))
ae = AE(ae_title="PYARCHIVE")
for c in (F, G, M):
    ae.add_supported_context(c)
for c in AllStoragePresentationContexts:
    ae.add_supported_context(c.abstract_syntax, ALL_TRANSFER_SYNTAXES, scu_role=False, scp_role=True)
ae.start_server(("127.0.0.1", int(sys.argv[1])), evt_handlers=[(evt.EVT_C_FIND, find), (evt.EVT_C_GET, get), (evt.EVT_C_MOVE, move)])
`

func TestFetchFromPynetdicom(t *testing.T) {
	py := python(t)
	n := startNode(t, nil)
	files, port := archived(t), freeport.Port(t)
	start(t, port, py, "-c", pynetdicomArchive, port, filepath.Dir(files[0]), "ECHONODE", n.host, n.port)
	fetchCases(t, dialer("PYARCHIVE"), net.JoinHostPort("127.0.0.1", port), n, "ECHONODE", 0)
}

// An archive says which objects it has, by C-FIND.
func TestAskingOrthancWhatItHas(t *testing.T) {
	objs := objects(t, orthancKnows)
	n := startNode(t, nil)
	o := startOrthanc(t, n, map[string]any{"DicomAlwaysAllowFind": true})
	sent, kept := objs[:len(objs)/2], objs[len(objs)/2:]
	sendAll(t, dialer("ORTHANC"), hostPort(o.port), sent)
	paths := []string{filepath.Join(t.TempDir(), "gone")} // which keeps it from saying nothing of the others
	for _, obj := range objs {
		paths = append(paths, obj.path)
	}
	there, err := deliver.Has(context.Background(), dialer("ORTHANC"), hostPort(o.port), paths)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, obj := range sent {
		if !there[obj.instance] {
			t.Errorf("%s was sent, Orthanc says that it is not there", obj.name)
		}
	}
	for _, obj := range kept {
		if there[obj.instance] {
			t.Errorf("%s was not sent, Orthanc says that it is there", obj.name)
		}
	}
}
