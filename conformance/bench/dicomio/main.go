// Command dicomio measures package dicomio beside pydicom, dcmtk, gdcm,
// suyashkumar/dicom and image/jpeg with disintegration/imaging, in one run, and
// prints a table.
//
//	go run ./conformance/bench/dicomio [-frames 60] [-repeat 3] [-scale] cine.dcm
//
// With -scale it measures by the clock what a second processor is worth instead.
//
// cine.dcm is a JPEG Baseline loop, for example I_000031.dcm of
// github.com/grailbio/go-dicom (64 frames of 800x600). The other inputs are
// made from it in a temporary folder. Figures are CPU time, the least of the
// repetitions, so that other work on the machine disturbs little; programs of
// other projects are measured as whole processes, pydicom inside its process
// after the imports. A peer that is not installed, or cannot do a row, is "-".
package main

import (
	"bytes"
	"flag"
	"fmt"
	"image"
	"image/draw"
	"image/jpeg"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/disintegration/imaging"
	suyash "github.com/suyashkumar/dicom"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/pixel"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
)

// pydicomScript runs one job given by name and prints CPU seconds.
const pydicomScript = `
import sys, time, io, warnings
warnings.simplefilter("ignore")
import pydicom, numpy
from PIL import Image
from pydicom.encaps import generate_pixel_data_frame
job, path, out = sys.argv[1:4]
t = time.process_time()
if job == "index":
    d = pydicom.dcmread(path, defer_size=1024); d.Rows
elif job == "gray":
    d = pydicom.dcmread(path)
    for f in generate_pixel_data_frame(d.PixelData, int(d.NumberOfFrames)):
        i = Image.open(io.BytesIO(f)); i.draft("L", i.size)
        numpy.asarray(i.convert("L").resize((224, 224), Image.BOX))
elif job == "rgb":
    d = pydicom.dcmread(path)
    for f in generate_pixel_data_frame(d.PixelData, int(d.NumberOfFrames)):
        numpy.asarray(Image.open(io.BytesIO(f)).convert("RGB"))
elif job == "array":
    d = pydicom.dcmread(path); d.pixel_array
elif job == "write":
    d = pydicom.dcmread(path); t = time.process_time(); d.save_as(out)
print(time.process_time() - t)
`

// bench holds the inputs and the settings of a run.
type bench struct {
	dir    string
	repeat int
	frames int
	few    int // frames of the slow rows
}

func main() {
	frames := flag.Int("frames", 60, "frames of the cine to use")
	repeat := flag.Int("repeat", 3, "repetitions of each measurement")
	scale := flag.Bool("scale", false, "measure only what a second processor is worth (scale.go); the machine should be idle")
	child := flag.Duration("child", 0, "decode for this long and print microseconds per frame (used by -scale)")
	flag.Parse()
	log.SetFlags(0)
	if flag.NArg() != 1 {
		log.Fatal("usage: dicomio [-frames n] [-repeat n] [-scale] cine.dcm")
	}
	if *child > 0 {
		us, err := decodeFor(flag.Arg(0), 1, *child)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(us)
		return
	}
	if *scale {
		if err := runScale(flag.Arg(0)); err != nil {
			log.Fatal(err)
		}
		return
	}
	dir, err := os.MkdirTemp("", "bench-dicomio")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	b := &bench{dir: dir, repeat: *repeat, frames: *frames, few: min(10, *frames)}
	if err := b.prepare(flag.Arg(0)); err != nil {
		log.Fatal(err)
	}
	b.run()
}

// path is an input by name.
func (b *bench) path(name string) string { return filepath.Join(b.dir, name+".dcm") }

// prepare makes the inputs: the cine with its first frames, the same native,
// and a shorter one in the other transfer syntaxes.
func (b *bench) prepare(cine string) error {
	f, err := dicomio.Open(cine, dicomio.Options{})
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := f.Frames()
	if err != nil {
		return err
	}
	if r.Len() < b.frames {
		return fmt.Errorf("%s has %d frames, %d are wanted", cine, r.Len(), b.frames)
	}
	base := func(n int) *dicomio.DataSet {
		d := f.DataSet.Clone()
		d.Delete(tag.PixelData, tag.FrameTimeVector)
		return d.SetInt(tag.NumberOfFrames, int64(n))
	}
	raw := make([][]byte, b.frames)
	for i := range raw {
		if raw[i], err = r.Raw(i); err != nil {
			return err
		}
	}
	if err := write(b.path("cine"), base(b.frames), dicomio.WriteOptions{TransferSyntax: uid.JPEGBaseline8Bit, Pixels: dicomio.FrameBytes(raw)}); err != nil {
		return err
	}
	size := 3 * r.Rows * r.Columns
	native := func(i int) ([]byte, error) {
		var fr dicomio.Frame
		err := r.Decode(i, &fr)
		return fr.Data, err
	}
	rgb := func(n int) *dicomio.DataSet {
		return base(n).SetString(tag.PhotometricInterpretation, "RGB").SetInt(tag.PlanarConfiguration, 0)
	}
	if err := write(b.path("native"), rgb(b.frames), dicomio.WriteOptions{Pixels: dicomio.FrameFunc(b.frames, int64(size), native)}); err != nil {
		return err
	}
	if err := write(b.path("few"), rgb(b.few), dicomio.WriteOptions{Pixels: dicomio.FrameFunc(b.few, int64(size), native)}); err != nil {
		return err
	}
	for _, c := range [][]string{
		{"lossless", "dcmcjpeg", "+e1"}, {"rle", "dcmcrle"}, {"jls", "dcmcjpls", "+el"}, {"j2k", "gdcmconv", "--j2k"},
	} {
		args := append(append([]string(nil), c[2:]...), b.path("few"), b.path(c[0]))
		if out, err := exec.Command(c[1], args...).CombinedOutput(); err != nil {
			log.Printf("no input %s: %s: %v %.200s", c[0], c[1], err, out)
		}
	}
	return nil
}

