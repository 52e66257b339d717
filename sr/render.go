package sr

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// line is a measurement prepared for reading.
type line struct {
	Name, Value, Unit, Circumstances, Group, Source string

	Site      string // empty for the left ventricle
	Preferred bool
}

// section is a measurement group prepared for reading.
type section struct {
	Name    string
	Site    string // empty for the left ventricle
	Lines   []line
	Remarks []string
}

// Title is the heading of the group; a method, so that the page can ask for it.
func (s section) Title() string {
	if s.Site == "" {
		return s.Name
	}
	return s.Name + ", " + s.Site
}

// page is a document prepared for reading.
type page struct {
	*Document
	Title, Status, Date, Study      string
	Born                            string // and sex
	Name                            string
	Disclaimer                      string
	AlgorithmName, AlgorithmVersion string
	Lines                           []line
	Groups                          []section
	Missing                         []NotMeasured
	Remarks                         []string
	Subject                         []line
	Figures                         []figure
	Maker                           string
	Images                          []image
}

// image is an image that the document refers to, with what it is called in it.
type image struct{ Name, UID string }

// Figure is a picture for [Document.WriteHTML].
type Figure struct {
	Title string
	// Type is the media type, "image/png" or "image/jpeg".
	Type string
	Data []byte
}

// figure is a Figure with its data within its address.
type figure struct {
	Title string
	URL   template.URL
}

func (d *Document) page() page {
	p := page{
		Document: d, Title: cmp.Or(d.Title, d.Root.Concept.Meaning), Missing: d.NotMeasured(), Name: ReadableName(d.PatientName),
		Status: strings.TrimSpace(strings.Join([]string{d.Preliminary, d.Completion, d.Verification}, " ")),
		Date:   readable(d.ContentDate, d.ContentTime), Study: readable(d.StudyDate, ""),
		Born: strings.TrimSpace(readable(d.PatientBirthDate, "") + " " + d.PatientSex),
	}
	p.AlgorithmName, p.AlgorithmVersion = d.Algorithm()
	for _, c := range d.Comments() {
		if c == Disclaimer || c == Signed {
			p.Disclaimer = c
		} else {
			p.Remarks = append(p.Remarks, c)
		}
	}
	p.Maker = d.Manufacturer
	for _, s := range []string{d.Model, d.Version} {
		if s != "" && s != p.Maker { // the maker may be called as what it makes
			p.Maker = strings.TrimSpace(p.Maker + " " + s)
		}
	}
	names := map[string]string{}
	for i, e := range d.Evidence {
		name := cmp.Or(d.Names[e.SOPInstanceUID], fmt.Sprintf("image %d", i+1))
		names[e.SOPInstanceUID] = name
		p.Images = append(p.Images, image{name, e.SOPInstanceUID})
	}
	for _, m := range d.Measurements() {
		l := line{Name: m.Concept.Meaning, Value: "-", Unit: unitText(m.Unit), Group: m.Group, Preferred: m.Selection != (Code{})}
		if m.HasValue {
			l.Value = m.Number
		}
		var about []string
		for _, c := range []Code{m.Stage, m.Method, m.View, m.Mode, m.CyclePoint, m.Derivation, m.Selection} {
			if c != (Code{}) {
				about = append(about, c.Meaning)
			}
		}
		l.Circumstances = strings.Join(about, ", ")
		for _, s := range m.Sources {
			if l.Source != "" {
				l.Source += "; "
			}
			l.Source += cmp.Or(names[s.SOPInstanceUID], "an image that is not listed")
			if s.Frame > 0 {
				l.Source += fmt.Sprintf(" frame %d", s.Frame)
			}
		}
		if m.Site != (Code{}) && !leftVentricle.is(m.Site) {
			l.Site = m.Site.Meaning
		}
		p.Lines = append(p.Lines, l)
	}
	for _, l := range p.Lines {
		if n := len(p.Groups); n == 0 || p.Groups[n-1].Name != l.Group || p.Groups[n-1].Site != l.Site {
			p.Groups = append(p.Groups, section{Name: l.Group, Site: l.Site})
		}
		g := &p.Groups[len(p.Groups)-1]
		g.Lines = append(g.Lines, l)
	}
	for _, r := range d.Remarks() {
		for i := range p.Groups {
			if p.Groups[i].Name == r.Group {
				p.Groups[i].Remarks = append(p.Groups[i].Remarks, r.Text)
				break
			}
		}
	}
	if s := d.Root.find(characteristics); s != nil {
		for _, it := range s.Children {
			l := line{Name: it.Concept.Meaning, Value: it.Number, Unit: unitText(it.Unit)}
			if it.Type == CodeValue {
				l.Value = it.Code.Meaning
			}
			p.Subject = append(p.Subject, l)
		}
	}
	return p
}

