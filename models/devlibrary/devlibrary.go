// Package devlibrary points tests at the ONNX Runtime that `make setup` fetched into the source tree. A test package
// imports it for its effect:
//
//	import _ "github.com/echonode/echonode/models/devlibrary"
//
// Unless ECHONODE_ONNXRUNTIME is set already (be it to nothing) it is set to .build/onnxruntime of this source tree, for this process and
// the programs it starts. The program itself never looks there: a library is code, and a working directory may be
// anybody's.
package devlibrary

import (
	"os"
	"path/filepath"
	"runtime"
)

const variable = "ECHONODE_ONNXRUNTIME" // models.LibraryEnv; package models itself imports this one in its tests

func init() {
	if _, set := os.LookupEnv(variable); set {
		return
	}
	_, file, _, ok := runtime.Caller(0)
	if !ok || !filepath.IsAbs(file) { // built with -trimpath
		return
	}
	folder := filepath.Join(filepath.Dir(file), "..", "..", ".build", "onnxruntime")
	if info, err := os.Stat(folder); err != nil || !info.IsDir() {
		return // tests that need the library skip
	}
	if err := os.Setenv(variable, folder); err != nil {
		panic(err)
	}
}
