package review

import (
	"embed"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"golang.org/x/text/language"
)

//go:embed text/*.json
var textFiles embed.FS

// Words are the page's texts in one language, by key; see text/en.json.
type Words struct {
	Lang  string
	texts map[string]string
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
		http.SetCookie(w, &http.Cookie{Name: "lang", Value: lang, Path: "/", MaxAge: 365 * 24 * 3600, HttpOnly: true, Secure: s.opt.Secure, SameSite: http.SameSiteLaxMode})
	}
	http.Redirect(w, r, localPath(r.URL.Query().Get("next")), http.StatusSeeOther)
}
