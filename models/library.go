package models

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	ort "github.com/yalue/onnxruntime_go"
)

// LibraryEnv names the environment variable that points to the ONNX Runtime library, a file or a folder.
const LibraryEnv = "ECHONODE_ONNXRUNTIME"

// libraryNames are file names of the library, the pinned version first.
var libraryNames = []string{"libonnxruntime.so.1.30.0", "libonnxruntime.so.1", "libonnxruntime.so"}

// findLibrary lists the places to load ONNX Runtime from, in order: the configuration, the environment variable,
// lib/ beside the executable, .build/onnxruntime/ in the working directory or above it, the system's loader. A place
// that is named explicitly is the only one.
func findLibrary(configured string) []string {
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
		if abs, err := filepath.Abs(configured); err == nil && strings.ContainsRune(configured, filepath.Separator) {
			configured = abs
		}
		return []string{configured}
	}
	var places []string
	add := func(folder string) {
		if found := inFolder(folder); found != "" {
			places = append(places, found)
		}
	}
	if exe, err := os.Executable(); err == nil {
		if real, err := filepath.EvalSymlinks(exe); err == nil {
			exe = real
		}
		add(filepath.Join(filepath.Dir(exe), "lib"))
	}
	if dir, err := os.Getwd(); err == nil {
		for {
			add(filepath.Join(dir, ".build", "onnxruntime"))
			parent := filepath.Dir(dir)
			if parent == dir {
				break
			}
			dir = parent
		}
	}
	return append(places, libraryNames[1:]...) // by name alone: the system's loader
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
		if configured != "" && !slices.Contains(places, environment.library) {
			return "", "", &LibraryError{places, fmt.Errorf("this process already runs %s", environment.library)}
		}
		environment.users++
		return environment.library, ort.GetVersion(), nil
	}
	var errs []error
	for _, place := range places {
		ort.SetSharedLibraryPath(place)
		// Warnings of ONNX Runtime go straight to stderr and speak of devices nobody asked for.
		if err := ort.InitializeEnvironment(ort.WithLogLevelError()); err != nil {
			errs = append(errs, err)
			continue
		}
		environment.users, environment.library = 1, place
		return place, ort.GetVersion(), nil
	}
	return "", "", &LibraryError{places, errors.Join(errs...)}
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
