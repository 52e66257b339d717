package models

import (
	"errors"
	"path/filepath"
	"testing"
)

// A process that runs no network knows it all the same, where there is no ONNX
// Runtime.
func TestDescribe(t *testing.T) {
	t.Setenv(LibraryEnv, filepath.Join(t.TempDir(), "nowhere"))
	for _, provider := range []string{"", CPU, Remote} {
		c := Config{Provider: provider, Remote: "http://192.0.2.1"}
		choices, err := Choices(c)
		if err != nil {
			t.Fatal(err)
		}
		e, err := Describe(c)
		if err != nil {
			t.Fatalf("%q: %v", provider, err)
		}
		if e.Card().SHA256 == "" || e.Card().SHA256 != choices[0].Card.SHA256 || e.Provider() != None {
			t.Errorf("%q: %s %s on %s", provider, e.Card().Name, e.Card().SHA256, e.Provider())
		}
		if err := e.Infer(t.Context(), make([]byte, e.Card().FrameSize()), 1, new(Output)); !errors.Is(err, ErrClosed) {
			t.Errorf("%q: %v", provider, err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := Describe(Config{Path: "nowhere.onnx"}); err == nil {
		t.Error("a model that is not there is described")
	}
}
