package cli

import (
	"bytes"
	"strings"
	"testing"
)

func TestFetchFlags(t *testing.T) {
	for args, want := range map[string]string{
		"":                                    "--from",
		"--from a:1":                          "one of --study",
		"--from a:1 --study x":                "is not a UID",
		"--from a:1 --date 2026":              "--date",
		"--from a:1 --date 20260230":          "--date",
		"--from a:1 --date 20260201-20260101": "--date",
		"--from a:1 --date -":                 "--date",
		"--from a:1 --study 1.2.3":            "--out",
		"--from a:1 --study 1.2.3 --move-to X --out d":   "--listen",
		"--from a:1 --study 1.2.3 --listen :0 --out d":   "--move-to",
		"--from a:1 --study 1.2.3 --move-to X --rate 1M": "--pause",
		"--from a:1 --study 1.2.3 --out d --rate fast":   "--rate",
		"--from pacs --study 1.2.3 --out d":              "destination's name",
	} {
		var out, errw bytes.Buffer
		if code := Main("test", append([]string{"fetch"}, strings.Fields(args)...), strings.NewReader(""), &out, &errw); code != exitUsage ||
			!strings.Contains(errw.String(), want) {
			t.Errorf("fetch %s: exit %d, %q, want %q", args, code, errw.String(), want)
		}
	}
	for _, s := range []string{"", "20260101", "20260101-20260131", "20260101-", "-20260131"} {
		if !validDateRange(s) {
			t.Errorf("%q is refused", s)
		}
	}
}
