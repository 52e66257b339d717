package dicomio

import (
	"bytes"
	"errors"
	"testing"

	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
)

// Every fixture comes out in every native syntax with the same samples, its
// identity and its other elements.
func TestTranscode(t *testing.T) {
	for _, name := range fixtures(t) {
		src := readBytes(t, fixture(t, name), Options{})
		if skipWithout(t, src) || src.Native() != nil {
			continue
		}
		want := decodeAllFrames(t, src)
		for _, ts := range []string{uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.DeflatedExplicitVRLittleEndian} {
			var b bytes.Buffer
			if err := src.Transcode(&b, WriteOptions{TransferSyntax: ts, Bare: true}); err != nil {
				t.Errorf("%s to %s: %v", name, ts, err)
				continue
			}
			out := readBytes(t, b.Bytes(), Options{TransferSyntax: ts, Strict: true})
			if out.TransferSyntax != ts || out.DataSet.String(tag.SOPInstanceUID) != src.DataSet.String(tag.SOPInstanceUID) ||
				out.DataSet.String(tag.PatientName) != src.DataSet.String(tag.PatientName) {
				t.Errorf("%s to %s: another object", name, ts)
			}
			if lossy := out.DataSet.String(tag.LossyImageCompression); src.Syntax.Lossy && src.Syntax.UID != uid.JPEG2000 && lossy != "01" {
				t.Errorf("%s to %s: lossy compression is not marked: %q", name, ts, lossy)
			}
			got := decodeAllFrames(t, out)
			for i := range want {
				if d := frameDistance(&got[i], &want[i]); d != 0 || got[i].Photometric != want[i].Photometric && want[i].Photometric != "YBR_FULL_422" {
					t.Errorf("%s to %s: frame %d is %d off, %s, was %s", name, ts, i, d, got[i].Photometric, want[i].Photometric)
				}
			}
		}
		if err := src.Transcode(&bytes.Buffer{}, WriteOptions{TransferSyntax: uid.JPEGBaseline8Bit}); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s to JPEG: %v", name, err)
		}
	}
	video := videoFile(t, uid.MPEG4HP41, []byte("\x00\x00\x01\x67"), 64, 48, 1)
	if err := video.Transcode(&bytes.Buffer{}, WriteOptions{}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("video: %v", err)
	}
}
