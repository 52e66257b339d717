package models

import (
	"embed"
	"fmt"
	"os"
)

// The shipped models: echonode-lv.onnx in fp32 and, where its accuracy holds, echonode-lv-int8.onnx.
//
//go:embed echonode-lv*.onnx
var shipped embed.FS

const (
	shippedFP32 = "echonode-lv.onnx"
	shippedINT8 = "echonode-lv-int8.onnx"
)

// maxModelBytes bounds what is read from a configured path.
const maxModelBytes = 2 << 30

// load returns the model file of a configuration: the configured path or the embedded model of a variant. Without a
// variant the CPU gets int8 where it is shipped, everything else fp32.
func load(path, variant, provider string) (name string, onnx []byte, err error) {
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
	file := shippedFP32
	if variant == INT8 || variant == "" && provider == CPU {
		file = shippedINT8
	}
	onnx, err = shipped.ReadFile(file)
	if err != nil && variant == "" {
		file = shippedFP32
		onnx, err = shipped.ReadFile(file)
	}
	if err != nil {
		return "", nil, fmt.Errorf("models: %w: this binary does not hold %s", ErrNoModel, file)
	}
	return "embedded " + file, onnx, nil
}