// unitText is a unit as people write it; of another scheme, as it says itself.
func unitText(c Code) string {
	if c.Scheme == "UCUM" && Unit(c.Value).Code() == c {
		return Unit(c.Value).Text()
	}
	return c.Meaning
}

// readable writes a DICOM date and time as 2006-01-02 15:04:05; values that are
// not valid are shown as they are.
func readable(date, clock string) string {
	if t, err := time.Parse("20060102", date); err == nil {
		date = t.Format("2006-01-02")
	}
	if i := strings.IndexByte(clock, '.'); i >= 0 {
		clock = clock[:i]
	}
	if t, err := time.Parse("150405", clock); err == nil {
		clock = t.Format("15:04:05")
	}
	return strings.TrimSpace(date + " " + clock)
}

// ReadableName writes a person name (PS3.5 6.2.1.1) with spaces for its
// component separators, the family name first. Of the alphabetic, ideographic
// and phonetic forms it takes the first that is there.
func ReadableName(pn string) string {
	form := ""
	for g := range strings.SplitSeq(pn, "=") {
		if form = strings.TrimSpace(strings.Trim(g, "^")); form != "" {
			form = g
			break
		}
	}
	family, rest, _ := strings.Cut(form, "^")
	given := strings.Join(strings.FieldsFunc(rest, func(r rune) bool { return r == '^' }), " ")
	if family == "" || given == "" {
		return family + given
	}
	return family + ", " + given
}

// WriteText renders the document as plain UTF-8 text for a person.
func (d *Document) WriteText(w io.Writer) error {
	p := d.page()
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n\n", p.Title, strings.Repeat("=", utf8.RuneCountInString(p.Title)))
	for _, f := range [][2]string{
		{"Status", p.Status}, {"Patient", p.Name}, {"Patient ID", d.PatientID},
		{"Born, sex", p.Born},
		{"Study", strings.TrimSpace(p.Study + " " + d.StudyDescription)}, {"Accession", d.Accession},
		{"Made", p.Date},
		{"By", p.Maker},
		{"Model", strings.TrimSpace(p.AlgorithmName + " " + p.AlgorithmVersion)},
	} {
		if f[1] != "" {
			fmt.Fprintf(&b, "%-11s %s\n", f[0]+":", f[1])
		}
	}
	if p.Disclaimer != "" {
		fmt.Fprintf(&b, "\n%s\n", p.Disclaimer)
	}
	if len(p.Subject) > 0 {
		fmt.Fprintf(&b, "\nPatient characteristics\n")
		writeLines(&b, p.Subject)
	}
	fmt.Fprintf(&b, "\nLeft ventricle\n")
	if len(p.Lines) == 0 {
		fmt.Fprintf(&b, "  No measurements.\n")
	}
	for _, g := range p.Groups {
		fmt.Fprintf(&b, "  [%s]\n", g.Title())
		writeLines(&b, g.Lines)
		for _, r := range g.Remarks {
			fmt.Fprintf(&b, "  - %s\n", r)
		}
	}
	if len(p.Missing) > 0 {
		fmt.Fprintf(&b, "\nNot measured\n")
		for _, m := range p.Missing {
			fmt.Fprintf(&b, "  %s: %s\n", m.What, m.Reason)
		}
	}
	if len(p.Remarks) > 0 {
		fmt.Fprintf(&b, "\nRemarks\n")
		for _, r := range p.Remarks {
			fmt.Fprintf(&b, "  %s\n", r)
		}
	}
	if len(p.Images) > 0 {
		fmt.Fprintf(&b, "\nImages\n")
		widest := 8
		for _, i := range p.Images {
			widest = max(widest, len(i.Name))
		}
		for _, i := range p.Images {
			fmt.Fprintf(&b, "  %-*s %s\n", widest, i.Name, i.UID)
		}
	}
	fmt.Fprintf(&b, "\nReport %s\n", d.SOPInstanceUID)
	_, err := io.WriteString(w, printable(b.String()))
	return err
}

// printable drops control characters, which text from objects may hold: a
// terminal would obey them.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' {
			return -1
		}
		return r
	}, s)
}

