// Command packaging makes the files of a release from a built binary: the Debian package, the software bill of materials,
// the OCI image and the checksums. It is a module of its own, so that what packs EchoNode is no dependency of it.
//
//	packaging deb      --arch amd64 --version 0.5.0 --binary FILE --onnxruntime DIR --root DIR --out DIR
//	packaging sbom     --arch amd64 --version 0.5.0 --binary FILE --onnxruntime DIR --out FILE
//	packaging image    --arch amd64 --version 0.5.0 --rootfs FILE.tar --out FILE.tar
//	packaging sums     DIR
//	packaging licences --binary FILE
//
// Times in the files are SOURCE_DATE_EPOCH: the same inputs give the same bytes. release.sh calls it.
package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// release is what every command is told.
type release struct {
	arch, version, binary, onnxruntime, root, rootfs, out string

	time time.Time
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "packaging:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New("deb, sbom, image, sums or licences?")
	}
	var r release
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.StringVar(&r.arch, "arch", "amd64", "amd64 or arm64")
	flags.StringVar(&r.version, "version", "", "version, for example 0.5.0")
	flags.StringVar(&r.binary, "binary", "", "the built program")
	flags.StringVar(&r.onnxruntime, "onnxruntime", "", "folder of the ONNX Runtime library for the architecture")
	flags.StringVar(&r.root, "root", ".", "root of the source tree")
	flags.StringVar(&r.rootfs, "rootfs", "", "tar of the image's file system")
	flags.StringVar(&r.out, "out", "", "where to write to")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	epoch, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil {
		return fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	r.time = time.Unix(epoch, 0).UTC()
	switch args[0] {
	case "deb":
		return r.deb()
	case "sbom":
		return r.sbom()
	case "image":
		return r.image()
	case "sums":
		return sums(flags.Arg(0))
	case "licences":
		return r.licences()
	default:
		return fmt.Errorf("unknown command %q", args[0])
	}
}

// create writes a file by f and leaves none behind when that fails.
func create(path string, f func(io.Writer) error) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(file)
	if err := errors.Join(f(w), w.Flush(), file.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	fmt.Println(path)
	return nil
}

func sha256File(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// sums writes SHA256SUMS for every file of a folder, in the form sha256sum checks.
func sums(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var lines []string
	for _, e := range entries {
		if e.Name() == "SHA256SUMS" || !e.Type().IsRegular() {
			continue
		}
		sum, err := sha256File(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		lines = append(lines, sum+"  "+e.Name()+"\n")
	}
	slices.Sort(lines)
	return create(filepath.Join(dir, "SHA256SUMS"), func(w io.Writer) error {
		for _, l := range lines {
			if _, err := io.WriteString(w, l); err != nil {
				return err
			}
		}
		return nil
	})
}
