package models

import (
	"embed"
	"fmt"
	"os"
)

// The shipped models: echonode-lv.onnx in fp32 and, where its accuracy holds, echonode-lv-int8.onnx. The pattern also
// matches this file, so that the package builds in a tree without models.
//
//go:embed e*
var shipped embed.FS

const (
	shippedFP32 = "echonode-lv.onnx"
	shippedINT8 = "echonode-lv-int8.onnx"
)

// maxModelBytes bounds what is read from a configured path.
const maxModelBytes = 2 << 30

// load returns the model file of a configuration: the configured path or the embedded model. quantised chooses the
// embedded int8 model where there is one.
func load(path string, quantised bool) (name string, onnx []byte, err error) {
	if path != "" {
		info, err := os.Stat(path)
		if err != nil {
			return "", nil, fmt.Errorf("models: %w", err)
		}
		if !info.Mode().IsRegular() || info.Size() > maxModelBytes {
			return "", nil, fmt.Errorf("models: %s is not a file of at most %d bytes", path, maxModelBytes)
		}
		onnx, err := os.ReadFile(path)
		if err != nil {
			return "", nil, fmt.Errorf("models: %w", err)
		}
		return path, onnx, nil
	}
	if quantised {
		if onnx, err := shipped.ReadFile(shippedINT8); err == nil {
			return "embedded " + shippedINT8, onnx, nil
		}
	}
	onnx, err = shipped.ReadFile(shippedFP32)
	if err != nil {
		return "", nil, fmt.Errorf("models: %w: none is configured and this binary holds none", ErrNoModel)
	}
	return "embedded " + shippedFP32, onnx, nil
}
