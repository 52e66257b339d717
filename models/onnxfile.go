package models

import (
	"encoding/binary"
	"errors"
	"fmt"
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
	err := eachField(data, func(num int, _ uint64, body []byte) error {
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
	return eachField(data, func(num int, _ uint64, body []byte) error {
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
	err := eachField(data, func(num int, _ uint64, body []byte) error {
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
	dimension := func(num int, _ uint64, body []byte) error {
		if num != 1 {
			return nil
		}
		size := int64(-1)
		err := eachField(body, func(num int, v uint64, _ []byte) error {
			if num == 1 {
				size = int64(v)
			}
			return nil
		})
		t.dims = append(t.dims, size)
		return err
	}
	tensor := func(num int, v uint64, body []byte) error {
		switch num {
		case 1:
			t.elem = int(v)
		case 2:
			return eachField(body, dimension)
		}
		return nil
	}
	err := eachField(data, func(num int, _ uint64, body []byte) error {
		switch num {
		case 1:
			t.name = string(body)
		case 2:
			return eachField(body, func(num int, _ uint64, body []byte) error {
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

// eachField visits the fields of a protocol buffer message. Numbers arrive in v, everything with a length in body,
// which aliases data.
func eachField(data []byte, visit func(num int, v uint64, body []byte) error) error {
	for len(data) > 0 {
		key, n := binary.Uvarint(data)
		if n <= 0 || key>>3 == 0 || key>>3 > 1<<29-1 {
			return errNotONNX
		}
		data = data[n:]
		var v uint64
		var body []byte
		switch key & 7 {
		case 0: // varint
			if v, n = binary.Uvarint(data); n <= 0 {
				return errNotONNX
			}
			data = data[n:]
		case 1: // 64 bits
			if len(data) < 8 {
				return errNotONNX
			}
			v, data = binary.LittleEndian.Uint64(data), data[8:]
		case 2: // length and bytes
			size, n := binary.Uvarint(data)
			if n <= 0 || size > uint64(len(data)-n) {
				return errNotONNX
			}
			body, data = data[n:n+int(size)], data[n+int(size):]
		case 5: // 32 bits
			if len(data) < 4 {
				return errNotONNX
			}
			v, data = uint64(binary.LittleEndian.Uint32(data)), data[4:]
		default:
			return errNotONNX
		}
		if err := visit(int(key>>3), v, body); err != nil {
			return err
		}
	}
	return nil
}
