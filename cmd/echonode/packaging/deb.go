package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"
)

// deb makes the Debian package: for Debian 12 and newer, whose libjpeg and OpenJPEG the program is linked with, so that
// their security updates come from the distribution.
func (r release) deb() error {
	source := func(elem ...string) string { return filepath.Join(append([]string{r.root}, elem...)...) }
	packaging := func(name string) string { return source("cmd", "echonode", "packaging", name) }
	file := func(from, to string, mode int) *files.Content {
		return &files.Content{Source: from, Destination: to, FileInfo: &files.ContentFileInfo{Mode: os.FileMode(mode), Owner: "root", Group: "root", MTime: r.time}}
	}
	config := file(packaging("deb/echonode.yaml"), "/etc/echonode/echonode.yaml", 0o640)
	config.Type = files.TypeConfigNoReplace
	const library, doc = "/usr/lib/echonode/", "/usr/share/doc/echonode/"
	contents := files.Contents{
		file(r.binary, "/usr/bin/echonode", 0o755),
		file(filepath.Join(r.onnxruntime, "libonnxruntime.so.1.30.0"), library+"libonnxruntime.so.1.30.0", 0o644),
		config,
		file(packaging("deb/echonode.service"), "/lib/systemd/system/echonode.service", 0o644),
		file(packaging("deb/gpu.conf"), doc+"gpu.conf", 0o644),
		file(filepath.Join(r.onnxruntime, "LICENSE"), doc+"onnxruntime-LICENSE", 0o644),
		file(filepath.Join(r.onnxruntime, "ThirdPartyNotices.txt"), doc+"onnxruntime-ThirdPartyNotices.txt", 0o644),
		file(source("cmd", "echonode", "packaging", "monitoring", "alerts.yml"), doc+"monitoring/alerts.yml", 0o644),
		file(source("cmd", "echonode", "packaging", "monitoring", "dashboard.json"), doc+"monitoring/dashboard.json", 0o644),
	}
	pages, err := documents(r.root)
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "echonode-doc")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	for _, name := range slices.Sorted(maps.Keys(pages)) {
		page := filepath.Join(scratch, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(page), 0o755), os.WriteFile(page, []byte(pages[name]), 0o644)); err != nil {
			return err
		}
		contents = append(contents, file(page, doc+name, 0o644))
	}
	info := nfpm.WithDefaults(&nfpm.Info{
		Name:       "echonode",
		Arch:       r.arch,
		Platform:   "linux",
		Version:    r.version,
		Section:    "science",
		Priority:   "optional",
		Maintainer: "EchoNode developers <echonode@example.org>",
		Vendor:     "EchoNode",
		Homepage:   "https://github.com/echonode/echonode",
		License:    "Apache-2.0",
		Description: "DICOM node that measures the left ventricle in echocardiography studies\n" +
			"Receives echo cine loops by C-STORE, measures volumes and ejection fraction, and\n" +
			"sends structured reports and overlays back. Research software, not a cleared\nmedical device.",
		MTime: r.time,
		Overridables: nfpm.Overridables{
			Depends: []string{"libc6 (>= 2.34)", "libstdc++6", "libgcc-s1", "libjpeg62-turbo (>= 1:2.1.2)", "libopenjp2-7 (>= 2.5.0)", "adduser",
				"init-system-helpers"},
			Recommends: []string{"ffmpeg", "ca-certificates", "tzdata"},
			Contents:   contents,
			Scripts:    nfpm.Scripts{PostInstall: packaging("deb/postinst"), PreRemove: packaging("deb/prerm"), PostRemove: packaging("deb/postrm")},
		},
	})
	if err := nfpm.PrepareForPackager(info, "deb"); err != nil {
		return err
	}
	packager, err := nfpm.Get("deb")
	if err != nil {
		return err
	}
	path := filepath.Join(r.out, packager.ConventionalFileName(info))
	return create(path, func(w io.Writer) error {
		if err := packager.Package(info, w); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return nil
	})
}
