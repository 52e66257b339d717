// Command bundle makes the client's bundle: web/dist/app.js and app.css from
// web/src. It runs in the folder of package review (go generate does that).
// With -check it writes nothing and fails if the files there are not what it
// would make.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/evanw/esbuild/pkg/api"
)

func main() {
	check := flag.Bool("check", false, "compare with what is there instead of writing")
	flag.Parse()
	if err := run(*check); err != nil {
		fmt.Fprintln(os.Stderr, "bundle:", err)
		os.Exit(1)
	}
}

func run(check bool) error {
	web, err := filepath.Abs("web")
	if err != nil {
		return err
	}
	result := api.Build(api.BuildOptions{
		AbsWorkingDir: web,
		EntryPointsAdvanced: []api.EntryPoint{
			{InputPath: "src/main.ts", OutputPath: "app"},
			{InputPath: "src/style.css", OutputPath: "style"},
			{InputPath: "src/icon.svg", OutputPath: "icon"},
		},
		Loader:            map[string]api.Loader{".svg": api.LoaderCopy},
		Outdir:            filepath.Join(web, "dist"),
		Bundle:            true,
		MinifySyntax:      true,
		MinifyWhitespace:  true,
		MinifyIdentifiers: true,
		Charset:           api.CharsetUTF8,
		LegalComments:     api.LegalCommentsEndOfFile,
		Target:            api.ES2022,
		Format:            api.FormatIIFE,
		TsconfigRaw:       `{"compilerOptions": {"strict": true}}`,
	})
	for _, m := range result.Errors {
		return fmt.Errorf("%s", m.Text)
	}
	for _, f := range result.OutputFiles {
		if !check {
			if err := os.MkdirAll(filepath.Dir(f.Path), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(f.Path, f.Contents, 0o644); err != nil {
				return err
			}
			continue
		}
		there, err := os.ReadFile(f.Path)
		if err != nil {
			return err
		}
		if !bytes.Equal(there, f.Contents) {
			return fmt.Errorf("%s is not what web/src makes: run go generate ./pipeline/review", f.Path)
		}
	}
	return nil
}
