package pipeline

import (
	"regexp"
	"strings"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/pipeline/result"
)

// How a picture was made is told by few attributes, and by the words that people
// and machines write into others. Words that are also said of what was not done
// ("without contrast") do not count.
const (
	// notDone is of what was not given or done.
	notDone = `(no|non|none|not|without|w/o|ohne|kein\w*|nicht|sans|aucun\w*|senza|nessun\w*|sin|ningun\w*|zonder|geen|declined)`
	// agentNames are what contrast agents are called.
	agentNames = `contrast|kontrast|definity|optison|sonovue|lumason|luminity`
)

var (
	// The transducer types that are put into the body (PS3.3 C.8.5.6.1.6).
	// and what others write there.
	insideType = regexp.MustCompile(`^(ENDOCAV|IV_|(TRANS[ _-]?)?O?ESOPH|T[EO]E\b)`)
	// Names of transoesophageal probes: what Philips, GE and Siemens call theirs.
	insideProbe = regexp.MustCompile(`(?i)\b(x[78]-2t|s[78]-3t|6vt-?d|6tc?-?rs|9t-?rs|v5ms?|z6ms?)\b`)
	insideWords = regexp.MustCompile(`(?i)\btee\b|\btoe\b|trans-?o?esoph|transösoph`)
	onChest     = regexp.MustCompile(`(?i)\btte\b|trans-?thora|(^|\W)(never( had)?|` + notDone + `)\W+` +
		`((a|an|any|the|planned|needed|need|indication|further|prior|previous|earlier|known|recent)\W+(for\W+)?)?` +
		`(tee|toe|trans-?o?esoph|transösoph)|` +
		`\b(before|prior to|vor|avant|antes)\W+(\w+\W+)?(tee|toe|trans-?o?esoph)|\b(tee|toe)\b.*(declin|refus|cancel|abgelehnt|not done|kontraind|contraind)`)
	human = regexp.MustCompile(`(?i)^(homo\b|homme|h\. ?sap|hum(an|ain|ano|$)|uman|person|mensch|patient|(fe)?male$|` +
		`unknown|unbekannt|undef|not? ?spec|unspec|n/?a$|none$|null$|[-?. ]+$)`)
	agentWords = regexp.MustCompile(`(?i)\blvo\b|\blv ?opac|\b(` + agentNames + `)\b|kontrast`)
	noAgent    = regexp.MustCompile(`(?i)(^|\W)(` + notDone + `|pre)[ -]*(lvo|` + agentNames + `)|` +
		`(` + agentNames + `|\blvo)\w*[ :]*((no|off|aus|nein)\s*(;|$)|(none|not (used|given)|nicht gegeben)\b)`)
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
	if s := strings.TrimSpace(ds.String(tag.PatientSpeciesDescription)); s != "" && !human.MatchString(s) {
		return refuse(result.NotHuman, "the object is of an animal (%s): the network knows human hearts only", s)
	}
	if t := strings.ToUpper(strings.TrimSpace(ds.String(tag.TransducerType))); insideType.MatchString(t) {
		return refuse(result.Transoesophageal, "the transducer was inside the body (type %s): the views are others", t)
	}
	if t := words(tag.TransducerData); insideProbe.MatchString(t) || insideWords.MatchString(t) {
		return refuse(result.Transoesophageal, "transoesophageal transducer: the views are others")
	}
	if t := words(tag.StudyDescription, tag.SeriesDescription, tag.ProtocolName, tag.ViewName); insideWords.MatchString(t) && !onChest.MatchString(t) {
		return refuse(result.Transoesophageal, "the object says that it is transoesophageal: the views are others")
	}
	if len(ds.Items(tag.ContrastBolusAgentSequence)) > 0 || !agentNone.MatchString(strings.TrimSpace(words(tag.ContrastBolusAgent))) {
		return refuse(result.Contrast, "contrast agent: the network knows dark cavities only")
	}
	if t := words(tag.SeriesDescription, tag.ProtocolName, tag.ViewName, tag.StageName); agentWords.MatchString(t) && !noAgent.MatchString(t) {
		return refuse(result.Contrast, "the object names a contrast agent: the network knows dark cavities only")
	}
	return nil
}
