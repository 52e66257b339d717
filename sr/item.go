package sr

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/instance"
	"github.com/echonode/echonode/dicomio/tag"
)

// ValueType is the type of a content item (PS3.3 C.17.3.2.1).
type ValueType string

// The value types that this package makes.
const (
	Container ValueType = "CONTAINER"
	CodeValue ValueType = "CODE"
	Num       ValueType = "NUM"
	Text      ValueType = "TEXT"
	UIDRef    ValueType = "UIDREF"
	Image     ValueType = "IMAGE"
	Composite ValueType = "COMPOSITE"
	SCoord    ValueType = "SCOORD"
)

// Relationship is the relation of a content item to its parent
// (PS3.3 C.17.3.2.4).
type Relationship string

// The relationships that this package makes.
const (
	Contains      Relationship = "CONTAINS"
	HasConceptMod Relationship = "HAS CONCEPT MOD"
	HasObsContext Relationship = "HAS OBS CONTEXT"
	HasAcqContext Relationship = "HAS ACQ CONTEXT"
	HasProperties Relationship = "HAS PROPERTIES"
	InferredFrom  Relationship = "INFERRED FROM"
	SelectedFrom  Relationship = "SELECTED FROM"
)

// Item is a node of the content tree. Which of the value fields count depends
// on Type; items of types that this package does not make keep their text, if
// they have one.
type Item struct {
	Relationship Relationship
	Type         ValueType
	Concept      Code
	Template     string // identifier of the DCMR template of a container
	Continuity   string // of a container
	Code         Code   // CODE
	Text         string // TEXT, UIDREF
	Number       string // NUM, as written; empty when there is no value
	Unit         Code   // NUM
	Image        ImageRef
	Graphic      Graphic
	Children     []*Item
	// Reference is the path of a by-reference item; such an item has no
	// content of its own.
	Reference []int
}

// ImageRef points at an image or at some of its frames.
type ImageRef struct {
	SOPClassUID, SOPInstanceUID string
	Frames                      []int // from 1; empty for all
}

// Graphic is a spatial coordinate: column and row pairs whose origin is the
// top left corner of the top left pixel (PS3.3 C.18.6).
type Graphic struct {
	Type string // POINT, MULTIPOINT, POLYLINE, CIRCLE, ELLIPSE
	Data []float64
}

// Value is the number of a NUM item.
func (it *Item) Value() (float64, bool) {
	v, err := strconv.ParseFloat(strings.TrimSpace(it.Number), 64)
	return v, err == nil && !math.IsNaN(v) && !math.IsInf(v, 0)
}

// Find returns the first child with the concept, in either code set.
func (it *Item) find(t term) *Item {
	for _, c := range it.Children {
		if t.is(c.Concept) {
			return c
		}
	}
	return nil
}

func (it *Item) add(children ...*Item) *Item {
	it.Children = append(it.Children, children...)
	return it
}

// Walk visits the item and everything below it, depth first, with the path of
// positions from 1 that identifies an item within its document.
func (it *Item) Walk(visit func(path []int, it *Item)) { it.walk([]int{1}, visit) }

func (it *Item) walk(path []int, visit func([]int, *Item)) {
	visit(path, it)
	for i, c := range it.Children {
		c.walk(append(slices.Clip(path), i+1), visit)
	}
}

// formatNumber writes a value with the decimals that its unit deserves, without
// an exponent, in the 16 characters of a decimal string. More digits than a
// measurement carries would claim a precision that it does not have.
func formatNumber(v float64, u Unit) (string, error) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "", fmt.Errorf("value is %v", v)
	}
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(v, 'f', u.decimals(), 64), 64)
	if err != nil {
		return "", err
	}
	s := strconv.FormatFloat(rounded, 'f', -1, 64)
	if len(s) > 16 {
		return "", fmt.Errorf("value %g does not fit a decimal string", v)
	}
	return s, nil
}

// withDecimals appends the zeros that a number lacks to so many decimals: 27 cm2
// that were measured to a tenth are 27.0.
func withDecimals(number string, n int) string {
	_, decimals, point := strings.Cut(number, ".")
	missing := n - len(decimals)
	if missing <= 0 || len(number)+missing+1 > 16 {
		return number
	}
	if !point {
		number += "."
	}
	return number + strings.Repeat("0", missing)
}

