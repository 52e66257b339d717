package models

import (
	"os"
	"testing"

	ort "github.com/yalue/onnxruntime_go"
)

// TestParseONNXAgreesWithRuntime compares the small reader with what ONNX Runtime says about the same file.
func TestParseONNXAgreesWithRuntime(t *testing.T) {
	requireLibrary(t)
	if _, _, err := acquireEnvironment(""); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := releaseEnvironment(); err != nil {
			t.Error(err)
		}
	}()
	for _, path := range []string{tiny, "testdata/batch-1.onnx", "testdata/mask-float.onnx"} {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		file, err := parseONNX(data)
		if err != nil {
			t.Fatal(err)
		}
		inputs, outputs, err := ort.GetInputOutputInfoWithONNXData(data)
		if err != nil {
			t.Fatal(err)
		}
		for _, side := range []struct {
			mine  []tensorInfo
			their []ort.InputOutputInfo
		}{{file.inputs, inputs}, {file.outputs, outputs}} {
			if len(side.mine) != len(side.their) {
				t.Fatalf("%s: %d tensors, ONNX Runtime sees %d", path, len(side.mine), len(side.their))
			}
			for i, m := range side.mine {
				r := side.their[i]
				if m.name != r.Name || m.elem != int(r.DataType) || shapeString(m.dims) != shapeString(r.Dimensions) {
					t.Errorf("%s: %+v, ONNX Runtime sees %s", path, m, &r)
				}
			}
		}
	}
}

// FuzzReadCard feeds damaged model files: an answer is a whole card or a *ContractError.
func FuzzReadCard(f *testing.F) {
	for _, path := range []string{tiny, "testdata/no-card.onnx", "testdata/no-view.onnx"} {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		card, err := ReadCard("fuzz", data)
		if err == nil && (card.Class(ClassLVCavity) < 0 || card.FrameSize() <= 0 || card.SHA256 == "") {
			t.Errorf("accepted: %+v", card)
		}
	})
}