func writeLines(b *strings.Builder, lines []line) {
	for _, l := range lines {
		fmt.Fprintf(b, "  %-58s %8s %-9s %s\n", l.Name, l.Value, l.Unit, l.Circumstances)
	}
}

// WriteHTML renders the document as one self-contained HTML page, with figures
// after the values.
func (d *Document) WriteHTML(w io.Writer, figures ...Figure) error {
	t, err := template.New("report").Parse(pageHTML)
	if err != nil {
		return err
	}
	p := d.page()
	for _, f := range figures {
		// The address is made here, of our own pictures.
		p.Figures = append(p.Figures, figure{f.Title, template.URL("data:" + f.Type + ";base64," + base64.StdEncoding.EncodeToString(f.Data))})
	}
	var b strings.Builder
	if err := t.Execute(&b, p); err != nil {
		return err
	}
	_, err = io.WriteString(w, printable(b.String()))
	return err
}

const pageHTML = `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{{.Title}}</title>
<style>
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#1b1f24}
h1{font-size:1.4rem;margin-bottom:.2rem}h2{font-size:1.1rem;margin-top:1.6rem}h3{font-size:1rem;margin-bottom:.3rem}
.status{font-weight:600;color:#8a4b00}.notice{background:#fff4e0;border:1px solid #e8c27a;padding:.5rem .8rem}
dl{display:grid;grid-template-columns:9rem 1fr;gap:.15rem .8rem}dt{color:#57606a}dd{margin:0}
table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid #d8dee4;padding:.3rem .5rem;text-align:left;vertical-align:top}
figure{margin:1.2rem 0}img{max-width:100%;height:auto}
td.n{text-align:right;font-variant-numeric:tabular-nums}.about{color:#57606a;font-size:.9em}code{font-size:.85em;word-break:break-all}
</style></head><body>
<h1>{{.Title}}</h1>
<p class="status">{{.Status}}</p>
{{with .Disclaimer}}<p class="notice">{{.}}</p>{{end}}
<dl>
<dt>Patient</dt><dd>{{.Name}} {{with .PatientID}}({{.}}){{end}}</dd>
{{with .Born}}<dt>Born, sex</dt><dd>{{.}}</dd>
{{end}}<dt>Study</dt><dd>{{.Study}} {{.StudyDescription}}</dd>
{{with .Accession}}<dt>Accession</dt><dd>{{.}}</dd>{{end}}
<dt>Made</dt><dd>{{.Date}} by {{.Maker}}</dd>
{{with .AlgorithmName}}<dt>Model</dt><dd>{{.}} {{$.AlgorithmVersion}}</dd>{{end}}
</dl>
{{if .Subject}}<h2>Patient characteristics</h2>
<table>{{range .Subject}}<tr><td>{{.Name}}</td><td class="n">{{.Value}}</td><td>{{.Unit}}</td></tr>{{end}}</table>{{end}}
<h2>Left ventricle</h2>
{{range .Groups}}<h3>{{.Title}}</h3>
<table><tr><th>Measurement</th><th>Value</th><th>Unit</th><th>Circumstances</th></tr>
{{range .Lines}}<tr><td>{{if .Preferred}}<strong>{{.Name}}</strong>{{else}}{{.Name}}{{end}}</td>{{- /* the same line */ -}}
<td class="n">{{.Value}}</td><td>{{.Unit}}</td><td class="about">{{.Circumstances}}{{with .Source}}<br>{{.}}{{end}}</td></tr>
{{end}}</table>
{{if .Remarks}}<ul>{{range .Remarks}}<li>{{.}}</li>{{end}}</ul>{{end}}
{{else}}<p>No measurements.</p>{{end}}
{{range .Figures}}<figure><img src="{{.URL}}" alt="{{.Title}}"><figcaption class="about">{{.Title}}</figcaption></figure>
{{end}}{{if .Missing}}<h2>Not measured</h2><table>{{range .Missing}}<tr><td>{{.What}}</td><td>{{.Reason}}</td></tr>{{end}}</table>{{end}}
{{if .Remarks}}<h2>Remarks</h2><ul>{{range .Remarks}}<li>{{.}}</li>{{end}}</ul>{{end}}
{{if .Images}}<details><summary>Images</summary><ul>{{range .Images}}<li>{{.Name}}: <code>{{.UID}}</code></li>{{end}}</ul></details>{{end}}
<p class="about">Report <code>{{.SOPInstanceUID}}</code></p>
</body></html>
`
