package sr

import (
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/instance"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
)

// Rule names what a [Problem] violates.
type Rule string

// The rules of [Check].
const (
	RuleHeader       Rule = "header"
	RuleTemplate     Rule = "template"
	RuleObserver     Rule = "observer"
	RuleRelationship Rule = "relationship"
	RuleConcept      Rule = "concept"
	RuleMeaning      Rule = "meaning"
	RuleCodeset      Rule = "codeset"
	RuleValue        Rule = "value"
	RuleUnit         Rule = "unit"
	RuleFindingSite  Rule = "finding-site"
	RuleGroup        Rule = "group"
	RuleDuplicate    Rule = "duplicate"
	RuleGraphic      Rule = "graphic"
	RuleEvidence     Rule = "evidence"
)

// Problem is one fault of a document.
type Problem struct {
	Rule   Rule   `json:"rule"`
	Path   string `json:"path"` // position of the item, "1" is the root
	Detail string `json:"detail"`
}

// String is the whole problem in one line.
func (p Problem) String() string { return fmt.Sprintf("%s at %s: %s", p.Rule, p.Path, p.Detail) }

// Check compares a report of this package with TID 5200, the code tables and
// the evidence that it should reference. It covers what dciodvfy and dsrdump
// leave out: the template identifier, the finding site, the membership of
// concepts and units in their tables, the meanings, the code set, and the
// equality of evidence and references; and repeats what only one of the two
// sees. The result is empty for a good document.
func Check(ds *dicomio.DataSet, evidence []instance.Ref) []Problem {
	doc, err := Parse(ds)
	if err != nil {
		return []Problem{{RuleHeader, "1", err.Error()}}
	}
	c := &checker{ds: ds, doc: doc, meanings: map[codeKey]string{}, names: map[codeKey]bool{}}
	c.index()
	c.header()
	c.root()
	doc.Root.Walk(func(path []int, it *Item) { c.item(pathString(path), it) })
	c.relations(doc.Root, []int{1})
	c.measurements()
	c.evidence(evidence)
	if c.sct && c.srt {
		c.fail(RuleCodeset, "1", "SCT and SRT codes in one document")
	}
	return c.problems
}

type checker struct {
	ds       *dicomio.DataSet
	doc      *Document
	meanings map[codeKey]string // of every code in the tables
	names    map[codeKey]bool   // codes that may be concept names
	problems []Problem
	sct, srt bool
}

func (c *checker) fail(r Rule, path, format string, args ...any) {
	c.problems = append(c.problems, Problem{r, path, fmt.Sprintf(format, args...)})
}

func pathString(path []int) string {
	parts := make([]string, len(path))
	for i, p := range path {
		parts[i] = strconv.Itoa(p)
	}
	return strings.Join(parts, ".")
}

func (c *checker) header() {
	if !slices.Contains([]string{uid.EnhancedSRStorage, uid.ComprehensiveSRStorage}, c.doc.SOPClassUID) {
		c.fail(RuleHeader, "1", "SOP class %q", c.doc.SOPClassUID)
	}
	if m := c.ds.String(tag.Modality); m != "SR" {
		c.fail(RuleHeader, "1", "modality %q", m)
	}
	for _, t := range []dicomio.Tag{
		tag.SOPInstanceUID, tag.StudyInstanceUID, tag.SeriesInstanceUID, tag.SeriesNumber, tag.InstanceNumber,
		tag.ContentDate, tag.ContentTime, tag.Manufacturer,
	} {
		if c.ds.String(t) == "" {
			c.fail(RuleHeader, "1", "%s is missing", tag.Keyword(t))
		}
	}
	if c.doc.Completion != "COMPLETE" {
		c.fail(RuleHeader, "1", "completion flag %q", c.doc.Completion)
	}
	c.verification()
	if a := c.ds.Item(tag.AuthorObserverSequence, 0); a == nil || a.String(tag.ObserverType) != "DEV" {
		c.fail(RuleObserver, "1", "author observer is not a device")
	}
}

