package models

import (
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"

	ort "github.com/yalue/onnxruntime_go"
)

// LibraryEnv names the environment variable that points to the ONNX Runtime library, a file or a folder.
const LibraryEnv = "ECHONODE_ONNXRUNTIME"

// libraryNames are file names of the library, the pinned version first.
var libraryNames = []string{"libonnxruntime.so.1.30.0", "libonnxruntime.so.1", "libonnxruntime.so"}

// pinnedLibraries are the SHA-256 of the builds that conformance/setup fetches and the tests run with.
var pinnedLibraries = map[string]string{
	"c902c70b3003c0e99fada202f37478c515ae9bba7944c2b2abd0017bae0c82ed": "1.30.0 for x86_64",
	"8a218e1e446880131115c368ec7005969a5022af9a15a26173de648fef0b7789": "1.30.0 for aarch64",
	"5a140dc17c8b60b35b2ceab0bb533e65ac54f06a208948417c1f9c31df6afc4c": "1.30.0 for x86_64 with CUDA and TensorRT",
}

// libraryPlace is a file that ONNX Runtime may be loaded from.
type libraryPlace struct {
	path string
	// named: a person named it, in the configuration or the environment. It may then be a build of their own;
	// a library that was merely found must be a pinned one.
	named bool
}

// findLibrary lists the places to load ONNX Runtime from, in order: the configuration, the environment variable, lib/
// beside the executable (a folder with everything in it), ../lib/echonode beside the executable's folder (installed
// below a prefix). A place that is named explicitly is the only one. Neither the working directory nor the system's
// search path counts: whoever can write there would run code in the node.
func findLibrary(configured string) []libraryPlace {
	if configured == "" {
		configured = os.Getenv(LibraryEnv)
	}
	if configured != "" {
		if info, err := os.Stat(configured); err == nil && info.IsDir() {
			found := inFolder(configured)
			if found == "" {
				found = libraryNames[0]
			}
			configured = filepath.Join(configured, filepath.Base(found))
		}
		if abs, err := filepath.Abs(configured); err == nil {
			configured = abs
		}
		return []libraryPlace{{configured, true}}
	}
	exe, err := os.Executable()
	if err != nil { // for example without /proc
		return nil
	}
	if real, err := filepath.EvalSymlinks(exe); err == nil {
		exe = real
	}
	return installedLibraries(filepath.Dir(exe))
}

// installedLibraries are the places that belong to a program in the folder bin; the first is listed even when nothing
// is there, so that a message can name it.
func installedLibraries(bin string) []libraryPlace {
	folders := []string{filepath.Join(bin, "lib"), filepath.Join(filepath.Dir(bin), "lib", "echonode")}
	var places []libraryPlace
	for _, folder := range folders {
		if found := inFolder(folder); found != "" {
			places = append(places, libraryPlace{found, false})
		}
	}
	if len(places) == 0 {
		for _, folder := range folders {
			places = append(places, libraryPlace{filepath.Join(folder, libraryNames[0]), false})
		}
	}
	return places
}

func inFolder(folder string) string {
	for _, name := range libraryNames {
		path := filepath.Join(folder, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path
		}
	}
	return ""
}

// check decides from the file alone, before any of its code runs, whether a library may be loaded. A pinned build may.
// A build of one's own may if it was named explicitly, nobody but root and the user of this process can have written
// it, and it is an ONNX Runtime for this machine. pinned names the build, empty for one's own.
func (p libraryPlace) check() (pinned string, err error) {
	f, err := os.Open(p.path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return "", err
	}
	sum := hex.EncodeToString(hash.Sum(nil))
	if build, ok := pinnedLibraries[sum]; ok {
		return build, nil
	}
	if !p.named {
		return "", fmt.Errorf("%s is not a build that this version was tested with (SHA-256 %s); to use it all the same name it in the configuration or in %s",
			p.path, sum, LibraryEnv)
	}
	for _, path := range []string{p.path, filepath.Dir(p.path)} {
		if err := onlyOurs(path); err != nil {
			return "", err
		}
	}
	return "", isRuntime(f)
}

