package pipeline

import (
	"regexp"
	"slices"
	"strings"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/encoding"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/pipeline/echo"
	"github.com/echonode/echonode/pipeline/result"
)

// How a picture was made is told by few attributes, and by the words that people
// and machines write into others. Words that are also said of what was not done
// ("without contrast") do not count.
const (
	// notDone is of what was not given or done.
	notDone = `(no|non|none|not|without|w/o|ohne|kein\w*|nicht|sans|aucun\w*|senza|nessun\w*|sin|ningun\w*|zonder|geen|declined)`
	// agentNames are what contrast agents are called.
	agentNames = `contrast|kontrast|definity|optison|sonovue|lumason|luminity|perflutren|sonazoid|uea|ceus`
)

var (
	// The transducer types that are put into the body (PS3.3 C.8.5.6.1.6).
	// and what others write there.
	insideType = regexp.MustCompile(`^(ENDOCAV|IV_|(TRANS[ _-]?)?O?ESOPH|T[EO]E\b)`)
	// Names of transoesophageal probes: those of Philips, Mindray, Canon, Samsung,
	// Esaote, Hitachi, GE and Siemens.
	insideProbe = regexp.MustCompile(`(?i)\b(x[78]-2t|s[78]-3t|t62\d\d|p[78]-3ts?|pe[tf]-5\d\d\w*|mpt\d-\d|tee\d+|ust-52127s?|` +
		`6vt(-?d)?|6tc?-?rs|6tc|8t-?rs|9t-?rs|10t-?d|v[57]ms?|z6ms?)\b`)
	insideWords = regexp.MustCompile(`(?i)\btee\b|\btoe\b|trans-?o?esoph|transösoph`)
	// On or in the heart: catheters, and probes in the open chest.
	heartProbe = regexp.MustCompile(`(?i)\b(acunav|viewflex|soundstar|ultraice|verisight)`)
	heartWords = regexp.MustCompile(`(?i)(intra-?|epi)(c|k)ardia[cl]\w* (echo|scan|ultra|probe|imag)|^\W*ice\W*$|` +
		`\bice (echo|guid|cath|proc|imag)|` + heartProbe.String())
	fetal    = regexp.MustCompile(`(?i)\bf(o?e|ö)t(al|us)|fetalheart`)
	notFetal = regexp.MustCompile(`(?i)(^|\W)` + notDone + `\W+f(o?e|ö)t|f(o?e|ö)t\w* circul|post-?natal|neonat|newborn|abnormal f(o?e|ö)t|` +
		`f(o?e|ö)tal alcohol|mother of (a )?child`)
	onChest = regexp.MustCompile(`(?i)\btte\b|trans-?thora|(^|\W)(never( had)?|` + notDone + `)\W+` +
		`((a|an|any|the|planned|needed|need|indication|further|prior|previous|earlier|known|recent)\W+(for\W+)?)?` +
		`(tee|toe|trans-?o?esoph|transösoph)|` +
		`\b(before|prior to|vor|avant|antes)\W+(\w+\W+)?(tee|toe|trans-?o?esoph)|\b(tee|toe)\b.*(declin|refus|cancel|abgelehnt|not done|kontraind|contraind)`)
	human = regexp.MustCompile(`(?i)^(homo\b|homme|hs$|h\. ?sap|adult|child|hum(an|ain|ano|$)|uman|person|mensch|patient|(fe)?male$|` +
		`unknown|unbekannt|undef|not? ?spec|unspec|n/?a$|none$|null$|[-?. ]+$)`)
	race       = regexp.MustCompile(`(?i)^(caucasian|caucasoid|african([ -]american)?|hispanic|latin[oax]|asian|mestizo|mulatto|kaukasier(in)?)$`)
	agentWords = regexp.MustCompile(`(?i)\blvo\b|\blv ?opac|\blvo?contrast|\b(` + agentNames + `)\b|kontrast|(ultrasound|ultra sound|us) enhanc\w+ agent`)
	noAgent    = regexp.MustCompile(`(?i)(^|\W)(` + notDone + `|pre)[ -]*(lvo|` + agentNames + `)|(` + agentNames + `)\w*[ -]?(free|frei)|` +
		`(` + agentNames + `|\blvo)\w*[ :]*((no|off|aus|nein)\s*(;|$)|(none|not (used|given)|nicht gegeben|declined|refused)\b)`)
	agentNone = regexp.MustCompile(`(?i)^[(\[]*(0( ?ml)?|-*|n|n\.?/?a\.?|off|unknown|unbekannt|false|nein|nil|` + notDone +
		`([ -]*(contrast|kontrast|agent|bolus|km\b)\w*)*( ?(used|given|needed|verwendet|gegeben))?)[)\]]*\.?$`)
)

