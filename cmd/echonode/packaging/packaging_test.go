package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

// inputs are small stand-ins for what a release is made of.
func inputs(t *testing.T) release {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"echonode": "program", "ort/libonnxruntime.so.1.30.0": "library", "ort/LICENSE": "MIT", "ort/ThirdPartyNotices.txt": "notices",
	} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return release{arch: "amd64", version: "1.2.3", binary: filepath.Join(dir, "echonode"), onnxruntime: filepath.Join(dir, "ort"),
		root: filepath.Join("..", "..", ".."), time: time.Unix(1_700_000_000, 0).UTC()}
}

// TestDebIsReproducible: the same inputs give the same bytes, whatever the time.
func TestDebIsReproducible(t *testing.T) {
	r := inputs(t)
	var made [2][]byte
	for i := range made {
		r.out = t.TempDir()
		if err := os.Chtimes(r.binary, time.Now(), time.Now().Add(time.Duration(i)*time.Hour)); err != nil {
			t.Fatal(err)
		}
		if err := r.deb(); err != nil {
			t.Fatal(err)
		}
		var err error
		if made[i], err = os.ReadFile(filepath.Join(r.out, "echonode_1.2.3_amd64.deb")); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(made[0], made[1]) || len(made[0]) < 1000 {
		t.Errorf("two packages of the same inputs differ (%d and %d bytes)", len(made[0]), len(made[1]))
	}
}

// TestDocuments: every link of a page in the package leads to a page in the package, or out of it by its whole address.
func TestDocuments(t *testing.T) {
	pages, err := documents(filepath.Join("..", "..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"README.md", "install.md", "model-card.md", "changelog", "copyright", "echonode.default.yaml"} {
		if pages[name] == "" {
			t.Errorf("%s is missing", name)
		}
	}
	for name, text := range pages {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			target, _, _ := strings.Cut(m[2], "#")
			if !strings.HasSuffix(name, ".svg") && !strings.Contains(target, "://") && target != "" && pages[target] == "" {
				t.Errorf("%s: %s leads nowhere", name, m[0])
			}
		}
	}
	names := map[string]string{"README.md": "README.md", "models/CARD.md": "model-card.md"}
	for _, c := range []struct{ folder, page, want string }{
		{".", "[models/CARD.md](models/CARD.md)", "[models/CARD.md](model-card.md)"},
		{"cmd/echonode/doc", "see [the card](../../../models/CARD.md#data).", "see [the card](model-card.md#data)."},
		{".", "[findings](findings) and [a page](https://example.org/a)", "findings and [a page](https://example.org/a)"},
		{"cmd/echonode/doc", "[a script](../../../findings/a.sh)", "a script (findings/a.sh in the source)"},
	} {
		if got := relink(c.page, c.folder, names); got != c.want {
			t.Errorf("relink(%q) = %q, want %q", c.page, got, c.want)
		}
	}
}

// TestImage makes an image twice and follows index, manifest and configuration as a runtime does.
func TestImage(t *testing.T) {
	r := inputs(t)
	var rootfs bytes.Buffer
	w := tar.NewWriter(&rootfs)
	if err := errors.Join(w.WriteHeader(&tar.Header{Name: "etc/os-release", Size: 4, Mode: 0o644}),
		func() error { _, err := w.Write([]byte("test")); return err }(), w.Close()); err != nil {
		t.Fatal(err)
	}
	r.rootfs = filepath.Join(t.TempDir(), "rootfs.tar")
	if err := os.WriteFile(r.rootfs, rootfs.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	var made [2][]byte
	for i := range made {
		r.out = filepath.Join(t.TempDir(), "image.tar")
		if err := r.image(); err != nil {
			t.Fatal(err)
		}
		var err error
		if made[i], err = os.ReadFile(r.out); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(made[0], made[1]) {
		t.Error("two images of the same root differ")
	}
	files := map[string][]byte{}
	for reader := tar.NewReader(bytes.NewReader(made[0])); ; {
		h, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[h.Name], err = io.ReadAll(reader); err != nil {
			t.Fatal(err)
		}
	}
	blob := func(digest string) []byte { return files["blobs/"+strings.Replace(digest, ":", "/", 1)] }
	type descriptor struct{ Digest, MediaType string }
	var index struct{ Manifests []descriptor }
	var manifest struct {
		Config descriptor
		Layers []descriptor
	}
	var config struct {
		Architecture, OS string
		Config           struct {
			User       string
			Entrypoint []string
		}
	}
	if err := json.Unmarshal(files["index.json"], &index); err != nil || len(index.Manifests) != 1 {
		t.Fatalf("index: %v: %s", err, files["index.json"])
	}
	if err := json.Unmarshal(blob(index.Manifests[0].Digest), &manifest); err != nil || len(manifest.Layers) != 1 {
		t.Fatalf("manifest: %v", err)
	}
	if err := json.Unmarshal(blob(manifest.Config.Digest), &config); err != nil {
		t.Fatal(err)
	}
	if config.Architecture != "amd64" || config.OS != "linux" || config.Config.User != "echonode" || config.Config.Entrypoint[0] != "/usr/bin/echonode" ||
		manifest.Layers[0].MediaType != "application/vnd.oci.image.layer.v1.tar+gzip" || len(blob(manifest.Layers[0].Digest)) == 0 {
		t.Errorf("configuration %+v, layer %+v", config, manifest.Layers[0])
	}
}

// TestCompose: the compose file is one by the compose specification, every file that it mounts is there, and everything
// listens on this machine only.
func TestCompose(t *testing.T) {
	dir, err := filepath.Abs("container")
	if err != nil {
		t.Fatal(err)
	}
	project, err := loader.LoadWithContext(t.Context(),
		types.ConfigDetails{WorkingDir: dir, ConfigFiles: []types.ConfigFile{{Filename: filepath.Join(dir, "compose.yaml")}},
			Environment: types.Mapping{"ECHONODE_IMAGE": "echonode:1.2.3"}}, func(o *loader.Options) { o.SetProjectName("echonode", true) })
	if err != nil {
		t.Fatal(err)
	}
	if len(project.Services) != 3 || project.Services["echonode"].Image != "echonode:1.2.3" {
		t.Errorf("services %v", project.ServiceNames())
	}
	for name, s := range project.Services {
		for _, v := range s.Volumes {
			if v.Type != types.VolumeTypeBind {
				continue
			}
			if _, err := os.Stat(v.Source); err != nil || !v.ReadOnly {
				t.Errorf("%s mounts %s: %v, read-only %v", name, v.Source, err, v.ReadOnly)
			}
		}
		for _, p := range s.Ports {
			if p.HostIP != "127.0.0.1" {
				t.Errorf("%s listens on %q", name, p.HostIP)
			}
		}
	}
}
