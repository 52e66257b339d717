package models

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// inferenceServer serves an engine by the Open Inference Protocol, as a server of the field would: this is the other
// side of remote.go, written from the specification on its own.
type inferenceServer struct {
	engine   Engine
	binary   bool                                          // understands the binary tensor data extension
	silent   bool                                          // but does not announce it
	spoil    func(http.ResponseWriter, *http.Request) bool // answers in place of the server
	mu       sync.Mutex
	requests int
}

func (s *inferenceServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.spoil != nil && s.spoil(w, r) {
		return
	}
	card := s.engine.Card()
	h, wd := card.Input.Height, card.Input.Width
	switch r.Method + " " + r.URL.Path {
	case "GET /v2":
		extensions := []string{"classification"}
		if s.binary && !s.silent {
			extensions = append(extensions, "binary_tensor_data")
		}
		writeJSON(w, map[string]any{"name": "test", "version": "1", "extensions": extensions})
	case "GET /v2/models/tiny":
		outputs := []any{
			map[string]any{"name": "mask", "datatype": "UINT8", "shape": []int{-1, len(card.Classes), h / 2, wd / 2}},
			map[string]any{"name": "heatmaps", "datatype": "FP32", "shape": []int{-1, len(card.Keypoints), h / 4, wd / 4}},
			map[string]any{"name": "view", "datatype": "FP32", "shape": []int{-1, len(card.Views)}},
		}
		if len(card.Extras) > 0 {
			outputs = append(outputs, map[string]any{"name": "extras", "datatype": "FP32", "shape": []int{-1, len(card.Extras)}})
		}
		writeJSON(w, map[string]any{
			"name": "tiny", "platform": "onnxruntime_onnx",
			"inputs":  []any{map[string]any{"name": "frames", "datatype": "UINT8", "shape": []int{-1, 1, h, wd}}},
			"outputs": outputs,
		})
	case "POST /v2/models/tiny/infer":
		s.mu.Lock()
		s.requests++
		s.mu.Unlock()
		if err := s.infer(w, r); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			writeJSON(w, map[string]string{"error": err.Error()})
		}
	default:
		w.WriteHeader(http.StatusNotFound)
		writeJSON(w, map[string]string{"error": "unknown model"})
	}
}

func (s *inferenceServer) infer(w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	head := body
	if length := r.Header.Get("Inference-Header-Content-Length"); length != "" && s.binary {
		n, err := strconv.Atoi(length)
		if err != nil {
			return err
		}
		head = body[:n]
	}
	var request struct {
		Inputs []struct {
			Name, Datatype string
			Shape          []int
			Parameters     struct {
				Size int `json:"binary_data_size"`
			}
			Data []int
		}
		Outputs []struct {
			Name       string
			Parameters struct {
				Binary bool `json:"binary_data"`
			}
		}
	}
	if err := json.Unmarshal(head, &request); err != nil {
		return err
	}
	in := request.Inputs[0]
	frames := body[len(head):]
	if len(frames) == 0 {
		for _, v := range in.Data {
			frames = append(frames, byte(v))
		}
	} else if in.Parameters.Size != len(frames) {
		return fmt.Errorf("%d bytes, announced %d", len(frames), in.Parameters.Size)
	}
	var out Output
	n := in.Shape[0]
	if err := s.engine.Infer(r.Context(), frames, n, &out); err != nil {
		return err
	}
	mask := make([]int, len(out.Mask))
	for i, v := range out.Mask {
		mask[i] = int(v)
	}
	tensors := map[string]struct {
		datatype string
		shape    []int
		data     any // for JSON
		bytes    []byte
	}{
		"mask":     {"UINT8", []int{n, out.Classes, out.MaskHeight, out.MaskWidth}, mask, out.Mask},
		"heatmaps": {"FP32", []int{n, out.Keypoints, out.HeatHeight, out.HeatWidth}, out.Heatmaps, littleEndian(out.Heatmaps)},
		"view":     {"FP32", []int{n, out.Views}, out.View, littleEndian(out.View)},
		"extras":   {"FP32", []int{n, out.NumExtras}, out.Extras, littleEndian(out.Extras)},
	}
	var outputs []any
	var tail []byte
	for _, o := range request.Outputs {
		t := tensors[o.Name]
		entry := map[string]any{"name": o.Name, "datatype": t.datatype, "shape": t.shape}
		if o.Parameters.Binary {
			entry["parameters"] = map[string]int{"binary_data_size": len(t.bytes)}
			tail = append(tail, t.bytes...)
		} else {
			entry["data"] = t.data
		}
		outputs = append(outputs, entry)
	}
	answer, err := json.Marshal(map[string]any{"model_name": "tiny", "outputs": outputs})
	if err != nil {
		return err
	}
	if len(tail) > 0 {
		w.Header().Set("Inference-Header-Content-Length", strconv.Itoa(len(answer)))
	}
	_, err = w.Write(append(answer, tail...))
	return err
}

