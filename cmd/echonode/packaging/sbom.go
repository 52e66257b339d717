package main

import (
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/licensecheck"
)

// native is what is linked or run beside the Go modules. Debian's packages are named without a version: the one that is
// installed counts.
var native = []struct{ name, licence, purl string }{
	{"libjpeg62-turbo", "IJG AND BSD-3-Clause AND Zlib", "pkg:deb/debian/libjpeg62-turbo"},
	{"libopenjp2-7", "BSD-2-Clause", "pkg:deb/debian/libopenjp2-7"},
	{"ffmpeg", "GPL-2.0-or-later", "pkg:deb/debian/ffmpeg"}, // a program of its own, run for video loops
}

// allowed are the licences a Go module of the program may have. MPL-2.0 binds the files it stands in, which are used as they are.
var allowed = []string{"MIT", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0", "ISC", "Unlicense", "CC0-1.0", "0BSD", "MPL-2.0"}

type module struct{ path, version, sum, licence string }

// modules are the Go modules in a binary, with the licences their texts say.
func modules(binary string) ([]module, *debug.BuildInfo, error) {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return nil, nil, err
	}
	var out []module
	for _, d := range info.Deps {
		if d.Replace != nil {
			d = d.Replace
		}
		licence, err := licenceOf(d.Path, d.Version)
		if err != nil {
			return nil, nil, err
		}
		out = append(out, module{d.Path, d.Version, d.Sum, licence})
	}
	return out, info, nil
}

// licenceOf reads the licence files of a module in the module cache.
func licenceOf(path, version string) (string, error) {
	cmd := exec.Command("go", "mod", "download", "-json", path+"@"+version)
	cmd.Dir = os.TempDir() // outside any module
	b, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go mod download %s@%s: %w: %s", path, version, err, b)
	}
	var answer struct{ Dir string }
	if err := json.Unmarshal(b, &answer); err != nil {
		return "", err
	}
	entries, err := os.ReadDir(answer.Dir)
	if err != nil {
		return "", err
	}
	var found []string
	for _, e := range entries {
		name := strings.ToUpper(e.Name())
		if !strings.HasPrefix(name, "LICEN") && !strings.HasPrefix(name, "COPYING") && !strings.HasPrefix(name, "UNLICENSE") || !e.Type().IsRegular() {
			continue
		}
		text, err := os.ReadFile(filepath.Join(answer.Dir, e.Name()))
		if err != nil {
			return "", err
		}
		for _, m := range licensecheck.Scan(text).Match {
			if !slices.Contains(found, m.ID) && !m.IsURL {
				found = append(found, m.ID)
			}
		}
	}
	slices.Sort(found)
	return strings.Join(found, " AND "), nil
}

// licences lists every module of a binary with its licence and fails for one that is not allowed or not recognised.
func (r release) licences() error {
	list, _, err := modules(r.binary)
	if err != nil {
		return err
	}
	var errs []error
	for _, m := range list {
		fmt.Printf("%-50s %-40s %s\n", m.path, m.version, m.licence)
		for _, l := range strings.Split(m.licence, " AND ") {
			if !slices.Contains(allowed, l) {
				errs = append(errs, fmt.Errorf("%s: licence %q is not among %s", m.path, l, strings.Join(allowed, ", ")))
			}
		}
	}
	for _, n := range native {
		fmt.Printf("%-50s %-40s %s\n", n.name, "of the distribution", n.licence)
	}
	fmt.Printf("%-50s %-40s %s\n", "onnxruntime", "1.30.0", "MIT")
	return errors.Join(errs...)
}

// sbom writes the software bill of materials, CycloneDX 1.6: the modules the binary says it was built from, the native
// libraries, the models inside.
func (r release) sbom() error {
	list, info, err := modules(r.binary)
	if err != nil {
		return err
	}
	binary, err := sha256File(r.binary)
	if err != nil {
		return err
	}
	library := filepath.Join(r.onnxruntime, "libonnxruntime.so.1.30.0")
	runtime, err := sha256File(library)
	if err != nil {
		return err
	}
	licence := func(expression string) *cdx.Licenses { return &cdx.Licenses{{Expression: expression}} }
	hash := func(sum string) *[]cdx.Hash { return &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: sum}} }
	components := []cdx.Component{
		{BOMRef: "go", Type: cdx.ComponentTypeFramework, Name: "go", Version: strings.TrimPrefix(info.GoVersion, "go"), Licenses: licence("BSD-3-Clause"),
			PackageURL: "pkg:golang/stdlib@" + strings.TrimPrefix(info.GoVersion, "go")},
		{BOMRef: "onnxruntime", Type: cdx.ComponentTypeLibrary, Name: "onnxruntime", Version: "1.30.0", Licenses: licence("MIT"),
			PackageURL: "pkg:pypi/onnxruntime@1.30.0", Hashes: hash(runtime)},
	}
	for _, m := range list {
		c := cdx.Component{BOMRef: "go:" + m.path, Type: cdx.ComponentTypeLibrary, Name: m.path, Version: m.version,
			PackageURL: "pkg:golang/" + m.path + "@" + m.version}
		if m.licence != "" {
			c.Licenses = licence(m.licence)
		}
		if m.sum != "" {
			c.Properties = &[]cdx.Property{{Name: "go.sum", Value: m.sum}}
		}
		components = append(components, c)
	}
	for _, n := range native {
		components = append(components, cdx.Component{BOMRef: n.name, Type: cdx.ComponentTypeLibrary, Name: n.name, Licenses: licence(n.licence), PackageURL: n.purl})
	}
	networks, err := filepath.Glob(filepath.Join(r.root, "models", "*.onnx"))
	if err != nil {
		return err
	}
	for _, path := range networks {
		sum, err := sha256File(path)
		if err != nil {
			return err
		}
		name := filepath.Base(path)
		components = append(components, cdx.Component{BOMRef: name, Type: cdx.ComponentTypeMachineLearningModel, Name: name, Hashes: hash(sum),
			Description: "embedded network; terms in models/CARD.md"})
	}
	bom := cdx.NewBOM()
	bom.Metadata = &cdx.Metadata{
		Timestamp: r.time.Format("2006-01-02T15:04:05Z07:00"),
		Component: &cdx.Component{BOMRef: "echonode", Type: cdx.ComponentTypeApplication, Name: "echonode", Version: r.version, Licenses: licence("Apache-2.0"),
			Hashes: hash(binary), Properties: &[]cdx.Property{{Name: "architecture", Value: r.arch}}},
	}
	bom.Components = &components
	return create(r.out, func(w io.Writer) error {
		return cdx.NewBOMEncoder(w, cdx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(bom, cdx.SpecVersion1_6)
	})
}
