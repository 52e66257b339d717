package models

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// This file reads the few parts of an ONNX file the contract speaks about: names, types and shapes of the graph's
// inputs and outputs, and the metadata. It does so without ONNX Runtime, so that a configuration can be checked on a
// machine without the library and a remote engine can know its model.
//
// An ONNX file is a protocol buffer; field numbers are those of onnx.proto (IR version 3 and later).

// element types of TensorProto.DataType that the contract uses.
const (
	elemFloat32 = 1
	elemUint8   = 2
)

var elemNames = map[int]string{
	1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool",
	10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 16: "bfloat16",
}

func elemName(t int) string {
	if n, ok := elemNames[t]; ok {
		return n
	}
	return fmt.Sprintf("element type %d", t)
}

// tensorInfo describes an input or output of the graph. A dimension that is not fixed is -1.
type tensorInfo struct {
	name string
	elem int
	dims []int64
}

type onnxFile struct {
	inputs, outputs []tensorInfo
	metadata        map[string]string
}

var errNotONNX = errors.New("not an ONNX file")

// parseONNX reads a ModelProto: graph = 7, metadata_props = 14.
func parseONNX(data []byte) (onnxFile, error) {
	f := onnxFile{metadata: map[string]string{}}
	graph := false
	err := eachField(data, func(num protowire.Number, _ uint64, body []byte) error {
		switch num {
		case 7:
			graph = true
			return f.parseGraph(body)
		case 14:
			return f.parseMetadata(body)
		}
		return nil
	})
	if err == nil && !graph {
		err = errNotONNX
	}
	return f, err
}

// parseGraph reads a GraphProto: input = 11, output = 12.
func (f *onnxFile) parseGraph(data []byte) error {
	return eachField(data, func(num protowire.Number, _ uint64, body []byte) error {
		switch num {
		case 11, 12:
			t, err := parseValueInfo(body)
			if err != nil {
				return err
			}
			if num == 11 {
				f.inputs = append(f.inputs, t)
			} else {
				f.outputs = append(f.outputs, t)
			}
		}
		return nil
	})
}

// parseMetadata reads a StringStringEntryProto: key = 1, value = 2.
func (f *onnxFile) parseMetadata(data []byte) error {
	var key, value string
	err := eachField(data, func(num protowire.Number, _ uint64, body []byte) error {
		switch num {
		case 1:
			key = string(body)
		case 2:
			value = string(body)
		}
		return nil
	})
	f.metadata[key] = value
	return err
}

// parseValueInfo reads a ValueInfoProto: name = 1, type = 2; TypeProto: tensor_type = 1; Tensor: elem_type = 1,
// shape = 2; TensorShapeProto: dim = 1; Dimension: dim_value = 1.
func parseValueInfo(data []byte) (tensorInfo, error) {
	var t tensorInfo
	dimension := func(num protowire.Number, _ uint64, body []byte) error {
		if num != 1 {
			return nil
		}
		size := int64(-1)
		err := eachField(body, func(num protowire.Number, v uint64, _ []byte) error {
			if num == 1 {
				size = int64(v)
			}
			return nil
		})
		t.dims = append(t.dims, size)
		return err
	}
	tensor := func(num protowire.Number, v uint64, body []byte) error {
		switch num {
		case 1:
			t.elem = int(v)
		case 2:
			return eachField(body, dimension)
		}
		return nil
	}
	err := eachField(data, func(num protowire.Number, _ uint64, body []byte) error {
		switch num {
		case 1:
			t.name = string(body)
		case 2:
			return eachField(body, func(num protowire.Number, _ uint64, body []byte) error {
				if num == 1 {
					return eachField(body, tensor)
				}
				return nil
			})
		}
		return nil
	})
	return t, err
}

// eachField visits the fields of a protocol buffer message. Varints arrive in v, everything with a length in body, which
// aliases data; what the contract does not use, numbers of a fixed width and groups, is passed over.
func eachField(data []byte, visit func(num protowire.Number, v uint64, body []byte) error) error {
	for len(data) > 0 {
		num, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return errNotONNX
		}
		data = data[n:]
		var v uint64
		var body []byte
		switch kind {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(data)
		case protowire.BytesType:
			body, n = protowire.ConsumeBytes(data)
		default:
			n = protowire.ConsumeFieldValue(num, kind, data)
		}
		if n < 0 {
			return errNotONNX
		}
		data = data[n:]
		if err := visit(num, v, body); err != nil {
			return err
		}
	}
	return nil
}