// refuseByAcquisition says why a picture was not made as those that the network
// knows: with a contrast agent, which whitens the cavity, or from within the
// body; nil as far as the attributes tell.
func refuseByAcquisition(ds *dicomio.DataSet) *result.Reason {
	words := func(tags ...tag.Tag) string {
		var all []string
		for _, t := range tags {
			all = append(all, ds.Strings(t)...)
		}
		return strings.Join(all, "; ")
	}
	refuse := func(code, format string, args ...any) *result.Reason {
		r := result.Reasonf(code, format, args...)
		return &r
	}
	if s := species(ds); s != "" {
		return refuse(result.NotHuman, "the object is of an animal (%s): the network knows human hearts only", s)
	}
	if t := shows(ds); fetal.MatchString(t) && !notFetal.MatchString(t) {
		return refuse(result.Fetal, "the object says that it shows a fetus: the network knows the hearts of adults")
	}
	if t := strings.ToUpper(echo.Text(ds, tag.TransducerType)); insideType.MatchString(t) {
		return refuse(result.Transoesophageal, "the transducer was inside the body (type %s): the views are others", t)
	}
	if t := words(tag.TransducerData); insideProbe.MatchString(t) || insideWords.MatchString(t) {
		return refuse(result.Transoesophageal, "transoesophageal transducer: the views are others")
	}
	if t := words(tag.StudyDescription, tag.SeriesDescription, tag.ProtocolName, tag.ViewName); insideWords.MatchString(t) && !onChest.MatchString(t) {
		return refuse(result.Transoesophageal, "the object says that it is transoesophageal: the views are others")
	}
	if t := words(tag.StudyDescription, tag.SeriesDescription, tag.ProtocolName, tag.ViewName); heartProbe.MatchString(words(tag.TransducerData)) ||
		heartWords.MatchString(t) && !onChest.MatchString(t) {
		return refuse(result.Intracardiac, "the object says that the transducer was in or on the heart: the views are others")
	}
	if agentCoded(ds) || !agentNone.MatchString(strings.TrimSpace(words(tag.ContrastBolusAgent))) {
		return refuse(result.Contrast, "contrast agent: the network knows dark cavities only")
	}
	if t := words(tag.SeriesDescription, tag.ProtocolName, tag.ViewName, tag.StageName); agentWords.MatchString(t) && !noAgent.MatchString(t) {
		return refuse(result.Contrast, "the object names a contrast agent: the network knows dark cavities only")
	}
	return nil
}

// species is what an object says it is of where that is no human; "" for humans, and
// where it says nothing.
func species(ds *dicomio.DataSet) string {
	for _, item := range ds.Items(tag.PatientSpeciesCodeSequence) {
		value, meaning := strings.TrimSpace(item.String(tag.CodeValue)), echo.Text(item, tag.CodeMeaning)
		if slices.Contains(humanCodes, value) {
			return ""
		}
		if meaning != "" && !human.MatchString(meaning) {
			return meaning
		}
	}
	if s := echo.Text(ds, tag.PatientSpeciesDescription); s != "" && !human.MatchString(s) {
		return s
	}
	return ""
}

// humanCodes are the codes of homo sapiens in CID 7454 (SCT, SRT).
var humanCodes = []string{"337915000", "L-85B00"}

// shows are the words in which an object says what it shows.
func shows(ds *dicomio.DataSet) string {
	all := []string{ds.String(tag.StudyDescription), ds.String(tag.SeriesDescription), ds.String(tag.ProtocolName), ds.String(tag.BodyPartExamined)}
	for _, item := range ds.Items(tag.AnatomicRegionSequence) {
		all = append(all, item.String(tag.CodeMeaning))
	}
	return strings.Join(all, "; ")
}

// agentCoded reports whether Contrast/Bolus Agent Sequence names an agent: an empty
// item, as writers leave, and one for none name nothing.
func agentCoded(ds *dicomio.DataSet) bool {
	return slices.ContainsFunc(ds.Items(tag.ContrastBolusAgentSequence), func(item *dicomio.DataSet) bool {
		meaning := strings.TrimSpace(item.String(tag.CodeMeaning))
		return meaning != "" && !agentNone.MatchString(meaning) || meaning == "" && item.String(tag.CodeValue) != ""
	})
}

// acquisitionDoubt is a remark on what weaker words than those of a refusal say.
func acquisitionDoubt(ds *dicomio.DataSet) *result.Reason {
	for _, t := range []tag.Tag{tag.PatientSexNeutered, tag.PatientBreedDescription} {
		if s := echo.Text(ds, t); s != "" && !human.MatchString(s) && !race.MatchString(s) {
			r := result.Reasonf(result.NotHuman, "the object may be of an animal (%s): the network knows human hearts only", s)
			return &r
		}
	}
	if s := strings.TrimSpace(ds.String(tag.ResponsiblePersonRole)); strings.EqualFold(s, "OWNER") {
		r := result.Reasonf(result.NotHuman, "the object may be of an animal (%s): the network knows human hearts only", "it has an owner")
		return &r
	}
	if s := encoding.Line(ds.String(tag.StudyDescription)); agentWords.MatchString(s) && !noAgent.MatchString(s) {
		r := result.Reasonf(result.Contrast, "the study's description names a contrast agent (%s): the network knows dark cavities only", echo.Short(s))
		return &r
	}
	return nil
}
