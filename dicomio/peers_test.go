package dicomio

import (
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"testing"
)

// peerDecoders are the programs that decompress a transfer syntax.
var peerDecoders = map[string][][]string{
	JPEGBaseline:       {{"dcmdjpeg"}, {"gdcmconv", "-w"}},
	JPEGExtended:       {{"dcmdjpeg"}, {"gdcmconv", "-w"}},
	JPEGLossless:       {{"dcmdjpeg"}, {"gdcmconv", "-w"}},
	JPEGLosslessSV1:    {{"dcmdjpeg"}, {"gdcmconv", "-w"}},
	JPEGLSLossless:     {{"dcmdjpls"}, {"gdcmconv", "-w"}},
	JPEGLSNearLossless: {{"dcmdjpls"}, {"gdcmconv", "-w"}},
	RLELossless:        {{"dcmdrle"}, {"gdcmconv", "-w"}},
	JPEG2000Lossless:   {{"gdcmconv", "-w"}},
	JPEG2000:           {{"gdcmconv", "-w"}},
	HTJ2KLossless:      {{"gdcmconv", "-w"}},
	HTJ2K:              {{"gdcmconv", "-w"}},
}

// peerIsWrong names files whose colours dcmtk gets wrong because it believes
// Photometric Interpretation.
var peerIsWrong = map[string]string{
	"SC_rgb_jpeg_lossy_gdcm.dcm": "labelled RGB, but the stream has subsampled chroma; the same picture labelled YBR_FULL shows red, green and blue bars, as here",
}

// frameDistance is the largest difference of two decoded frames, -1 when they
// are not of one kind.
func frameDistance(a, b *Frame) int64 {
	if a.Rows != b.Rows || a.Columns != b.Columns || a.Samples != b.Samples || a.Bits != b.Bits {
		return -1
	}
	worst := int64(0)
	for k := range a.Rows * a.Columns * a.Samples {
		d := a.value(k) - b.value(k)
		worst = max(worst, d, -d)
	}
	return worst
}

// Decoded frames equal those of dcmtk, or of gdcm where dcmtk has no codec or
// fails: exactly for lossless syntaxes, within 1 for the others.
func TestCorpusAgainstPeers(t *testing.T) {
	dir, refs := corpus(t)
	type count struct{ files, frames, exact, one, more, noPeer, wrong int }
	table := map[string]*count{}
	tmp := t.TempDir()
	for _, ref := range refs {
		path := filepath.Join(dir, ref.Path)
		f, err := Open(path, Options{})
		if err != nil {
			continue
		}
		fr, err := f.Frames()
		peers := peerDecoders[f.TransferSyntax]
		if err != nil || peers == nil {
			f.Close()
			continue
		}
		c := table[f.TransferSyntax]
		if c == nil {
			c = &count{}
			table[f.TransferSyntax] = c
		}
		c.files++
		var plain *FrameReader
		var used string
		for _, p := range peers {
			out := filepath.Join(tmp, "out.dcm")
			os.Remove(out)
			if _, err := exec.LookPath(p[0]); err != nil {
				t.Skipf("%s is not installed", p[0])
			}
			msg, err := exec.Command(p[0], append(append([]string(nil), p[1:]...), path, out)...).CombinedOutput()
			if err != nil {
				t.Logf("%s: %s: %.120q", ref.Path, p[0], msg)
				continue
			}
			pf, err := Open(out, Options{})
			if err != nil {
				t.Logf("%s: result of %s: %v", ref.Path, p[0], err)
				continue
			}
			defer pf.Close()
			if plain, err = pf.Frames(); err != nil || plain.ts.Encapsulated {
				t.Logf("%s: result of %s: %v", ref.Path, p[0], err)
				plain = nil
				continue
			}
			used = p[0]
			break
		}
		for i := range fr.Len() {
			c.frames++
			var got, want Frame
			err := fr.Decode(i, &got)
			if plain == nil || i >= plain.Len() {
				c.noPeer++
				t.Logf("%s (%s) frame %d: no peer decodes it; here: %v", ref.Path, f.TransferSyntax, i, err)
				continue
			}
			if err != nil {
				t.Errorf("%s (%s) frame %d: %s decodes it, here: %v", ref.Path, f.TransferSyntax, i, used, err)
				continue
			}
			if err := plain.Decode(i, &want); err != nil {
				t.Fatal(err)
			}
			if got.Photometric == "YBR_FULL" && want.Photometric == "RGB" {
				for k := 0; k+2 < len(got.Data) && got.Bits == 8; k += 3 {
					got.Data[k], got.Data[k+1], got.Data[k+2] = ybrFull(got.Data[k], got.Data[k+1], got.Data[k+2])
				}
			}
			if why := peerIsWrong[filepath.Base(ref.Path)]; why != "" && want.Photometric == "RGB" && frameDistance(&got, &want) > 1 {
				c.wrong++
				t.Logf("%s (%s) frame %d: %s differs: %s", ref.Path, f.TransferSyntax, i, used, why)
				continue
			}
			switch d := frameDistance(&got, &want); {
			case d == 0:
				c.exact++
			case d == 1:
				c.one++
				t.Logf("%s (%s) frame %d: within 1 of %s", ref.Path, f.TransferSyntax, i, used)
			default:
				c.more++
				t.Errorf("%s (%s) frame %d: %d off %s (%s %d bits, %s %d bits)", ref.Path, f.TransferSyntax, i, d, used, got.Photometric, got.Bits, want.Photometric, want.Bits)
			}
		}
		f.Close()
	}
	var uids []string
	for uid := range table {
		uids = append(uids, uid)
	}
	sort.Strings(uids)
	for _, uid := range uids {
		c := table[uid]
		t.Logf("%-24s files %3d frames %3d exact %3d within 1 %3d more %3d no peer %d peer wrong %d", uid, c.files, c.frames, c.exact, c.one, c.more, c.noPeer, c.wrong)
	}
}
