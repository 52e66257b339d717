package summary

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func page() Page {
	still := image.NewRGBA(image.Rect(0, 0, 320, 240))
	for i := range still.Pix {
		still.Pix[i] = uint8(i / 1600)
		if i%4 == 3 {
			still.Pix[i] = 255
		}
	}
	p := Page{
		Title: "Left ventricle, Baseline", Subject: []Line{{"Müller, Jürgen", "P-1"}, {"2024-01-10", "ACC0001"}}, Headline: "EF 59 %", Under: "normal (ASE/EACVI 2015); biplane method of disks, 3 beats; quality good",
		Rows:    []Row{{"End-diastolic volume", "118 mL", "62-150", "biplane", false}, {"End-systolic volume", "70 mL", "21-61", "biplane", true}},
		Stills:  []Still{{"A4C ED", still}, {"A4C ES", still}, {"A2C ED", still}, {"A2C ES", still}},
		Curve:   &Curve{Title: "Area, A4C", Unit: "cm2", ED: []int{0, 24}, ES: []int{12, 99}},
		Remarks: []string{strings.Repeat("The end-systolic frame may be missed. ", 6)}, Notice: "UNVERIFIED", Made: "EchoNode test, model m 1, 山",
	}
	for i := range 40 {
		p.Curve.TimesMS = append(p.Curve.TimesMS, float64(33*i))
		p.Curve.Values = append(p.Curve.Values, 28+7*math.Cos(float64(i)/4))
	}
	p.Curve.Values[3] = math.NaN()
	return p
}

