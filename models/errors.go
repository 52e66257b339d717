package models

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Kinds of failure a caller can tell apart with errors.Is.
var (
	// ErrNoModel: the binary does not hold the variant of the model that is asked for.
	ErrNoModel = errors.New("no model")
	// ErrContract: the model file does not fulfil the contract; errors.As with *ContractError lists what is off.
	ErrContract = errors.New("model contract")
	// ErrLibrary: the ONNX Runtime library was not found or does not load.
	ErrLibrary = errors.New("ONNX Runtime library")
	// ErrProvider: the provider asked for is unknown or not available here.
	ErrProvider = errors.New("inference provider")
	// ErrSelfTest: the model loads but answers nonsense to a known picture, or not in time.
	ErrSelfTest = errors.New("model self-test")
	// ErrClosed: the engine was closed.
	ErrClosed = errors.New("engine closed")
)

// ContractError lists everything in which a model differs from the contract. It matches ErrContract.
type ContractError struct {
	Model    string   // file name, "embedded model" or the URL of a remote model
	Problems []string // complete sentences without a full stop
}

func (e *ContractError) Error() string {
	return fmt.Sprintf("models: %s does not fulfil model contract %d: %s", e.Model, ContractVersion, strings.Join(e.Problems, "; "))
}

func (e *ContractError) Is(target error) bool { return target == ErrContract }

// ProviderError says why a provider cannot be used. It matches ErrProvider.
type ProviderError struct {
	Provider string
	Err      error
}

func (e *ProviderError) Error() string {
	return fmt.Sprintf("models: provider %s is not available: %s", e.Provider, runtimePrefix.ReplaceAllString(e.Err.Error(), ""))
}

func (e *ProviderError) Is(target error) bool { return target == ErrProvider }

func (e *ProviderError) Unwrap() error { return e.Err }

// runtimePrefix is what ONNX Runtime puts before a message: source file, function, status.
var runtimePrefix = regexp.MustCompile(`(/\S+:\d+ [^\[]*)?\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : `)

// LibraryError says where the ONNX Runtime library was looked for. It matches ErrLibrary.
type LibraryError struct {
	Tried []string // places, in the order of the search
	Err   error
}

func (e *LibraryError) Error() string {
	return fmt.Sprintf("models: no usable ONNX Runtime library (looked at %s; analysis.onnxruntime or ECHONODE_ONNXRUNTIME names another place): %v",
		strings.Join(e.Tried, ", "), e.Err)
}

func (e *LibraryError) Is(target error) bool { return target == ErrLibrary }

func (e *LibraryError) Unwrap() error { return e.Err }
