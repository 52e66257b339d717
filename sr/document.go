package sr

import (
	"errors"
	"fmt"
	"strings"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/instance"
	"github.com/echonode/echonode/dicomio/tag"
)

// ErrNotReport says that a data set is not a structured report.
var ErrNotReport = errors.New("not a structured report")

// Document is a structured report as read from a data set.
type Document struct {
	SOPClassUID    string
	SOPInstanceUID string
	// Patient and study, for a reader.
	PatientName, PatientID, PatientSex, PatientBirthDate string
	StudyUID, StudyDate, StudyDescription, Accession     string
	Completion, Verification, Preliminary                string
	ContentDate, ContentTime                             string
	Manufacturer, Model, Version                         string
	Evidence                                             []instance.Ref
	Predecessors                                         []instance.Ref
	Root                                                 *Item
	// Title heads what is written of the document; empty for that of the template.
	Title string
	// Names are what the reader calls an image, by SOP Instance UID ("loop 3"). They are
	// not in the object; an image without one is called by its place in Evidence.
	Names map[string]string
}

// Parse reads a structured report. Content it does not know stays in the tree.
func Parse(ds *dicomio.DataSet) (*Document, error) {
	if ds == nil || ds.String(tag.ValueType) != string(Container) {
		return nil, ErrNotReport
	}
	root, err := decode(ds, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotReport, err)
	}
	return &Document{
		SOPClassUID: ds.String(tag.SOPClassUID), SOPInstanceUID: ds.String(tag.SOPInstanceUID),
		PatientName: ds.String(tag.PatientName), PatientID: ds.String(tag.PatientID),
		PatientSex: ds.String(tag.PatientSex), PatientBirthDate: ds.String(tag.PatientBirthDate),
		StudyUID: ds.String(tag.StudyInstanceUID), StudyDate: ds.String(tag.StudyDate),
		StudyDescription: ds.String(tag.StudyDescription), Accession: ds.String(tag.AccessionNumber),
		Completion: ds.String(tag.CompletionFlag), Verification: ds.String(tag.VerificationFlag),
		Preliminary: ds.String(tag.PreliminaryFlag),
		ContentDate: ds.String(tag.ContentDate), ContentTime: ds.String(tag.ContentTime),
		Manufacturer: ds.String(tag.Manufacturer), Model: ds.String(tag.ManufacturerModelName),
		Version:      ds.String(tag.SoftwareVersions),
		Evidence:     readRefs(ds.Items(tag.CurrentRequestedProcedureEvidenceSequence)),
		Predecessors: readRefs(ds.Items(tag.PredecessorDocumentsSequence)),
		Root:         root,
	}, nil
}

// readRefs flattens a hierarchical reference sequence.
func readRefs(studies []*dicomio.DataSet) []instance.Ref {
	var out []instance.Ref
	for _, study := range studies {
		for _, series := range study.Items(tag.ReferencedSeriesSequence) {
			for _, sop := range series.Items(tag.ReferencedSOPSequence) {
				out = append(out, instance.Ref{
					StudyUID: study.String(tag.StudyInstanceUID), SeriesUID: series.String(tag.SeriesInstanceUID),
					SOPClassUID:    sop.String(tag.ReferencedSOPClassUID),
					SOPInstanceUID: sop.String(tag.ReferencedSOPInstanceUID),
				})
			}
		}
	}
	return out
}

// Reading is a measurement as it stands in a document, of whatever origin.
// Codes that are not there are zero.
type Reading struct {
	Concept  Code
	Value    float64
	HasValue bool
	Number   string // the value as it is written
	Unit     Code

	Site, Method, Mode, View          Code
	CyclePoint, Derivation, Selection Code
	Spread                            *Spread
	Group                             string // Acquisition Protocol of its measurement group
	Stage                             Code   // of its measurement group
	Sources                           []Source
	Path                              []int // of the item in the document
}

// Measurements lists the numbers within findings sections, in the order of the
// document.
func (d *Document) Measurements() []Reading {
	var out []Reading
	// about is what containers say of the numbers within.
	type about struct {
		in                bool
		site, mode, stage Code
		group             string
	}
	var walk func(it *Item, path []int, a about)
	walk = func(it *Item, path []int, a about) {
		if findings.is(it.Concept) {
			a.in = true
			if s := it.find(findingSite); s != nil {
				a.site = s.Code
			}
		}
		if group.is(it.Concept) {
			if m := it.find(imageMode); m != nil {
				a.mode = m.Code
			}
			if s := it.find(stage); s != nil {
				a.stage = s.Code
			}
			for _, c := range it.Children {
				if protocol.is(c.Concept) {
					a.group = c.Text + c.Code.Meaning
				}
			}
		}
		if it.Type == Num && a.in {
			r := reading(it, path)
			if r.Site == (Code{}) {
				r.Site = a.site
			}
			if r.Mode == (Code{}) {
				r.Mode = a.mode
			}
			r.Group, r.Stage = a.group, a.stage
			out = append(out, r)
			return
		}
		if it.Type != Container {
			return
		}
		for i, c := range it.Children {
			walk(c, append(path[:len(path):len(path)], i+1), a)
		}
	}
	walk(d.Root, []int{1}, about{})
	return out
}