// onlyOurs fails if somebody other than root and this process's user can change a file or folder.
func onlyOurs(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	if stat.Uid != 0 && int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to user %d, neither root nor the user of this process", path, stat.Uid)
	}
	// A folder with the sticky bit keeps one user from replacing another's file.
	if others := info.Mode().Perm() & 0o022; others != 0 && info.Mode()&fs.ModeSticky == 0 {
		return fmt.Errorf("%s can be written by others (mode %04o)", path, info.Mode().Perm())
	}
	return nil
}

// isRuntime fails unless the file is a shared object for this machine that offers ONNX Runtime's entry point.
func isRuntime(r io.ReaderAt) error {
	file, err := elf.NewFile(r)
	if err != nil {
		return fmt.Errorf("not a shared library: %w", err)
	}
	defer file.Close()
	machines := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}
	if want, known := machines[runtime.GOARCH]; file.Type != elf.ET_DYN || known && file.Machine != want {
		return fmt.Errorf("%v for %v, not a shared library for %s", file.Type, file.Machine, runtime.GOARCH)
	}
	symbols, err := file.DynamicSymbols()
	if err != nil {
		return fmt.Errorf("no symbols: %w", err)
	}
	if !slices.ContainsFunc(symbols, func(s elf.Symbol) bool { return s.Name == "OrtGetApiBase" && s.Section != elf.SHN_UNDEF }) {
		return errors.New("not ONNX Runtime: it has no OrtGetApiBase")
	}
	return nil
}

// NotPinned is what Library calls a build of one's own.
const NotPinned = "not a pinned build"

// Library says where ONNX Runtime would be loaded from, after checking it, and which build it is: a pinned one by its
// name, or NotPinned. Nothing is loaded. The error is a *LibraryError.
func Library(configured string) (path, build string, err error) {
	places := findLibrary(configured)
	var errs []error
	for _, place := range places {
		build, err := place.check()
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if build == "" {
			build = NotPinned
		}
		return place.path, build, nil
	}
	return "", "", libraryError(places, errs)
}

func libraryError(places []libraryPlace, errs []error) *LibraryError {
	if len(places) == 0 {
		errs = append(errs, errors.New("where this program is installed can't be found out"))
	}
	e := &LibraryError{Err: errors.Join(errs...)}
	for _, p := range places {
		e.Tried = append(e.Tried, p.path)
	}
	return e
}

// environment is the one ONNX Runtime environment of this process. The binding keeps library handle and environment in
// its own package variables, so it cannot belong to an engine: engines share it and it is released with the last one.
// All access is under the mutex.
var environment struct {
	sync.Mutex
	users   int
	library string
}

// acquireEnvironment loads ONNX Runtime unless an engine of this process already did, and returns what was loaded.
// Each success needs one releaseEnvironment. The error is a *LibraryError.
func acquireEnvironment(configured string) (library, version string, err error) {
	environment.Lock()
	defer environment.Unlock()
	places := findLibrary(configured)
	if environment.users > 0 {
		if configured != "" && !slices.ContainsFunc(places, func(p libraryPlace) bool { return p.path == environment.library }) {
			return "", "", libraryError(places, []error{fmt.Errorf("this process already runs %s", environment.library)})
		}
		environment.users++
		return environment.library, ort.GetVersion(), nil
	}
	var errs []error
	for _, place := range places {
		if _, err := place.check(); err != nil {
			errs = append(errs, err)
			continue
		}
		ort.SetSharedLibraryPath(place.path)
		// Warnings of ONNX Runtime go straight to stderr and speak of devices nobody asked for.
		if err := ort.InitializeEnvironment(ort.WithLogLevelError()); err != nil {
			errs = append(errs, err)
			continue
		}
		environment.users, environment.library = 1, place.path
		return place.path, ort.GetVersion(), nil
	}
	return "", "", libraryError(places, errs)
}

func releaseEnvironment() error {
	environment.Lock()
	defer environment.Unlock()
	environment.users--
	if environment.users > 0 {
		return nil
	}
	environment.library = ""
	return ort.DestroyEnvironment()
}

// hasProvider reports whether a library's folder holds the plug-in of a GPU provider. The pinned CPU build has none.
func hasProvider(library, provider string) bool {
	_, err := os.Stat(filepath.Join(filepath.Dir(library), "libonnxruntime_providers_"+strings.ToLower(provider)+".so"))
	return err == nil
}
