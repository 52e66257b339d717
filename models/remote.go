package models

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// This file is a client of the Open Inference Protocol (KServe v2) over HTTP, as Triton, OpenVINO Model Server and
// KServe speak it. Tensors travel in the binary tensor data extension where the server announces or understands it, else
// as JSON.
// Source: kserve/open-inference-protocol, specification/protocol/inference_rest.md, and the Triton extension
// binary_tensor_data.

const (
	remoteChunk = 32 // frames per request; the server batches across requests by itself
	// remoteTimeout bounds a request of the default client. A chunk takes a slow CPU server about three seconds.
	remoteTimeout = 60 * time.Second
	// metadataLimit bounds answers that hold no tensors.
	metadataLimit = 1 << 20

	headerLength = "Inference-Header-Content-Length"
)

// RemoteError is an answer of a remote server that is not a success.
type RemoteError struct {
	Status  int    // HTTP status
	Message string // the server's own words, shortened
}

func (e *RemoteError) Error() string {
	return fmt.Sprintf("the inference server answers %d %s: %s", e.Status, http.StatusText(e.Status), e.Message)
}

// Temporary reports whether the same request may succeed later.
func (e *RemoteError) Temporary() bool {
	return e.Status == http.StatusTooManyRequests || e.Status >= 500 && e.Status != http.StatusNotImplemented
}

// remote is the device behind a URL.
type remote struct {
	client *http.Client
	model  *url.URL // .../v2/models/NAME[/versions/VERSION]
	card   Card
	binary bool
	tokens chan struct{} // requests on their way
}

func openRemote(ctx context.Context, c Config, logger *slog.Logger) (Engine, error) {
	name, onnx, err := load(c.Path, c.Variant, Remote)
	if err != nil {
		return nil, err
	}
	card, err := ReadCard(name, onnx)
	if err != nil {
		return nil, err
	}
	r, err := newRemote(ctx, c, card)
	if err != nil {
		return nil, err
	}
	e := newSpreader(card, r, remoteChunk, c.Workers, nil)
	if err := selfTest(ctx, e, c.StartLimit); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	logReady(logger, e, name, nil, "requests", c.Workers, "binary", r.binary)
	return e, nil
}

// newRemote reads the server's metadata and compares it with the card. A server that cannot be reached or does not know
// the model gives a *ProviderError, one whose model has other tensors a *ContractError.
func newRemote(ctx context.Context, c Config, card Card) (*remote, error) {
	base, model, err := remoteURLs(c.Remote, card.Name)
	if err != nil {
		return nil, &ProviderError{Remote, err}
	}
	r := &remote{client: c.HTTPClient, model: model, card: card, tokens: make(chan struct{}, c.Workers)}
	if r.client == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.MaxIdleConnsPerHost = c.Workers
		r.client = &http.Client{Timeout: remoteTimeout, Transport: transport}
	}
	var server struct {
		Extensions []string `json:"extensions"`
	}
	if err := r.get(ctx, base, &server); err != nil {
		return nil, &ProviderError{Remote, err}
	}
	var described struct {
		Inputs, Outputs []struct {
			Name     string  `json:"name"`
			Datatype string  `json:"datatype"`
			Shape    []int64 `json:"shape"`
		}
	}
	if err := r.get(ctx, model, &described); err != nil {
		return nil, &ProviderError{Remote, err}
	}
	var file onnxFile
	elems := map[string]int{"UINT8": elemUint8, "FP32": elemFloat32}
	for _, t := range described.Inputs {
		file.inputs = append(file.inputs, tensorInfo{t.Name, elems[t.Datatype], t.Shape})
	}
	for _, t := range described.Outputs {
		file.outputs = append(file.outputs, tensorInfo{t.Name, elems[t.Datatype], t.Shape})
	}
	if problems := card.graphProblems(file); len(problems) > 0 {
		return nil, &ContractError{Model: model.Redacted(), Problems: problems}
	}
	// KServe's own server takes binary tensors without announcing them: one black frame finds out.
	r.binary = true
	if !slices.Contains(server.Extensions, "binary_tensor_data") {
		var out Output
		out.reset(card, 1)
		r.binary = r.run(ctx, make([]byte, card.FrameSize()), 1, out.rows(0, 1)) == nil
	}
	return r, nil
}