func littleEndian(v []float32) []byte {
	var b bytes.Buffer
	_ = binary.Write(&b, binary.LittleEndian, v) // a bytes.Buffer takes everything
	return b.Bytes()
}

func writeJSON(w io.Writer, v any) { _ = json.NewEncoder(w).Encode(v) }

// TestRemoteEqualsLocal serves the local engine over HTTP and asks it through the remote engine: the same bits, with
// tensors as bytes and as JSON, over several requests at once.
func TestRemoteEqualsLocal(t *testing.T) {
	for _, path := range []string{tiny, withExtras} {
		t.Run(path, func(t *testing.T) { testRemoteEqualsLocal(t, path) })
	}
}

func testRemoteEqualsLocal(t *testing.T, path string) {
	local := open(t, Config{Path: path, Provider: CPU})
	const n = 70 // three requests
	frames := noise(local.Card(), n)
	want := infer(t, local, frames, n)
	for _, c := range []struct{ binary, silent bool }{{true, false}, {true, true}, {false, false}} {
		handler := &inferenceServer{engine: local, binary: c.binary, silent: c.silent}
		server := httptest.NewServer(handler)
		defer server.Close()
		for _, url := range []string{server.URL, server.URL + "/", server.URL + "/v2/models/tiny"} {
			e, err := Open(t.Context(), Config{Path: path, Provider: Remote, Remote: url}, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			if got := e.(*spreader).device.(*remote).binary; got != c.binary {
				t.Errorf("%+v: tensors travel as bytes: %v", c, got)
			}
			before := handler.requests
			got := infer(t, e, frames, n)
			if !sameOutput(got, want) {
				t.Errorf("%+v: the remote answer differs", c)
			}
			if handler.requests-before != 3 {
				t.Errorf("%d requests for %d frames", handler.requests-before, n)
			}
			if e.Provider() != "remote "+server.URL+"/v2/models/tiny" || got.Provider != e.Provider() {
				t.Errorf("provider %q, of the output %q", e.Provider(), got.Provider)
			}
		}
	}
}

// TestRemoteFaults spoils one answer of the server each.
func TestRemoteFaults(t *testing.T) {
	local := open(t, Config{Path: tiny, Provider: CPU})
	write := func(status int, body string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	described := func(old, new string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			record := httptest.NewRecorder()
			(&inferenceServer{engine: local}).ServeHTTP(record, httptest.NewRequest(http.MethodGet, "/v2/models/tiny", nil))
			_, _ = io.WriteString(w, strings.ReplaceAll(record.Body.String(), old, new))
		}
	}
	const infer = "/v2/models/tiny/infer"
	for _, c := range []struct {
		name, path string
		answer     func(http.ResponseWriter)
		kind       error
		says       string
	}{
		{"not a server", "/v2", write(200, "<html>"), ErrProvider, "does not answer with JSON"},
		{"no such model", "/v2/models/tiny", write(404, `{"error":"unknown model 'tiny'"}`), ErrProvider, "404 Not Found: unknown model 'tiny'"},
		{"other input", "/v2/models/tiny", described(`"frames"`, `"images"`), ErrContract, `input "frames" is missing (there are: images)`},
		{"other shape", "/v2/models/tiny", described("[-1,3,32,32]", "[-1,3,64,64]"), ErrContract, `output "mask" has the shape [N,3,64,64]`},
		{"other type", "/v2/models/tiny", described("UINT8", "FP16"), ErrContract, "want uint8"},
		{"busy", infer, write(503, "busy"), ErrSelfTest, "503 Service Unavailable: busy"},
		{"not JSON", infer, write(200, "hello"), ErrSelfTest, "not JSON"},
		{"nothing", infer, write(200, `{"outputs":[]}`), ErrSelfTest, `lacks output "mask"`},
		{"wrong shape", infer, write(200, `{"outputs":[{"name":"mask","datatype":"UINT8","shape":[1,3,4,4],"data":[1]}]}`), ErrSelfTest, `output "mask" has the shape [1,3,4,4], want [1,3,32,32]`},
		{"wrong type", infer, write(200, `{"outputs":[{"name":"view","datatype":"FP64","shape":[1,6],"data":[1,0,0,0,0,0]}]}`), ErrSelfTest, `datatype "FP64"`},
		{"too few", infer, write(200, `{"outputs":[{"name":"view","datatype":"FP32","shape":[1,6],"data":[1,0,0]}]}`), ErrSelfTest, "3 values, want 6"},
		{"too many bytes", infer, write(200, `{"outputs":[{"name":"view","datatype":"FP32","shape":[1,6],"parameters":{"binary_data_size":24}}]}`), ErrSelfTest, "claims 24 bytes, 0 are left"},
		{"negative size", infer, write(200, `{"outputs":[{"name":"view","datatype":"FP32","shape":[1,6],"parameters":{"binary_data_size":-24}}]}`), ErrSelfTest, "claims -24 bytes"},
		{"header length", infer, func(w http.ResponseWriter) {
			w.Header().Set(headerLength, "1000")
			_, _ = io.WriteString(w, "{}")
		}, ErrSelfTest, `header length "1000" in 2 bytes`},
		{"endless", infer, func(w http.ResponseWriter) {
			for range 4 << 10 {
				_, _ = w.Write(make([]byte, 1<<10))
			}
		}, ErrSelfTest, "is longer than"},
		{"not a byte", infer, write(200, `{"outputs":[{"name":"mask","datatype":"UINT8","shape":[1,3,32,32],"data":[256`+strings.Repeat(",0", 3071)+`]}]}`), ErrSelfTest, "value 256 is not a byte"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewServer(&inferenceServer{engine: local, spoil: func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != c.path {
					return false
				}
				c.answer(w)
				return true
			}})
			defer server.Close()
			_, err := Open(t.Context(), Config{Path: tiny, Provider: Remote, Remote: server.URL}, nil)
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("want %q (%v), got: %v", c.says, c.kind, err)
			}
		})
	}
}