func TestImage(t *testing.T) {
	img, err := page().Image()
	if err != nil {
		t.Fatal(err)
	}
	if img.Rect.Dx() != 1684 || img.Rect.Dy() != 1190 {
		t.Fatalf("picture of %v", img.Rect)
	}
	lit := func(r image.Rectangle) (n int) {
		for y := r.Min.Y; y < r.Max.Y; y++ {
			for x := r.Min.X; x < r.Max.X; x++ {
				if c := img.RGBAAt(x, y); c != dark.ground && c != (color.RGBA{0, 0, 0, 255}) {
					n++
				}
			}
		}
		return n
	}
	for name, r := range map[string]image.Rectangle{"title": image.Rect(40, 40, 700, 80), "still": image.Rect(60, 150, 500, 480),
		"values": image.Rect(1060, 150, 1640, 400), "curve": image.Rect(60, 960, 1000, 1120)} {
		if lit(r) < 200 {
			t.Errorf("nothing stands where the %s belongs", name)
		}
	}
	if n := lit(image.Rect(110, 1086, 900, 1094)); n < 700 {
		t.Errorf("the axis under the curve has %d pixels", n)
	}
	if dir := os.Getenv("ECHONODE_SHOTS"); dir != "" {
		f, err := os.Create(filepath.Join(dir, "summary.png"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := png.Encode(f, img); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := (Page{}).Image(); err != nil {
		t.Errorf("empty page: %v", err)
	}
}

func TestPDF(t *testing.T) {
	var a, b bytes.Buffer
	for _, w := range []*bytes.Buffer{&a, &b} {
		if err := WritePDF(w, page(), Page{Title: "empty"}); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("equal pages give different bytes")
	}
	if !bytes.HasPrefix(a.Bytes(), []byte("%PDF-1.")) || !bytes.Contains(a.Bytes(), []byte("%%EOF")) {
		t.Error("no PDF")
	}
	if WritePDF(&a) == nil {
		t.Error("a document without pages is written")
	}
	tool, err := exec.LookPath("pdftotext")
	if err != nil {
		t.Skip("pdftotext is not installed (Debian package poppler-utils)")
	}
	name := filepath.Join(t.TempDir(), "page.pdf")
	if err := os.WriteFile(name, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(tool, name, "-").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Müller, Jürgen", "EF 59 %", "End-systolic volume", "62-150", "UNVERIFIED", "model m 1, ?"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the text of the PDF lacks %q:\n%s", want, out)
		}
	}
}

// lines is a canvas that keeps what is written on it.
type lines struct {
	texts  []string
	at     map[string][2]float64
	lowest float64
}

func (l *lines) text(x, y, _ float64, _ bool, _ color.RGBA, s string) {
	l.texts, l.lowest = append(l.texts, s), max(l.lowest, y)
	if l.at != nil {
		l.at[s] = [2]float64{x, y}
	}
}
func (l *lines) fill(_, _, _, _ float64, _ color.RGBA)        {}
func (l *lines) picture(_, _, _, _ float64, _ image.Image)    {}
func (l *lines) width(size float64, _ bool, s string) float64 { return 0.5 * size * float64(len(s)) }
func (l *lines) line(_, _, _, _, _ float64, _ color.RGBA)     {}

// Without pictures the text begins at the left, and above the curve there is no room
// for pictures that are not there; with ranges it says what they are.
func TestLayoutWithoutPictures(t *testing.T) {
	where := func(p Page, what string) (x, y float64) {
		l := lines{at: map[string][2]float64{}}
		p.draw(&l, dark)
		at, ok := l.at[what]
		if !ok {
			t.Fatalf("%q is not on the page: %q", what, l.texts)
		}
		return at[0], at[1]
	}
	curve := &Curve{Title: "Area", Unit: "cm2", TimesMS: []float64{0, 500}, Values: []float64{30, 20}}
	still := Still{Image: image.NewRGBA(image.Rect(0, 0, 10, 10))}
	if x, _ := where(Page{Headline: "EF not measured"}, "EF not measured"); x != margin {
		t.Errorf("the text begins at %.0f", x)
	}
	const text = margin + 2*stillWidth + 3*gap
	if x, _ := where(Page{Headline: "EF 59 %", Curve: curve}, "EF 59 %"); x != text {
		t.Errorf("beside a curve the text begins at %.0f, want %.0f", x, text)
	}
	const top = margin + 12 + 16 + 16
	for n, want := range map[int]float64{0: top + 8, 2: top + stillHeight + gap + 14 + 8, 4: top + 2*stillHeight + 2*gap + 10 + 14 + 8} {
		if _, y := where(Page{Curve: curve, Stills: slices.Repeat([]Still{still}, n)}, "Area, cm2"); y != want {
			t.Errorf("under %d pictures the curve begins at %.0f, want %.0f", n, y, want)
		}
	}
	for normal, want := range map[string]bool{"62 to 150": true, "": false} {
		var l lines
		Page{Rows: []Row{{Name: "End-diastolic volume", Value: "89 mL", Normal: normal}}}.draw(&l, dark)
		if slices.Contains(l.texts, "normal") != want {
			t.Errorf("%q: %q", normal, l.texts)
		}
	}
}

// A remark that finds no room is counted, never cut without a word; all of them
// stand there where they just fit.
func TestRemarksThatDoNotFit(t *testing.T) {
	for _, tt := range []struct {
		remarks int
		shown   int
		last    string
	}{{5, 5, "remark 5"}, {10, 10, "remark 10"}, {11, 9, "and 2 more remarks: see the report"}, {30, 9, "and 21 more remarks: see the report"}} {
		var p Page
		p.Headline = "EF 59 %"
		for i := range tt.remarks {
			p.Remarks = append(p.Remarks, "remark "+strconv.Itoa(i+1))
		}
		var l lines
		bottom := 18 + 12 + 8 + 10*remarkLine + 1
		p.column(&l, dark, 0, 0, 300, bottom)
		shown := 0
		for _, s := range l.texts {
			if strings.HasPrefix(s, "remark ") {
				shown++
			}
		}
		if got := l.texts[len(l.texts)-1]; shown != tt.shown || got != tt.last || l.lowest > bottom {
			t.Errorf("%d remarks: %d stand there, the last line is %q at %.1f of %.1f", tt.remarks, shown, got, l.lowest, bottom)
		}
	}
	// Of one that is longer than the page no part stands there alone.
	p := Page{Remarks: []string{strings.Repeat("long ", 400)}}
	var l lines
	p.column(&l, dark, 0, 0, 300, 200)
	if got := l.texts[len(l.texts)-1]; got != "and 1 more remark: see the report" {
		t.Errorf("a remark of half a book ends with %q", got)
	}
}

func TestTicks(t *testing.T) {
	for hi, want := range map[float64]string{30.6: "[0 10 20 30]", 27.5: "[0 10 20]", 12: "[0 5 10]", 9.9: "[0 2 4 6 8]", 1.5: "[0 0.5 1 1.5]",
		430: "[0 100 200 300 400]"} {
		if got := fmt.Sprint(ticks(hi)); got != want {
			t.Errorf("up to %g: %s, want %s", hi, got, want)
		}
	}
}

// A name of many letters is cut, the number of the patient is not, and the title gives way.
func TestSubjectFits(t *testing.T) {
	drawn := &words{}
	p := Page{Title: "Left ventricle, " + strings.Repeat("Dobutamine ", 12),
		Subject: []Line{{strings.Repeat("Wolfeschlegelstein ", 12), "PATIENT-0123456789"}, {"", "A1"}}}
	p.Notice = strings.Repeat("Corrected and VERIFIED by a reader. ", 4)
	p.draw(drawn, dark)
	if s := strings.Join(drawn.said, " "); strings.Count(s, "VERIFIED") != 4 {
		t.Errorf("%q", drawn.said)
	}
	var title, name string
	for _, s := range drawn.said {
		switch {
		case strings.HasPrefix(s, "Left"):
			title = s
		case strings.HasPrefix(s, "Wolfe"):
			name = s
		}
	}
	if !strings.HasSuffix(name, "...  PATIENT-0123456789") || !strings.HasSuffix(title, "...") || !slices.Contains(drawn.said, "A1") {
		t.Errorf("%q", drawn.said)
	}
	if w := drawn.width(15, true, title) + drawn.width(9, false, name); w > pageWidth-2*margin {
		t.Errorf("title and name are %v points wide", w)
	}
}

// words is a canvas that keeps what is written, with letters half as wide as high.
type words struct{ said []string }

func (w *words) text(_, _, _ float64, _ bool, _ color.RGBA, s string) { w.said = append(w.said, s) }
func (w *words) width(size float64, _ bool, s string) float64 {
	return size / 2 * float64(len([]rune(s)))
}
func (w *words) line(_, _, _, _, _ float64, _ color.RGBA)  {}
func (w *words) fill(_, _, _, _ float64, _ color.RGBA)     {}
func (w *words) picture(_, _, _, _ float64, _ image.Image) {}
