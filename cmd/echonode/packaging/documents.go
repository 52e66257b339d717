package main

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// shipped are the pages of the source tree that the package holds, and the names that they have in its one folder.
var shipped = map[string]string{
	"README.md":                  "README.md",
	"CHANGELOG.md":               "changelog",
	"SECURITY.md":                "SECURITY.md",
	"LICENSE":                    "copyright",
	"conformance/CONFORMANCE.md": "conformance-statement.md",
	"models/CARD.md":             "model-card.md",
	"models/card/dice.svg":       "card/dice.svg",
	"cmd/echonode/internal/config/echonode.yaml": "echonode.default.yaml",
}

// documents are the texts of the pages that the package holds, by their names there. Links among them are made to lead to
// where the pages are now.
func documents(root string) (map[string]string, error) {
	names := map[string]string{}
	for from, to := range shipped {
		names[from] = to
	}
	pages, err := filepath.Glob(filepath.Join(root, "cmd", "echonode", "doc", "*.md"))
	if err != nil {
		return nil, err
	}
	for _, page := range pages {
		names["cmd/echonode/doc/"+filepath.Base(page)] = filepath.Base(page)
	}
	out := map[string]string{}
	for from, to := range names {
		text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(from)))
		if err != nil {
			return nil, err
		}
		if out[to] != "" {
			return nil, fmt.Errorf("two pages are called %s", to)
		}
		out[to] = string(text)
		if strings.HasSuffix(from, ".md") {
			out[to] = relink(string(text), path.Dir(from), names)
		}
	}
	return out, nil
}

var link = regexp.MustCompile(`\[([^\]\n]*)\]\(([^)\s]+)\)`)

// relink makes the links of a page that lies in folder lead to names. Of a link to what is not shipped the text is left,
// and the path in the source tree where the text does not say it.
func relink(page, folder string, names map[string]string) string {
	return link.ReplaceAllStringFunc(page, func(whole string) string {
		m := link.FindStringSubmatch(whole)
		text, target := m[1], m[2]
		if strings.Contains(target, "://") || strings.HasPrefix(target, "#") {
			return whole
		}
		target, section, _ := strings.Cut(target, "#")
		target = path.Join(folder, target)
		if to, ok := names[target]; ok {
			if section != "" {
				to += "#" + section
			}
			return "[" + text + "](" + to + ")"
		}
		if text == target {
			return text
		}
		return text + " (" + target + " in the source)"
	})
}
