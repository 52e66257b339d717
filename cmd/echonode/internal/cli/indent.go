package cli

import (
	"bufio"
	"encoding/json"
	"io"
)

// writeIndented writes v and a line end as JSON, indented by one space a level as
// json.MarshalIndent does. Results are megabytes: they are neither held twice more
// nor read again token by token.
func writeIndented(out io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(out, 1<<16)
	indent(w, b)
	_ = w.WriteByte('\n') // an error stays
	return w.Flush()
}

// indent writes compact JSON with indentation. w keeps the first error.
func indent(w *bufio.Writer, b []byte) {
	depth := 0
	line := func() {
		_ = w.WriteByte('\n')
		for range depth {
			_ = w.WriteByte(' ')
		}
	}
	for i := 0; i < len(b); {
		c := b[i]
		end := i + 1
		switch c {
		case '{', '[':
			if b[end] == c+2 { // empty
				_, _ = w.Write(b[i : end+1])
				i = end + 1
				continue
			}
			_ = w.WriteByte(c)
			depth++
			line()
		case '}', ']':
			depth--
			line()
			_ = w.WriteByte(c)
		case ',':
			_ = w.WriteByte(c)
			line()
		case ':':
			_, _ = w.WriteString(": ")
		case '"':
			for b[end] != '"' {
				if b[end] == '\\' {
					end++
				}
				end++
			}
			end++
			_, _ = w.Write(b[i:end])
		default:
			for end < len(b) && b[end] != ',' && b[end] != ']' && b[end] != '}' {
				end++
			}
			_, _ = w.Write(b[i:end])
		}
		i = end
	}
}
