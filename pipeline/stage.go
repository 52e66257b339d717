package pipeline

import (
	"regexp"
	"strings"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/encoding"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/pipeline/echo"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/sr"
)

var (
	// What Series Description says where machines have no stages: nothing but one.
	seriesStage = regexp.MustCompile(`(?i)^(at )?((a[24]c|ap[24]|[24]ch|apical)[ ._-]+)?(rest(ing)?|baseline|ruhe|im+(ediate(ly)?)?[ ._-]*post([ ._-]*ex\w*)?|` +
		`recovery|erholung|post[ ._-]*(ex\w*|stress|belastung)|peak|stress|exercise|belastung|dobutamin\w*([ ._-]*\d+\w*)?|` +
		`(peak|max\w*|low|mid|high|intermediate)[ ._-]*(stress|ex\w*|dose|dob\w*))$`)
	// What Stage Name says where there is no stage: nothing, or the view.
	noStage   = regexp.MustCompile(`(?i)^(n/?a|-+|none|unknown|default|unspecified)$`)
	stageView = regexp.MustCompile(`(?i)^(a[2345]c|ap(ical)?[ -]?[2345]([ -]?ch(amber)?)?|[2345][ -]?ch(amber)?|(two|three|four|five)[ -]?chamber|` +
		`(ap(ical)?[ -]?|a[ -]?)?p?lax|psax|apical long axis|parasternal (long|short) axis)( view)?$`)
	// What examinations of the heart under stress are called.
	stressExam = regexp.MustCompile(`(?i)\bstress|\bdobut|\bdse\b|\bexercise|\bbelastung|ergomet|treadmill|\bdipyrid|\badenosin|` +
		`(test|[eé]c(h)?o)\w*\W.*(effort|esfuerzo|sforzo|inspanning)`)
	noStress = regexp.MustCompile(`(?i)(^|\W)` + notDone + `\W+(stress|exercise|belastung)|stress\W*(cardiomyo|cmp|induced)|` +
		`exercise (intol|induc|capac|tol)|\b(before|prior to|vor) (the )?(stress|exercise|belastung)|belastungs(dys|insuff|intol)|` +
		`\b(after|following|nach)\W+(\w+\W+){0,2}(stress|exercise|belastungs)[ -]?(test|echo|e[ck]g|mri|spect)|` +
		`(stress|exercise|belastung)\w*( (test|echo)\w*)?\W*(` + notDone + ` (done|performed|possible|durchgef\w*|m[öo]glich)|declined|refused|cancel|deferred|` +
		`contraind|kontraind|abgelehnt|abgesagt|(negative )?(history|hx)\b)`)
)

// readFacts are the facts of an object whose pixels hold so many frames, 0 for not
// known, with its stage wherever it says it.
func readFacts(file *dicomio.File, frames int) (echo.Facts, error) {
	f, err := echo.ReadFrames(file, frames)
	if file.DataSet != nil {
		if name := f.StageName; stageView.MatchString(name) {
			f.StageView = name
		}
		f.StageName = stageNamed(file.DataSet, f.StageName)
	}
	return f, err
}

// stageNamed is the name of an object's stage: that of Stage Name, else of Stage Code
// Sequence, else Series Description where that is one and nothing more.
func stageNamed(ds *dicomio.DataSet, name string) string {
	if name != "" && !noStage.MatchString(name) && !stageView.MatchString(name) {
		return name
	}
	for _, item := range ds.Items(tag.StageCodeSequence) {
		if s := sr.StageOfCode(strings.TrimSpace(item.String(tag.CodeValue))); s != 0 {
			return s.String()
		}
		if meaning := echo.Text(item, tag.CodeMeaning); meaning != "" {
			return meaning
		}
	}
	if series := echo.Text(ds, tag.SeriesDescription); seriesStage.MatchString(series) {
		return series
	}
	return ""
}

// stageNotSaid is the doubt about a loop of an examination under stress that names
// no stage; nil for others.
func stageNotSaid(ds *dicomio.DataSet, l *result.Loop) *result.Reason {
	if strings.TrimSpace(l.Stage) != "" || l.StageNumber > 0 {
		return nil
	}
	for _, t := range []tag.Tag{tag.SeriesDescription, tag.ProtocolName, tag.StudyDescription} {
		if s := encoding.Line(ds.String(t)); stressExam.MatchString(s) && !noStress.MatchString(s) {
			r := result.Reasonf(result.StageUnknown, "the object names an examination under stress (%s) and no stage: the values may not be at rest", echo.Short(s))
			return &r
		}
	}
	return nil
}