// verification: nobody has verified a preliminary report; a final one says who.
func (c *checker) verification() {
	observers := c.ds.Items(tag.VerifyingObserverSequence)
	switch flags := c.doc.Verification + " " + c.doc.Preliminary; flags {
	case "UNVERIFIED PRELIMINARY":
		if len(observers) > 0 {
			c.fail(RuleHeader, "1", "an unverified report has a verifying observer")
		}
	case "VERIFIED FINAL":
		if len(observers) == 0 {
			c.fail(RuleHeader, "1", "a verified report has no verifying observer")
		}
		for _, o := range observers {
			if o.String(tag.VerifyingObserverName) == "" || o.String(tag.VerifyingOrganization) == "" || o.String(tag.VerificationDateTime) == "" {
				c.fail(RuleHeader, "1", "a verifying observer without name, organisation or time")
			}
		}
	default:
		c.fail(RuleHeader, "1", "verification and preliminary flags %q", flags)
	}
}

func (c *checker) root() {
	r := c.doc.Root
	if !reportTitle.is(r.Concept) {
		c.fail(RuleTemplate, "1", "title is %q", r.Concept.Meaning)
	}
	if r.Template != Template {
		c.fail(RuleTemplate, "1", "template identifier is %q", r.Template)
	}
	if o := r.find(observerType); o == nil || !device.is(o.Code) {
		c.fail(RuleObserver, "1", "observer type is not Device")
	}
	if o := r.find(observerUID); o == nil || o.Text == "" {
		c.fail(RuleObserver, "1", "no Device Observer UID")
	}
	for i, it := range r.Children {
		path := fmt.Sprintf("1.%d", i+1)
		switch {
		case findings.is(it.Concept):
			c.section(path, it)
		case imageLibrary.is(it.Concept) && len(it.Children) == 0:
			c.fail(RuleTemplate, path, "image library is empty")
		case characteristics.is(it.Concept) && it.find(bsa) == nil:
			c.fail(RuleTemplate, path, "patient characteristics without body surface area")
		}
	}
}

func (c *checker) section(path string, it *Item) {
	site := it.find(findingSite)
	if site == nil || site.Relationship != HasConceptMod || !slices.ContainsFunc(sites, func(t term) bool { return t.is(site.Code) }) {
		c.fail(RuleFindingSite, path, "findings without the finding site Left Ventricle or Left Atrium")
	}
	groups := 0
	for i, g := range it.Children {
		if !group.is(g.Concept) {
			continue
		}
		groups++
		if !slices.ContainsFunc(g.Children, func(n *Item) bool { return n.Type == Num }) {
			c.fail(RuleGroup, fmt.Sprintf("%s.%d", path, i+1), "measurement group without a measurement")
		}
	}
	if groups == 0 {
		c.fail(RuleGroup, path, "findings without a measurement group")
	}
}

// item checks what each content item must have by itself.
func (c *checker) item(path string, it *Item) {
	if len(it.Reference) > 0 {
		c.fail(RuleRelationship, path, "by-reference relationship")
		return
	}
	if it.Concept == (Code{}) {
		c.fail(RuleConcept, path, "%s without concept name", it.Type)
	}
	if it.Concept != (Code{}) {
		c.code(path, it.Concept)
		if !c.names[keyOf(it.Concept)] {
			c.fail(RuleConcept, path, "(%s, %s, %q) is in no table", it.Concept.Value, it.Concept.Scheme, it.Concept.Meaning)
		}
	}
	switch it.Type {
	case Container:
		if it.Continuity != "SEPARATE" && it.Continuity != "CONTINUOUS" {
			c.fail(RuleValue, path, "continuity of content %q", it.Continuity)
		}
	case CodeValue:
		c.code(path, it.Code)
		c.coded(path, it)
	case Text, UIDRef:
		if it.Text == "" {
			c.fail(RuleValue, path, "empty %s", it.Type)
		}
	case Num:
		c.num(path, it)
	case Image:
		c.image(path, it)
	case SCoord:
		c.graphic(path, it)
	default:
		c.fail(RuleTemplate, path, "value type %q", it.Type)
	}
}

// code checks that a code is whole and carries the meaning of the table.
func (c *checker) code(path string, code Code) {
	if code.Value == "" || code.Scheme == "" || code.Meaning == "" {
		c.fail(RuleConcept, path, "incomplete code (%s, %s, %q)", code.Value, code.Scheme, code.Meaning)
		return
	}
	switch code.Scheme {
	case "SCT":
		c.sct = true
	case "SRT":
		c.srt = true
	}
	if meaning, ok := c.meanings[keyOf(code)]; ok && meaning != code.Meaning {
		c.fail(RuleMeaning, path, "(%s, %s) means %q, not %q", code.Value, code.Scheme, meaning, code.Meaning)
	}
}

// codeKey is the identity of a code.
type codeKey struct{ value, scheme string }

