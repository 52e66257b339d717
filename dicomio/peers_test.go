package dicomio

import (
	"bytes"
	"fmt"
	"image"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"testing"

	"github.com/echonode/echonode/dicomio/pixel"
	"github.com/echonode/echonode/dicomio/uid"
)

// peerDecoders are the programs that decompress a transfer syntax.
var peerDecoders = map[string][][]string{
	uid.JPEGBaseline8Bit:   {{"dcmdjpeg"}, {"gdcmconv", "-w"}},
	uid.JPEGExtended12Bit:  {{"dcmdjpeg"}, {"gdcmconv", "-w"}},
	uid.JPEGLossless:       {{"dcmdjpeg"}, {"gdcmconv", "-w"}},
	uid.JPEGLosslessSV1:    {{"dcmdjpeg"}, {"gdcmconv", "-w"}},
	uid.JPEGLSLossless:     {{"dcmdjpls"}, {"gdcmconv", "-w"}},
	uid.JPEGLSNearLossless: {{"dcmdjpls"}, {"gdcmconv", "-w"}},
	uid.RLELossless:        {{"dcmdrle"}, {"gdcmconv", "-w"}},
	uid.JPEG2000Lossless:   {{"gdcmconv", "-w"}},
	uid.JPEG2000:           {{"gdcmconv", "-w"}},
	uid.HTJ2KLossless:      {{"gdcmconv", "-w"}},
	uid.HTJ2K:              {{"gdcmconv", "-w"}},
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
		d := a.Value(k) - b.Value(k)
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
			if plain, err = pf.Frames(); err != nil || pf.Syntax.Encapsulated {
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
					got.Data[k], got.Data[k+1], got.Data[k+2] = pixel.YBRFull(got.Data[k], got.Data[k+1], got.Data[k+2])
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
				t.Errorf("%s (%s) frame %d: %d off %s (%s %d bits, %s %d bits)", ref.Path, f.TransferSyntax, i, d, used, got.Photometric, got.Bits,
					want.Photometric, want.Bits)
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
		t.Logf("%-24s files %3d frames %3d exact %3d within 1 %3d more %3d no peer %d peer wrong %d", uid, c.files, c.frames, c.exact, c.one,
			c.more, c.noPeer, c.wrong)
	}
}

// readPPM reads a binary colour or gray PNM of 8 bits as RGB.
func readPPM(b []byte) (w, h int, rgb []byte, ok bool) {
	var kind string
	var top int
	var r = bytes.NewReader(b)
	if _, err := fmt.Fscan(r, &kind, &w, &h, &top); err != nil || top != 255 || kind != "P6" && kind != "P5" {
		return 0, 0, nil, false
	}
	if c, err := r.ReadByte(); err != nil || c != '\n' {
		return 0, 0, nil, false
	}
	pix := b[len(b)-r.Len():]
	if kind == "P6" {
		return w, h, pix, len(pix) == 3*w*h
	}
	for _, v := range pix {
		rgb = append(rgb, v, v, v)
	}
	return w, h, rgb, len(pix) == w*h
}

// Colour pictures of the corpus, palettes and native YBR among them, are
// within 1 of those that dcmtk renders (2 for native YBR_FULL, see
// TestYBRFullOfDcmtk).
func TestColourAgainstDcmtk(t *testing.T) {
	dir, refs := corpus(t)
	if _, err := exec.LookPath("dcmj2pnm"); err != nil {
		t.Skip("dcmj2pnm is not installed")
	}
	counts := map[string][3]int{}
	for _, ref := range refs {
		path := filepath.Join(dir, ref.Path)
		f, err := Open(path, Options{})
		if err != nil {
			continue
		}
		fr, err := f.Frames()
		if err != nil || fr.Info.Samples == 1 && fr.Info.Photometric != "PALETTE COLOR" || fr.Info.BitsAllocated > 16 {
			f.Close()
			continue
		}
		out, err := exec.Command("dcmj2pnm", "+op", path).Output()
		w, h, want, ok := readPPM(out)
		var c image.RGBA
		if err != nil || !ok || w != fr.Columns || h != fr.Rows {
			t.Logf("%s (%s, %s): dcmj2pnm: %v, %d bytes", ref.Path, f.TransferSyntax, fr.Info.Photometric, err, len(out))
			f.Close()
			continue
		}
		if err := fr.RGB(0, &c); err != nil {
			t.Errorf("%s: %v", ref.Path, err)
			continue
		}
		worst := 0
		for k := range w * h {
			for s := range 3 {
				d := int(c.Pix[4*k+s]) - int(want[3*k+s])
				worst = max(worst, d, -d)
			}
		}
		n := counts[fr.Info.Photometric]
		switch {
		case worst == 0:
			n[0]++
		case worst == 1, worst == 2 && fr.Info.Photometric == "YBR_FULL":
			n[1]++ // dcmtk centres chroma at 127.5, PS3.3 C.7.6.3.1.2 at 128
		case peerIsWrong[filepath.Base(ref.Path)] != "":
			t.Logf("%s: dcmtk differs: %s", ref.Path, peerIsWrong[filepath.Base(ref.Path)])
		default:
			n[2]++
			t.Errorf("%s (%s, %s): %d off dcmtk", ref.Path, f.TransferSyntax, fr.Info.Photometric, worst)
		}
		counts[fr.Info.Photometric] = n
		f.Close()
	}
	t.Logf("equal, within 1, more: %v", counts)
}

// One-bit RLE frames, which neither dcmtk nor gdcm decodes, equal the same
// segmentation stored natively.
func TestOneBitRLE(t *testing.T) {
	dir, refs := corpus(t)
	frames := map[string]Frame{}
	for _, ref := range refs {
		name := filepath.Base(ref.Path)
		if name != "liver_rle.dcm" && name != "liver_1frame.dcm" {
			continue
		}
		f, err := Open(filepath.Join(dir, ref.Path), Options{})
		if err != nil {
			t.Fatal(err)
		}
		frames[name] = decodeAllFrames(t, f)[0]
		f.Close()
	}
	a, b := frames["liver_rle.dcm"], frames["liver_1frame.dcm"]
	if len(frames) != 2 || !bytes.Equal(a.Data, b.Data) || !bytes.Contains(a.Data, []byte{1, 1, 1}) {
		t.Errorf("%d files; %d and %d pixels", len(frames), len(a.Data), len(b.Data))
	}
}
