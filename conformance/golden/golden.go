// Package golden writes bytes with a prose decode beside them, for tests.
package golden

import (
	"encoding/hex"
	"strings"
	"testing"
)

// Bytes turns lines of "hex ; prose" into bytes. A quoted word stands for its
// ASCII bytes.
func Bytes(t testing.TB, text string) []byte {
	t.Helper()
	var out []byte
	for line := range strings.Lines(text) {
		code, _, _ := strings.Cut(line, ";")
		for code = strings.TrimSpace(code); code != ""; code = strings.TrimSpace(code) {
			if code[0] == '"' {
				end := strings.IndexByte(code[1:], '"') + 1
				out = append(out, code[1:end]...)
				code = code[end+1:]
				continue
			}
			word, rest, _ := strings.Cut(code, " ")
			b, err := hex.DecodeString(word)
			if err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			out, code = append(out, b...), rest
		}
	}
	return out
}