// encode writes the item and its children into ds.
func (it *Item) encode(ds *dicomio.DataSet) {
	ds.SetString(tag.ValueType, string(it.Type))
	if it.Concept != (Code{}) {
		ds.SetItems(tag.ConceptNameCodeSequence, codeItem(it.Concept))
	}
	switch it.Type {
	case Container:
		ds.SetString(tag.ContinuityOfContent, it.Continuity)
		if it.Template != "" {
			t := dicomio.NewDataSet()
			t.SetString(tag.MappingResource, "DCMR")
			t.SetString(tag.TemplateIdentifier, it.Template)
			ds.SetItems(tag.ContentTemplateSequence, t)
		}
	case CodeValue:
		ds.SetItems(tag.ConceptCodeSequence, codeItem(it.Code))
	case Text:
		ds.SetString(tag.TextValue, it.Text)
	case UIDRef:
		ds.SetString(tag.UID, it.Text)
	case Num:
		v := dicomio.NewDataSet()
		v.SetString(tag.NumericValue, it.Number)
		v.SetItems(tag.MeasurementUnitsCodeSequence, codeItem(it.Unit))
		ds.SetItems(tag.MeasuredValueSequence, v)
	case Image, Composite:
		ref := instance.Ref{SOPClassUID: it.Image.SOPClassUID, SOPInstanceUID: it.Image.SOPInstanceUID}.SOP()
		if len(it.Image.Frames) > 0 {
			frames := make([]int64, len(it.Image.Frames))
			for i, f := range it.Image.Frames {
				frames[i] = int64(f)
			}
			ref.SetInt(tag.ReferencedFrameNumber, frames...)
		}
		ds.SetItems(tag.ReferencedSOPSequence, ref)
	case SCoord:
		ds.SetString(tag.GraphicType, it.Graphic.Type)
		ds.SetFloat(tag.GraphicData, it.Graphic.Data...)
	}
	if len(it.Children) == 0 {
		return
	}
	items := make([]*dicomio.DataSet, len(it.Children))
	for i, c := range it.Children {
		items[i] = dicomio.NewDataSet()
		items[i].SetString(tag.RelationshipType, string(c.Relationship))
		c.encode(items[i])
	}
	ds.SetItems(tag.ContentSequence, items...)
}

func codeItem(c Code) *dicomio.DataSet { return instance.Code(c.Value, c.Scheme, c.Meaning) }

// errTooDeep guards against hostile nesting.
var errTooDeep = errors.New("content tree is nested too deeply")

const maxDepth = 64

// decode reads a content item from a data set.
func decode(ds *dicomio.DataSet, depth int) (*Item, error) {
	if depth > maxDepth {
		return nil, errTooDeep
	}
	it := &Item{
		Relationship: Relationship(ds.String(tag.RelationshipType)),
		Type:         ValueType(ds.String(tag.ValueType)),
		Concept:      readCode(ds, tag.ConceptNameCodeSequence),
	}
	for _, v := range ds.Floats(tag.ReferencedContentItemIdentifier) {
		it.Reference = append(it.Reference, int(v))
	}
	switch it.Type {
	case Container:
		it.Continuity = ds.String(tag.ContinuityOfContent)
		for _, t := range ds.Items(tag.ContentTemplateSequence) {
			if t.String(tag.MappingResource) == "DCMR" {
				it.Template = t.String(tag.TemplateIdentifier)
			}
		}
	case CodeValue:
		it.Code = readCode(ds, tag.ConceptCodeSequence)
	case UIDRef:
		it.Text = ds.String(tag.UID)
	case "PNAME":
		it.Text = ds.String(tag.PersonName)
	case "DATE":
		it.Text = ds.String(tag.Date)
	case "TIME":
		it.Text = ds.String(tag.Time)
	case "DATETIME":
		it.Text = ds.String(tag.DateTime)
	case Num:
		if v := ds.Item(tag.MeasuredValueSequence, 0); v != nil {
			it.Number = v.String(tag.NumericValue)
			it.Unit = readCode(v, tag.MeasurementUnitsCodeSequence)
		}
	case Image:
		if r := ds.Item(tag.ReferencedSOPSequence, 0); r != nil {
			it.Image = ImageRef{
				SOPClassUID: r.String(tag.ReferencedSOPClassUID), SOPInstanceUID: r.String(tag.ReferencedSOPInstanceUID),
			}
			for _, f := range r.Floats(tag.ReferencedFrameNumber) {
				it.Image.Frames = append(it.Image.Frames, int(f))
			}
		}
	case SCoord:
		it.Graphic = Graphic{Type: ds.String(tag.GraphicType), Data: ds.Floats(tag.GraphicData)}
	default: // TEXT and types that this package does not make
		it.Text = ds.String(tag.TextValue)
	}
	for _, c := range ds.Items(tag.ContentSequence) {
		child, err := decode(c, depth+1)
		if err != nil {
			return nil, err
		}
		it.Children = append(it.Children, child)
	}
	return it, nil
}

func readCode(ds *dicomio.DataSet, t dicomio.Tag) Code {
	c := ds.Item(t, 0)
	if c == nil {
		return Code{}
	}
	value := c.String(tag.CodeValue)
	if value == "" {
		value = c.String(tag.LongCodeValue)
	}
	return Code{value, c.String(tag.CodingSchemeDesignator), c.String(tag.CodeMeaning)}
}