func TestRemoteErrorTemporary(t *testing.T) {
	for status, want := range map[int]bool{400: false, 404: false, 429: true, 500: true, 501: false, 503: true} {
		if got := (&RemoteError{Status: status}).Temporary(); got != want {
			t.Errorf("%d: %v", status, got)
		}
	}
}

// TestRemoteTimeout has a server that accepts and never answers: the client's timeout and the caller's context both end
// the wait.
func TestRemoteTimeout(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	defer close(release)
	start := time.Now()
	_, err := Open(t.Context(), Config{Path: tiny, Provider: Remote, Remote: server.URL, HTTPClient: &http.Client{Timeout: 50 * time.Millisecond}}, nil)
	if !errors.Is(err, ErrProvider) {
		t.Errorf("client timeout: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Open(ctx, Config{Path: tiny, Provider: Remote, Remote: server.URL}, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("context: %v", err)
	}
	if took := time.Since(start); took > time.Minute {
		t.Errorf("took %v", took)
	}
}

func TestRemoteURLs(t *testing.T) {
	for given, want := range map[string]string{
		"http://host:8000":                           "http://host:8000/v2 http://host:8000/v2/models/echonode-lv",
		"http://host:8000/v2/":                       "http://host:8000/v2 http://host:8000/v2/models/echonode-lv",
		"https://host/triton":                        "https://host/triton/v2 https://host/triton/v2/models/echonode-lv",
		"https://host/v2/models/a%20b/versions/3":    "https://host/v2 https://host/v2/models/a%20b/versions/3",
		"https://user:secret@host/x/v2/models/mine/": "https://user:secret@host/x/v2 https://user:secret@host/x/v2/models/mine",
	} {
		server, model, err := remoteURLs(given, "echonode-lv")
		if err != nil {
			t.Errorf("%s: %v", given, err)
			continue
		}
		if got := server.String() + " " + model.String(); got != want {
			t.Errorf("%s gives %s, want %s", given, got, want)
		}
	}
	for _, given := range []string{"host:8000", "ftp://host", "http://", "://", "/v2/models/x"} {
		if _, _, err := remoteURLs(given, "m"); err == nil {
			t.Errorf("%q is taken", given)
		}
	}
	_, model, err := remoteURLs("https://user:secret@host", "m")
	if err != nil {
		t.Fatal(err)
	}
	if name := (&remote{model: model}).name(); strings.Contains(name, "secret") {
		t.Errorf("the provider's name tells the password: %s", name)
	}
}

// FuzzRemoteAnswer feeds arbitrary answers: decoding ends with an error or with filled outputs, never with a panic.
func FuzzRemoteAnswer(f *testing.F) {
	f.Add("", []byte(`{"outputs":[{"name":"view","datatype":"FP32","shape":[1,2],"data":[1,0]}]}`))
	f.Add("86", append([]byte(`{"outputs":[{"name":"view","datatype":"FP32","parameters":{"binary_data_size":8}}]}    `), make([]byte, 8)...))
	f.Add("-1", []byte("{}"))
	f.Fuzz(func(t *testing.T, length string, body []byte) {
		header := http.Header{}
		if length != "" {
			header.Set(headerLength, length)
		}
		var out Output
		out.reset(fakeCard, 1)
		_ = decodeRemote(header, body, 1, fakeCard, out.rows(0, 1))
	})
}