func reading(it *Item, path []int) Reading {
	r := Reading{Concept: it.Concept, Unit: it.Unit, Path: path}
	r.Value, r.HasValue = it.Value()
	r.Number = strings.TrimSpace(it.Number)
	for _, c := range it.Children {
		for _, f := range []struct {
			concept term
			to      *Code
		}{
			{findingSite, &r.Site}, {measureMethod, &r.Method}, {imageMode, &r.Mode}, {imageView, &r.View},
			{cyclePoint, &r.CyclePoint}, {derivation, &r.Derivation}, {selection, &r.Selection},
		} {
			if f.concept.is(c.Concept) && c.Type == CodeValue {
				*f.to = c.Code
			}
		}
		if v, ok := c.Value(); ok && c.Type == Num && c.Relationship == HasProperties {
			r.property(c.Concept, v)
		}
		if c.Relationship != InferredFrom {
			continue
		}
		switch c.Type {
		case Image:
			r.Sources = append(r.Sources, sourceOfImage(c))
		case SCoord:
			for _, img := range c.Children {
				if img.Type == Image {
					s := sourceOfImage(img)
					for i := 0; i+1 < len(c.Graphic.Data); i += 2 {
						s.Contour = append(s.Contour, Point{c.Graphic.Data[i] - 0.5, c.Graphic.Data[i+1] - 0.5})
					}
					if n := len(s.Contour); n > 3 && s.Contour[0] == s.Contour[n-1] {
						s.Contour, s.Closed = s.Contour[:n-1], true
					}
					r.Sources = append(r.Sources, s)
				}
			}
		}
	}
	return r
}

// property takes a number that tells of the value.
func (r *Reading) property(concept Code, v float64) {
	if !deviation.is(concept) && !beatCount.is(concept) {
		return
	}
	if r.Spread == nil {
		r.Spread = &Spread{}
	}
	if deviation.is(concept) {
		r.Spread.SD = v
	} else {
		r.Spread.Beats = int(v)
	}
}

func sourceOfImage(it *Item) Source {
	s := Source{SOPInstanceUID: it.Image.SOPInstanceUID}
	if len(it.Image.Frames) > 0 {
		s.Frame = it.Image.Frames[0]
	}
	return s
}

// NotMeasured lists what the document says is missing.
func (d *Document) NotMeasured() []NotMeasured {
	var out []NotMeasured
	for _, c := range d.commentTexts() {
		if rest, ok := strings.CutPrefix(c, notMeasuredPrefix); ok {
			what, reason, _ := strings.Cut(rest, ": ")
			out = append(out, NotMeasured{what, reason})
		}
	}
	return out
}

// Comments lists the other remarks of the document.
func (d *Document) Comments() []string {
	var out []string
	for _, c := range d.commentTexts() {
		if !strings.HasPrefix(c, notMeasuredPrefix) {
			out = append(out, c)
		}
	}
	return out
}

func (d *Document) commentTexts() []string {
	var out []string
	for _, c := range d.Root.Children {
		if c.Type == Text && comment.is(c.Concept) {
			out = append(out, c.Text)
		}
	}
	return out
}

// Remark is a comment on the values of a measurement group.
type Remark struct{ Group, Text string }

// Remarks lists the comments of the measurement groups.
func (d *Document) Remarks() []Remark {
	var out []Remark
	d.Root.Walk(func(_ []int, it *Item) {
		if it.Type != Container || !group.is(it.Concept) {
			return
		}
		name := ""
		for _, c := range it.Children {
			switch {
			case protocol.is(c.Concept):
				name = c.Text + c.Code.Meaning
			case comment.is(c.Concept) && c.Type == Text:
				out = append(out, Remark{name, c.Text})
			}
		}
	})
	return out
}

// Algorithm is the name and version found with the first measurement that has
// them, or in the observer context.
func (d *Document) Algorithm() (name, version string) {
	d.Root.Walk(func(_ []int, it *Item) {
		if it.Type == Text && algorithmName.is(it.Concept) && name == "" {
			name = it.Text
		}
		if it.Type == Text && algorithmVer.is(it.Concept) && version == "" {
			version = it.Text
		}
	})
	return name, version
}
