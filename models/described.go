package models

import (
	"context"
	"fmt"
)

// Describe returns an engine that knows the model of a configuration and runs nothing, for processes that leave the
// analysis to others: it needs no ONNX Runtime, and no memory for a session. Its model is that which Open would try
// first. Infer fails with ErrClosed; Provider is None.
//
// Errors match ErrNoModel, ErrContract or ErrProvider.
func Describe(c Config) (Engine, error) {
	choices, err := Choices(c)
	if err != nil {
		return nil, err
	}
	return described{choices[0].Card}, nil
}

// None is the provider of an engine that runs nothing.
const None = "none"

type described struct{ card Card }

func (d described) Card() Card       { return d.card }
func (d described) Provider() string { return None }
func (d described) Close() error     { return nil }

func (d described) Infer(context.Context, []byte, int, *Output) error {
	return fmt.Errorf("models: %s %s is not run by this process: %w", d.card.Name, d.card.Version, ErrClosed)
}
