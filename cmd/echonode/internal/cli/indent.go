package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"

	"github.com/echonode/echonode/pipeline/result"
)

// inBackground encodes a value while others are made, as JSON without white space.
func inBackground(v any) (wait func() ([]byte, error)) {
	var b []byte
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		b, err = json.Marshal(v)
	}()
	return func() ([]byte, error) {
		<-done
		return b, err
	}
}

// writeDocument writes a document and a line end as JSON, indented by one space a
// level as json.MarshalIndent does. Its studies are encoded already; it has none
// itself. Results are megabytes: they are not read again token by token.
func writeDocument(out io.Writer, doc *result.Document, studies []func() ([]byte, error)) error {
	b, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	// A text has its quotation marks escaped: this is the member.
	const member = `"studies":[`
	at := bytes.Index(b, []byte(member+"]")) + len(member)
	w := bufio.NewWriterSize(out, 1<<16)
	all := [][]byte{b[:at]}
	for i, wait := range studies {
		one, err := wait()
		if err != nil {
			return err
		}
		if i > 0 {
			all = append(all, []byte{','})
		}
		all = append(all, one)
	}
	indent(w, bytes.Join(append(all, b[at:]), nil))
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