// remoteURLs splits the configured URL into the server's and the model's.
func remoteURLs(configured, name string) (server, model *url.URL, err error) {
	u, err := url.Parse(strings.TrimRight(configured, "/"))
	if err != nil {
		return nil, nil, err
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, nil, fmt.Errorf("%q is not an http or https URL", u.Redacted())
	}
	prefix, path, found := strings.Cut(u.EscapedPath(), "/v2/models/")
	if !found {
		prefix, path = strings.TrimSuffix(u.EscapedPath(), "/v2"), url.PathEscape(name)
	}
	root := *u
	root.Path, root.RawPath, root.RawQuery, root.Fragment = "", "", "", ""
	return root.JoinPath(prefix, "v2"), root.JoinPath(prefix, "v2/models", path), nil
}

func (r *remote) name() string { return Remote + " " + r.model.Redacted() }

func (r *remote) close() error {
	r.client.CloseIdleConnections()
	return nil
}

func (r *remote) get(ctx context.Context, u *url.URL, answer any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	_, body, err := r.do(request, metadataLimit)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, answer); err != nil {
		return fmt.Errorf("%s does not answer with JSON: %w", u.Redacted(), err)
	}
	return nil
}

// do sends a request and returns header and body of a 200 answer of at most limit bytes.
func (r *remote) do(request *http.Request, limit int64) (http.Header, []byte, error) {
	response, err := r.client.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	if err != nil {
		return nil, nil, fmt.Errorf("read the answer of %s: %w", request.URL.Redacted(), err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, nil, &RemoteError{response.StatusCode, serverMessage(body)}
	}
	if int64(len(body)) > limit {
		return nil, nil, fmt.Errorf("the answer of %s is longer than %d bytes", request.URL.Redacted(), limit)
	}
	return response.Header, body, nil
}

// serverMessage takes the error text out of an answer; the protocol has {"error": "..."}.
func serverMessage(body []byte) string {
	var answer struct {
		Error string `json:"error"`
	}
	message := string(body)
	if json.Unmarshal(body, &answer) == nil && answer.Error != "" {
		message = answer.Error
	}
	message = strings.ToValidUTF8(strings.TrimSpace(message), "?")
	if len(message) > 300 {
		message = strings.ToValidUTF8(message[:300], "") + "..."
	}
	return message
}

// remoteTensor is one entry of "inputs" or "outputs".
type remoteTensor struct {
	Name       string           `json:"name"`
	Shape      []int64          `json:"shape,omitempty"`
	Datatype   string           `json:"datatype,omitempty"`
	Parameters remoteParameters `json:"parameters,omitzero"`
	Data       json.RawMessage  `json:"data,omitempty"`
}

type remoteParameters struct {
	BinaryDataSize int  `json:"binary_data_size,omitempty"` // of a tensor that travels outside the JSON
	BinaryData     bool `json:"binary_data,omitempty"`      // ask for an output that way
}

func (r *remote) run(ctx context.Context, frames []byte, n int, out rows) error {
	select {
	case r.tokens <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-r.tokens }()

	request, err := r.request(ctx, frames, n)
	if err != nil {
		return err
	}
	header, body, err := r.do(request, r.answerLimit(out))
	if err != nil {
		return err
	}
	return decodeRemote(header, body, n, r.card, out)
}

// answerLimit is what the outputs need as JSON at most (a float32 has up to 15 characters), or as bytes with room for
// the JSON header.
func (r *remote) answerLimit(out rows) int64 {
	return metadataLimit + int64(len(out.mask))*4 + int64(len(out.heatmaps)+len(out.view)+len(out.extras))*16
}

// request builds POST .../infer.
func (r *remote) request(ctx context.Context, frames []byte, n int) (*http.Request, error) {
	input, outputs := r.card.tensors()
	type body struct {
		Inputs  []remoteTensor `json:"inputs"`
		Outputs []remoteTensor `json:"outputs"`
	}
	b := body{Inputs: []remoteTensor{{Name: input.name, Shape: append([]int64{int64(n)}, input.dims[1:]...), Datatype: "UINT8"}}}
	for _, t := range outputs {
		b.Outputs = append(b.Outputs, remoteTensor{Name: t.name, Parameters: remoteParameters{BinaryData: r.binary}})
	}
	if r.binary {
		b.Inputs[0].Parameters.BinaryDataSize = len(frames)
	} else {
		b.Inputs[0].Data = numbers(frames)
	}
	head, err := json.Marshal(b)
	if err != nil {
		return nil, err
	}
	payload := [][]byte{head}
	if r.binary {
		payload = append(payload, frames)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, r.model.JoinPath("infer").String(), bytes.NewReader(slices.Concat(payload...)))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	if r.binary {
		request.Header.Set("Content-Type", "application/octet-stream")
		request.Header.Set(headerLength, strconv.Itoa(len(head)))
	}
	return request, nil
}

// numbers writes bytes as a JSON array of numbers; encoding/json would write them as base64.
func numbers(b []byte) json.RawMessage {
	s := make([]byte, 0, 4*len(b)+2)
	s = append(s, '[')
	for i, v := range b {
		if i > 0 {
			s = append(s, ',')
		}
		s = strconv.AppendUint(s, uint64(v), 10)
	}
	return append(s, ']')
}

// decodeRemote takes the outputs out of an answer. Everything in it is checked: sizes come from a server.
func decodeRemote(header http.Header, body []byte, n int, card Card, out rows) error {
	head := body
	var tail []byte // binary tensors, in the order of the outputs
	if length := header.Get(headerLength); length != "" {
		size, err := strconv.Atoi(length)
		if err != nil || size < 0 || size > len(body) {
			return fmt.Errorf("the answer has the header length %q in %d bytes", length, len(body))
		}
		head, tail = body[:size], body[size:]
	}
	var answer struct {
		Outputs []remoteTensor `json:"outputs"`
	}
	if err := json.Unmarshal(head, &answer); err != nil {
		return fmt.Errorf("the answer is not JSON: %w", err)
	}
	_, wanted := card.tensors()
	seen := map[string]bool{}
	for _, t := range answer.Outputs {
		var data []byte
		if size := t.Parameters.BinaryDataSize; size != 0 {
			if size < 0 || size > len(tail) {
				return fmt.Errorf("output %q claims %d bytes, %d are left", t.Name, size, len(tail))
			}
			data, tail = tail[:size], tail[size:]
		}
		i := slices.IndexFunc(wanted, func(w tensorInfo) bool { return w.name == t.Name })
		if i < 0 || seen[t.Name] {
			continue
		}
		seen[t.Name] = true
		want := append([]int64{int64(n)}, wanted[i].dims[1:]...)
		if !slices.Equal(t.Shape, want) {
			return fmt.Errorf("output %q has the shape %s, want %s", t.Name, shapeString(t.Shape), shapeString(want))
		}
		var err error
		switch t.Name {
		case "mask":
			err = decodeUint8(t, data, out.mask)
		case "heatmaps":
			err = decodeFloat32(t, data, out.heatmaps)
		case "view":
			err = decodeFloat32(t, data, out.view)
		case "extras":
			err = decodeFloat32(t, data, out.extras)
		}
		if err != nil {
			return fmt.Errorf("output %q: %w", t.Name, err)
		}
	}
	for _, w := range wanted {
		if !seen[w.name] {
			return fmt.Errorf("the answer lacks output %q", w.name)
		}
	}
	return nil
}

func decodeUint8(t remoteTensor, data []byte, dst []uint8) error {
	if t.Datatype != "UINT8" {
		return fmt.Errorf("datatype %q, want UINT8", t.Datatype)
	}
	if data != nil {
		if len(data) != len(dst) {
			return fmt.Errorf("%d bytes, want %d", len(data), len(dst))
		}
		copy(dst, data)
		return nil
	}
	values := make([]uint16, 0, len(dst)) // not []uint8, which encoding/json takes for base64
	if err := json.Unmarshal(t.Data, &values); err != nil {
		return err
	}
	if len(values) != len(dst) {
		return fmt.Errorf("%d values, want %d", len(values), len(dst))
	}
	for i, v := range values {
		if v > math.MaxUint8 {
			return fmt.Errorf("value %d is not a byte", v)
		}
		dst[i] = uint8(v)
	}
	return nil
}

func decodeFloat32(t remoteTensor, data []byte, dst []float32) error {
	if t.Datatype != "FP32" {
		return fmt.Errorf("datatype %q, want FP32", t.Datatype)
	}
	if data != nil {
		if len(data) != 4*len(dst) {
			return fmt.Errorf("%d bytes, want %d", len(data), 4*len(dst))
		}
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
		}
		return nil
	}
	values := make([]float32, 0, len(dst))
	if err := json.Unmarshal(t.Data, &values); err != nil {
		return err
	}
	if len(values) != len(dst) {
		return fmt.Errorf("%d values, want %d", len(values), len(dst))
	}
	copy(dst, values)
	return nil
}