// write makes a file.
func write(path string, d *dicomio.DataSet, o dicomio.WriteOptions) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := dicomio.Write(f, d, o); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// cpu is the CPU time used by this process or its finished children.
func cpu(who int) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(who, &u); err != nil {
		log.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// self measures fn in this process; 0 when it fails.
func (b *bench) self(fn func() error) time.Duration {
	best := time.Duration(0)
	for range b.repeat {
		runtime.GC()
		start := cpu(syscall.RUSAGE_SELF)
		if err := fn(); err != nil {
			log.Print(err)
			return 0
		}
		if d := cpu(syscall.RUSAGE_SELF) - start; best == 0 || d < best {
			best = d
		}
	}
	return best
}

// process measures a whole program; 0 when it fails or is not there.
func (b *bench) process(name string, args ...string) time.Duration {
	best := time.Duration(0)
	for range b.repeat {
		start := cpu(syscall.RUSAGE_CHILDREN)
		if err := exec.Command(name, args...).Run(); err != nil {
			return 0
		}
		if d := cpu(syscall.RUSAGE_CHILDREN) - start; best == 0 || d < best {
			best = d
		}
	}
	return best
}

// python measures a job of pydicom inside its process.
func (b *bench) python(job, input string) time.Duration {
	best := time.Duration(0)
	for range b.repeat {
		out, err := exec.Command("/usr/bin/python3", "-c", pydicomScript, job, b.path(input), filepath.Join(b.dir, "out-py.dcm")).Output()
		if err != nil {
			return 0
		}
		s, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
		if err != nil {
			return 0
		}
		if d := time.Duration(s * float64(time.Second)); best == 0 || d < best {
			best = d
		}
	}
	return best
}

// row prints one measurement: times in ms, each peer with its ratio to ours.
func row(name string, per int, ours time.Duration, peers ...any) {
	ms := func(d time.Duration) float64 { return d.Seconds() * 1000 / float64(per) }
	fmt.Printf("| %s | %.3g ms |", name, ms(ours))
	for i := 0; i+1 < len(peers); i += 2 {
		d := peers[i+1].(time.Duration)
		if d <= 0 {
			fmt.Printf(" %s - |", peers[i])
			continue
		}
		fmt.Printf(" %s %.3g ms (%.1fx) |", peers[i], ms(d), float64(d)/float64(ours))
	}
	fmt.Println()
}

// run measures all rows.
func (b *bench) run() {
	runtime.GOMAXPROCS(1)
	out := filepath.Join(b.dir, "out.dcm")
	fmt.Printf("%s, %d frames of the cine, %d in the lossless rows; CPU time, in brackets peer / dicomio\n\n", runtime.GOARCH, b.frames, b.few)
	fmt.Println("| row | dicomio | peers |")
	fmt.Println("|---|---|---|")

	const times = 100
	ours := b.self(func() error {
		for range times {
			f, err := dicomio.Open(b.path("native"), dicomio.Options{})
			if err != nil {
				return err
			}
			if _, err := f.Frames(); err != nil {
				return err
			}
			f.Close()
		}
		return nil
	}) / times
	sy := (&bench{repeat: 1}).self(func() error {
		_, err := suyash.ParseFile(b.path("native"), nil)
		return err
	})
	row("index of the native cine", 1, ours, "pydicom", b.python("index", "native"), "dcmdump -M", b.process("dcmdump", "-M", "+P", "0028,0010", b.path("native")),
		"gdcminfo", b.process("gdcminfo", b.path("native")), "suyashkumar", sy)

	gray := b.self(b.gray)
	row("JPEG cine to gray 224x224, per frame", b.frames, gray, "image/jpeg + imaging", b.self(b.imagingGray), "pydicom + Pillow", b.python("gray", "cine"))
	row("JPEG cine to RGB, per frame", b.frames, b.self(func() error { return b.rgb("cine") }), "image/jpeg", b.self(b.imageJPEG),
		"pydicom + Pillow", b.python("rgb", "cine"), "dcmdjpeg", b.process("dcmdjpeg", b.path("cine"), out), "gdcmconv",
		b.process("gdcmconv", "-w", b.path("cine"), out))
	row("JPEG lossless, per frame", b.few, b.self(func() error { return b.decode("lossless") }), "pydicom", b.python("array", "lossless"),
		"dcmdjpeg", b.process("dcmdjpeg", b.path("lossless"), out), "gdcmconv", b.process("gdcmconv", "-w", b.path("lossless"), out))
	row("JPEG-LS, per frame", b.few, b.self(func() error { return b.decode("jls") }), "pydicom", b.python("array", "jls"),
		"dcmdjpls", b.process("dcmdjpls", b.path("jls"), out), "gdcmconv", b.process("gdcmconv", "-w", b.path("jls"), out))
	row("JPEG 2000 lossless, per frame", b.few, b.self(func() error { return b.decode("j2k") }), "pydicom + Pillow", b.python("array", "j2k"),
		"gdcmconv", b.process("gdcmconv", "-w", b.path("j2k"), out))
	row("RLE, per frame", b.few, b.self(func() error { return b.decode("rle") }), "pydicom", b.python("array", "rle"),
		"dcmdrle", b.process("dcmdrle", b.path("rle"), out), "gdcmconv", b.process("gdcmconv", "-w", b.path("rle"), out))
	row("write the native cine", 1, b.self(func() error { return b.rewrite(out) }), "pydicom", b.python("write", "native"), "dcmconv",
		b.process("dcmconv", b.path("native"), out))

	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f, err := dicomio.Open(b.path("native"), dicomio.Options{})
	if err == nil {
		_, err = f.Frames()
	}
	runtime.ReadMemStats(&after)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("\nThe index of the native cine (%d bytes) allocates %d kB in all.\n", f.Size(), (after.TotalAlloc-before.TotalAlloc)>>10)
	f.Close()
}

// gray decodes the cine to 224x224, reading included.
func (b *bench) gray() error {
	f, err := dicomio.Open(b.path("cine"), dicomio.Options{})
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := f.Frames()
	if err != nil {
		return err
	}
	var g image.Gray
	small := image.NewGray(image.Rect(0, 0, 224, 224))
	for _, err := range r.GrayFrames(&g) {
		if err != nil {
			return err
		}
		pixel.ResampleArea(small, &g, g.Rect)
	}
	return nil
}

// rgb decodes a file to RGB.
func (b *bench) rgb(name string) error {
	f, err := dicomio.Open(b.path(name), dicomio.Options{})
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := f.Frames()
	if err != nil {
		return err
	}
	var c image.RGBA
	for i := range r.Len() {
		if err := r.RGB(i, &c); err != nil {
			return err
		}
	}
	return nil
}

// decode decodes a file to stored values.
func (b *bench) decode(name string) error {
	f, err := dicomio.Open(b.path(name), dicomio.Options{})
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := f.Frames()
	if err != nil {
		return err
	}
	var d dicomio.Frame
	for i := range r.Len() {
		if err := r.Decode(i, &d); err != nil {
			return err
		}
	}
	return nil
}

// rewrite encodes the native cine anew.
func (b *bench) rewrite(out string) error {
	f, err := dicomio.Open(b.path("native"), dicomio.Options{})
	if err != nil {
		return err
	}
	defer f.Close()
	return write(out, f.DataSet, dicomio.WriteOptions{})
}

// raws calls fn with the compressed frames of the cine.
func (b *bench) raws(fn func(img image.Image)) error {
	f, err := dicomio.Open(b.path("cine"), dicomio.Options{})
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := f.Frames()
	if err != nil {
		return err
	}
	for i := range r.Len() {
		raw, err := r.Raw(i)
		if err != nil {
			return err
		}
		img, err := jpeg.Decode(bytes.NewReader(raw))
		if err != nil {
			return err
		}
		fn(img)
	}
	return nil
}

// imagingGray is the plan of image/jpeg and disintegration/imaging.
func (b *bench) imagingGray() error {
	return b.raws(func(img image.Image) { imaging.Grayscale(imaging.Resize(img, 224, 224, imaging.Lanczos)) })
}

// imageJPEG is image/jpeg to RGBA.
func (b *bench) imageJPEG() error {
	var dst *image.RGBA
	return b.raws(func(img image.Image) {
		if dst == nil {
			dst = image.NewRGBA(img.Bounds())
		}
		draw.Draw(dst, dst.Rect, img, image.Point{}, draw.Src)
	})
}
