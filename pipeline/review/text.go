package review

import (
	"cmp"
	"embed"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/text/language"

	"github.com/echonode/echonode/pipeline/quantity"
)

//go:embed text/*.json
var textFiles embed.FS

// Words are the page's texts in one language, by key; see text/en.json.
type Words struct {
	Lang  string
	texts map[string]string
	// reasons are what the pipeline says, by the form in which it says it; none in
	// English.
	reasons []reasonForm
}

// reasonForm is a text of the pipeline with places for what differs.
type reasonForm struct {
	english *regexp.Regexp
	text    string // with %s in the places
}

var verb = regexp.MustCompile(`%(?:\.\d)?[a-z]`)

// reasonForms reads the forms of a catalogue: English format to that of the
// language, with the same places in the same order.
func reasonForms(formats map[string]string) (out []reasonForm) {
	english := slices.SortedFunc(maps.Keys(formats), func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) }) // the most particular first
	for _, e := range english {
		var pattern strings.Builder
		rest := e
		for _, at := range verb.FindAllStringIndex(e, -1) {
			pattern.WriteString(regexp.QuoteMeta(strings.ReplaceAll(rest[:at[0]-(len(e)-len(rest))], "%%", "%")))
			pattern.WriteString(place(e[at[0]:at[1]]))
			rest = e[at[1]:]
		}
		pattern.WriteString(regexp.QuoteMeta(strings.ReplaceAll(rest, "%%", "%")))
		out = append(out, reasonForm{regexp.MustCompile(`^` + pattern.String() + `$`), verb.ReplaceAllString(formats[e], "%s")})
	}
	return out
}

// place is what may stand in a place of a form: a number where one is written,
// else anything.
func place(verb string) string {
	switch verb[len(verb)-1] {
	case 'd', 'f', 'g':
		return `([-+.0-9eE]+|NaN|[-+]Inf)`
	}
	return `(.+?)`
}

// Reason is what the pipeline says, in the page's language as far as its
// catalogue goes, else as it is. Several remarks in one are parted by "; ".
func (w *Words) Reason(text string) string {
	if parts := strings.Split(text, "; "); len(parts) > 1 {
		known := true
		for i, p := range parts {
			var ok bool
			parts[i], ok = w.remark(p)
			known = known && ok
		}
		if known {
			return strings.Join(parts, "; ")
		}
	}
	text, _ = w.remark(text)
	return text
}

// remark is one remark in the page's language, and whether the catalogue has it.
func (w *Words) remark(text string) (string, bool) {
	for _, f := range w.reasons {
		m := f.english.FindStringSubmatch(text)
		if m == nil {
			continue
		}
		args := make([]any, len(m)-1)
		for i, a := range m[1:] {
			args[i] = w.part(a)
		}
		return fmt.Sprintf(f.text, args...), true
	}
	return text, false
}

var decimal = regexp.MustCompile(`^-?\d+\.\d+$`)

// part is a place of a reason: a number, a phase, a quantity, a view or another
// reason.
func (w *Words) part(s string) string {
	if decimal.MatchString(s) {
		return strings.Replace(s, ".", ",", 1)
	}
	if text, ok := w.texts["phase."+s]; ok {
		return text
	}
	for _, q := range quantity.All() {
		if q.Title == s {
			return nameOf(w, q.Name)
		}
	}
	return w.Reason(s)
}

// T is the text of a key with its arguments put in. A key that is missing is
// shown as it is.
func (w *Words) T(key string, args ...any) string {
	text, ok := w.texts[key]
	if !ok {
		return key
	}
	if len(args) == 0 {
		return text
	}
	return fmt.Sprintf(text, args...)
}

// Client are the texts that the client shows.
func (w *Words) Client() map[string]string {
	out := map[string]string{}
	for k, v := range w.texts {
		if strings.HasPrefix(k, "js.") {
			out[k] = v
		}
	}
	return out
}

// Or is the text of a key, or otherwise where there is none.
func (w *Words) Or(key, otherwise string) string {
	if text, ok := w.texts[key]; ok {
		return text
	}
	return otherwise
}

// languages in the order of preference when a browser asks for none of them.
var languages = []string{"en", "de"}

// loadWords reads the catalogue.
func loadWords() (map[string]*Words, language.Matcher, error) {
	all := map[string]*Words{}
	var tags []language.Tag
	for _, lang := range languages {
		b, err := textFiles.ReadFile("text/" + lang + ".json")
		if err != nil {
			return nil, nil, err
		}
		w := &Words{Lang: lang}
		if err := json.Unmarshal(b, &w.texts); err != nil {
			return nil, nil, fmt.Errorf("text/%s.json: %w", lang, err)
		}
		if b, err := textFiles.ReadFile("text/reasons." + lang + ".json"); err == nil {
			var formats map[string]string
			if err := json.Unmarshal(b, &formats); err != nil {
				return nil, nil, fmt.Errorf("text/reasons.%s.json: %w", lang, err)
			}
			w.reasons = reasonForms(formats)
		}
		all[lang] = w
		tags = append(tags, language.Make(lang))
	}
	return all, language.NewMatcher(tags), nil
}

// words of a request: the language chosen on the page, else what the browser
// asks for.
func (s *Server) words(r *http.Request) *Words {
	if c, err := r.Cookie("lang"); err == nil {
		if w := s.text[c.Value]; w != nil {
			return w
		}
	}
	_, i := language.MatchStrings(s.matcher, r.Header.Get("Accept-Language"))
	return s.text[languages[i]]
}

// setLanguage remembers a choice of language.
func (s *Server) setLanguage(w http.ResponseWriter, r *http.Request) {
	lang := r.PathValue("lang")
	if s.text[lang] != nil {
		http.SetCookie(w, &http.Cookie{Name: "lang", Value: lang, Path: "/", MaxAge: 365 * 24 * 3600, HttpOnly: true, Secure: s.opt.Secure,
			SameSite: http.SameSiteLaxMode})
	}
	http.Redirect(w, r, localPath(r.URL.Query().Get("next")), http.StatusSeeOther)
}