func keyOf(c Code) codeKey { return codeKey{c.Value, c.Scheme} }

// index collects the tables of the package by code.
func (c *checker) index() {
	enter := func(t term, name bool) {
		for _, code := range [2]Code{t.sct, t.srt} {
			c.meanings[keyOf(code)] = code.Meaning
			if name {
				c.names[keyOf(code)] = true
			}
		}
	}
	for _, t := range structure() {
		enter(t, true)
	}
	for _, q := range quantities {
		enter(q.term, true)
	}
	for _, table := range []iter.Seq[term]{
		maps.Values(methods), maps.Values(modes), maps.Values(views), maps.Values(cyclePoints),
		maps.Values(derivations), maps.Values(selections), maps.Values(stages), maps.Values(bsaFormulas),
	} {
		for t := range table {
			enter(t, false)
		}
	}
}

// coded checks that the value of a modifier is in the table of its concept.
func (c *checker) coded(path string, it *Item) {
	ok := true
	switch {
	case measureMethod.is(it.Concept):
		ok = among(methods, it.Code)
	case imageMode.is(it.Concept):
		ok = among(modes, it.Code)
	case imageView.is(it.Concept):
		ok = among(views, it.Code)
	case cyclePoint.is(it.Concept):
		ok = among(cyclePoints, it.Code)
	case derivation.is(it.Concept):
		ok = among(derivations, it.Code)
	case selection.is(it.Concept):
		ok = among(selections, it.Code)
	case stage.is(it.Concept):
		ok = among(stages, it.Code)
	case bsaFormula.is(it.Concept):
		ok = among(bsaFormulas, it.Code)
	case subjectSex.is(it.Concept):
		ok = among(sexes, it.Code)
	}
	if !ok {
		c.fail(RuleValue, path, "(%s, %s, %q) is no value of %s", it.Code.Value, it.Code.Scheme, it.Code.Meaning, it.Concept.Meaning)
	}
}

func among[K comparable](table map[K]term, code Code) bool {
	for _, t := range table {
		if t.is(code) {
			return true
		}
	}
	return false
}

func (c *checker) num(path string, it *Item) {
	if len(it.Number) > 16 {
		c.fail(RuleValue, path, "numeric value of %d characters", len(it.Number))
	}
	if v, ok := it.Value(); !ok {
		c.fail(RuleValue, path, "numeric value %q", it.Number)
	} else if q, known := QuantityOf(it.Concept); known && !quantities[q].admits(v) || !known && (v < 0 || v == 0 && !deviation.is(it.Concept)) {
		c.fail(RuleValue, path, "value %g", v)
	}
	if it.Unit == (Code{}) {
		c.fail(RuleUnit, path, "no unit")
		return
	}
	if want := Unit(it.Unit.Value).Code(); it.Unit != want {
		c.fail(RuleUnit, path, "unit (%s, %s, %q) should be (%s, %s, %q)",
			it.Unit.Value, it.Unit.Scheme, it.Unit.Meaning, want.Value, want.Scheme, want.Meaning)
	}
	allowed := map[Code]Unit{subjectAge.sct: Year, height.sct: CM, weight.sct: Kilogram, bsa.sct: M2}
	if u, ok := allowed[it.Concept]; ok {
		if it.Unit.Value != string(u) {
			c.fail(RuleUnit, path, "%s in %q", it.Concept, it.Unit.Value)
		}
		return
	}
	if q, ok := QuantityOf(it.Concept); ok && !slices.Contains(quantities[q].units, Unit(it.Unit.Value)) {
		c.fail(RuleUnit, path, "%s in %q", q, it.Unit.Value)
	}
}

func (c *checker) image(path string, it *Item) {
	if it.Image.SOPClassUID == "" || it.Image.SOPInstanceUID == "" {
		c.fail(RuleEvidence, path, "image reference without class or instance UID")
	} else if !instance.IsImage(it.Image.SOPClassUID) {
		c.fail(RuleEvidence, path, "%s is no image: its class is %s", it.Image.SOPInstanceUID, it.Image.SOPClassUID)
	}
	for _, f := range it.Image.Frames {
		if f < 1 {
			c.fail(RuleGraphic, path, "frame number %d", f)
		}
	}
}

