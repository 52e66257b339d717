package cli

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/echonode/echonode/cmd/echonode/internal/config"
)

// A process tells what its roles go by, and nothing that another may have otherwise.
func TestSharedSettings(t *testing.T) {
	const common = `
storage: {database: "postgres://db.example/echonode", objects: {kind: shared, shared: /mnt/echonode}%s}
outputs: {device_uid: "1.2.3"%s}
%s
`
	const pacs = `destinations: [{name: pacs, address: "pacs.example:104", ae_title: PACS%s}]`
	of := func(roles, storage, outputs, destinations string) map[string]string {
		t.Helper()
		c, err := config.Parse([]byte("roles: [" + roles + "]" + fmt.Sprintf(common, storage, outputs, destinations)))
		if err != nil {
			t.Fatal(err)
		}
		s, err := sharedSettings(c)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	usual := fmt.Sprintf(pacs, "")
	base := of("receive, analyse, deliver, web", "", "", usual)
	for name, c := range map[string]struct {
		is     map[string]string
		differ []string
	}{
		"the same":               {of("receive, analyse, web", "", "", usual), nil},
		"another retention":      {of("receive", ", retention: 0s", "", usual), []string{"storage.retention"}},
		"of one who removes not": {of("web", ", retention: 0s", "", usual), nil},
		"no destination":         {of("web", "", "", ""), []string{"destinations"}},
		"of one who sends not":   {of("receive", "", "", ""), nil},
		"other outputs":          {of("analyse", "", ", pdf: true", usual), []string{"outputs", "what pacs gets"}},
		"other kinds":            {of("web", "", "", fmt.Sprintf(pacs, ", send: [report]")), []string{"what pacs gets"}},
		"another title":          {of("web", "", "", fmt.Sprintf(pacs, ", calling_ae_title: ECHO2")), nil},
		"of one who delivers":    {of("deliver", "", "", fmt.Sprintf(pacs, ", calling_ae_title: ECHO2")), []string{"address of pacs"}},
	} {
		var differ []string
		for _, key := range slices.Sorted(maps.Keys(c.is)) {
			if c.is[key] != base[key] {
				differ = append(differ, key)
			}
		}
		if !slices.Equal(differ, c.differ) {
			t.Errorf("%s: %v differ, want %v", name, differ, c.differ)
		}
	}
}
