package main

import (
	"archive/tar"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// image packs a root file system as an OCI image of one layer, without a daemon: a tar of an OCI layout, which podman,
// docker, skopeo and containerd load.
func (r release) image() error {
	layer, err := tarball.LayerFromFile(r.rootfs, tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(gzip.BestSpeed))
	if err != nil {
		return err
	}
	created := v1.Time{Time: r.time}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err = mutate.Append(img,
		mutate.Addendum{Layer: layer, History: v1.History{Created: created, CreatedBy: "echonode make release", Comment: "Debian and the echonode package"}})
	if err != nil {
		return err
	}
	file, err := img.ConfigFile()
	if err != nil {
		return err
	}
	file = file.DeepCopy()
	file.Created, file.OS, file.Architecture = created, "linux", r.arch
	file.Config = v1.Config{
		User:         "echonode",
		WorkingDir:   "/var/lib/echonode",
		Entrypoint:   []string{"/usr/bin/echonode"},
		Cmd:          []string{"serve", "-c", "/etc/echonode/echonode.yaml"},
		Env:          []string{"PATH=/usr/local/bin:/usr/bin:/bin", "TZ=Etc/UTC"},
		ExposedPorts: map[string]struct{}{"11112/tcp": {}, "8104/tcp": {}},
		Volumes:      map[string]struct{}{"/var/lib/echonode": {}},
		StopSignal:   "SIGTERM",
		Labels: map[string]string{
			"org.opencontainers.image.title":       "EchoNode",
			"org.opencontainers.image.description": "DICOM node that measures the left ventricle. Research software, not a cleared medical device.",
			"org.opencontainers.image.version":     r.version,
			"org.opencontainers.image.licenses":    "Apache-2.0",
		},
	}
	if img, err = mutate.ConfigFile(img, file); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(filepath.Dir(r.out), "oci")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	name := map[string]string{"org.opencontainers.image.ref.name": r.version, "io.containerd.image.name": "echonode:" + r.version}
	if err := path.AppendImage(img, layout.WithAnnotations(name)); err != nil {
		return err
	}
	return create(r.out, func(w io.Writer) error { return r.tarFolder(w, dir) })
}

// tarFolder writes a folder as a tar in which nothing depends on when and where it was made.
func (r release) tarFolder(w io.Writer, dir string) error {
	var names []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		return err
	}
	slices.Sort(names)
	t := tar.NewWriter(w)
	for _, path := range names {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		info, err := f.Stat()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if err := t.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: info.Size(), ModTime: r.time, Format: tar.FormatUSTAR}); err != nil {
			return err
		}
		if _, err := io.Copy(t, f); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return t.Close()
}