func (c *checker) graphic(path string, it *Item) {
	g := it.Graphic
	n := len(g.Data)
	if n%2 != 0 {
		c.fail(RuleGraphic, path, "%d coordinate values", n)
	}
	least, known := map[string]int{"POINT": 1, "MULTIPOINT": 1, "POLYLINE": 2, "CIRCLE": 2, "ELLIPSE": 4}[g.Type]
	switch {
	case !known:
		c.fail(RuleGraphic, path, "graphic type %q", g.Type)
	case n/2 < least:
		c.fail(RuleGraphic, path, "%s of %d points", g.Type, n/2)
	}
	for _, v := range g.Data {
		if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
			c.fail(RuleGraphic, path, "coordinate %v", v)
			break
		}
	}
	if len(it.Children) == 0 {
		c.fail(RuleGraphic, path, "coordinates without an image")
	}
}

// relations checks the relationships against PS3.3 table A.35.3-2
// (Comprehensive SR), and the narrower A.35.2-2 for Enhanced SR.
func (c *checker) relations(parent *Item, path []int) {
	for i, it := range parent.Children {
		p := append(path[:len(path):len(path)], i+1)
		if !c.allowed(parent.Type, it.Relationship, it.Type) {
			c.fail(RuleRelationship, pathString(p), "%s %s %s", parent.Type, it.Relationship, it.Type)
		}
		c.relations(it, p)
	}
}

func (c *checker) allowed(parent ValueType, rel Relationship, child ValueType) bool {
	switch rel {
	case Contains:
		return parent == Container
	case HasConceptMod:
		return child == Text || child == CodeValue
	case HasObsContext:
		if parent != Container && (c.doc.SOPClassUID == uid.EnhancedSRStorage || !slices.Contains([]ValueType{Text, CodeValue, Num}, parent)) {
			return false
		}
		return slices.Contains([]ValueType{Text, CodeValue, Num, UIDRef, "DATE", "TIME", "DATETIME", "PNAME", "COMPOSITE"}, child)
	case HasAcqContext:
		return slices.Contains([]ValueType{Container, Image, "WAVEFORM", "COMPOSITE", Num}, parent) &&
			slices.Contains([]ValueType{Text, CodeValue, Num, UIDRef, "DATE", "TIME", "DATETIME", "PNAME", Container}, child)
	case HasProperties, InferredFrom:
		return slices.Contains([]ValueType{Text, CodeValue, Num}, parent)
	case SelectedFrom:
		return parent == SCoord && child == Image
	}
	return false
}

// measurements checks the numbers of the findings: each must be a quantity of
// the table, and importers that take the first value of a concept must meet the
// preferred one.
func (c *checker) measurements() {
	type key struct {
		concept Code
		group   string
	}
	first := map[key]Reading{}
	for _, m := range c.doc.Measurements() {
		path := pathString(m.Path)
		if _, ok := QuantityOf(m.Concept); !ok {
			c.fail(RuleConcept, path, "%q is no quantity of the left ventricle", m.Concept.Meaning)
		}
		k := key{m.Concept, m.Group}
		p, again := first[k]
		if !again {
			first[k] = m
		} else if p.Selection == (Code{}) || m.Selection != (Code{}) {
			c.fail(RuleDuplicate, path, "second value of %s; the first, and only that, needs a selection status", m.Concept)
		}
	}
}

// evidence checks that the evidence sequence names exactly the instances that
// the tree references, and that all of them are known.
func (c *checker) evidence(known []instance.Ref) {
	listed := map[string]instance.Ref{}
	for _, e := range c.doc.Evidence {
		listed[e.SOPInstanceUID] = e
	}
	referenced := map[string]bool{}
	c.doc.Root.Walk(func(path []int, it *Item) {
		if it.Type != Image || it.Image.SOPInstanceUID == "" {
			return
		}
		uid := it.Image.SOPInstanceUID
		if e, ok := listed[uid]; !ok {
			if !referenced[uid] {
				c.fail(RuleEvidence, pathString(path), "%s is referenced but not in the evidence sequence", uid)
			}
		} else if e.SOPClassUID != it.Image.SOPClassUID {
			c.fail(RuleEvidence, pathString(path), "class of %s differs from the evidence sequence", uid)
		}
		referenced[uid] = true
	})
	for _, e := range c.doc.Evidence {
		if !referenced[e.SOPInstanceUID] {
			c.fail(RuleEvidence, "1", "%s is in the evidence sequence but not referenced", e.SOPInstanceUID)
		}
		if !slices.Contains(known, e) {
			c.fail(RuleEvidence, "1", "%s is not an instance of the analysed study", e.SOPInstanceUID)
		}
	}
}
