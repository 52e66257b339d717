package workers

import (
	"encoding/json"
	"hash/maphash"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/echonode/echonode/models"
)

// standIn is an inference server (Open Inference Protocol, KServe v2, with
// binary tensors) of fixed latency that takes next to no processor time: the
// network looks at each picture once, and its answer is remembered. Between hold
// and release nothing is answered.
type standIn struct {
	t       testing.TB
	engine  models.Engine
	latency time.Duration
	seed    maphash.Seed

	mu    sync.Mutex
	known map[uint64]*answer
	gate  chan struct{} // nil: open
}

func (s *standIn) hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gate = make(chan struct{})
}

func (s *standIn) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.gate)
	s.gate = nil
}

// answer is what is said of one picture.
type answer struct {
	once sync.Once
	head []byte
	body []byte
}

// startStandIn starts one and returns its address.
func startStandIn(t testing.TB, latency time.Duration) (*standIn, string) {
	t.Helper()
	engine, err := models.Open(t.Context(), models.Config{Provider: models.CPU, Variant: models.FP32}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s := &standIn{t: t, engine: engine, latency: latency, seed: maphash.MakeSeed(), known: map[uint64]*answer{}}
	server := httptest.NewServer(s)
	t.Cleanup(func() {
		server.Close()
		if err := engine.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, server.URL
}

type tensor struct {
	Name       string         `json:"name"`
	Datatype   string         `json:"datatype"`
	Shape      []int          `json:"shape"`
	Parameters map[string]any `json:"parameters,omitempty"`
}

const headerLength = "Inference-Header-Content-Length"

// tensors are the outputs for n pictures, with their bytes.
func tensors(o *models.Output) (described []tensor, data [][]byte) {
	add := func(name, kind string, shape []int, b []byte) {
		described = append(described, tensor{Name: name, Datatype: kind, Shape: shape, Parameters: map[string]any{"binary_data_size": len(b)}})
		data = append(data, b)
	}
	floats := func(v []float32) []byte { // little endian, as all machines that this runs on are
		return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), 4*len(v))
	}
	add("mask", "UINT8", []int{o.N, o.Classes, o.MaskHeight, o.MaskWidth}, o.Mask)
	add("heatmaps", "FP32", []int{o.N, o.Keypoints, o.HeatHeight, o.HeatWidth}, floats(o.Heatmaps))
	add("view", "FP32", []int{o.N, o.Views}, floats(o.View))
	if o.NumExtras > 0 {
		add("extras", "FP32", []int{o.N, o.NumExtras}, floats(o.Extras))
	}
	return described, data
}

func (s *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var err error
	switch {
	case r.URL.Path == "/v2":
		err = json.NewEncoder(w).Encode(map[string]any{"name": "stand-in", "extensions": []string{"binary_tensor_data"}})
	case strings.HasSuffix(r.URL.Path, "/infer"):
		err = s.infer(w, r)
	default:
		err = s.describe(w, r)
	}
	if err != nil && r.Context().Err() == nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		s.t.Errorf("inference server: %v", err)
	}
}

func (s *standIn) describe(w http.ResponseWriter, r *http.Request) error {
	card := s.engine.Card()
	var out models.Output
	if err := s.engine.Infer(r.Context(), make([]byte, card.FrameSize()), 1, &out); err != nil {
		return err
	}
	outputs, _ := tensors(&out)
	for i := range outputs {
		outputs[i].Shape[0], outputs[i].Parameters = -1, nil
	}
	inputs := []tensor{{Name: "frames", Datatype: "UINT8", Shape: []int{-1, 1, card.Input.Height, card.Input.Width}}}
	return json.NewEncoder(w).Encode(map[string]any{"name": card.Name, "inputs": inputs, "outputs": outputs})
}

func (s *standIn) infer(w http.ResponseWriter, r *http.Request) error {
	start := time.Now()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	head, err := strconv.Atoi(r.Header.Get(headerLength))
	if err != nil || head > len(b) {
		return err
	}
	picture := b[head:]
	key := maphash.Bytes(s.seed, picture)
	s.mu.Lock()
	a, gate := s.known[key], s.gate
	if a == nil {
		a = new(answer)
		s.known[key] = a
	}
	s.mu.Unlock()
	a.once.Do(func() {
		var out models.Output
		if err = s.engine.Infer(r.Context(), picture, len(picture)/s.engine.Card().FrameSize(), &out); err != nil {
			return
		}
		described, data := tensors(&out)
		for _, d := range data {
			a.body = append(a.body, d...)
		}
		a.head, err = json.Marshal(map[string]any{"model_name": s.engine.Card().Name, "outputs": described})
	})
	if err != nil {
		return err
	}
	if gate != nil {
		select {
		case <-gate:
			start = time.Now()
		case <-r.Context().Done():
			return nil
		}
	}
	time.Sleep(s.latency - time.Since(start))
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set(headerLength, strconv.Itoa(len(a.head)))
	w.Header().Set("Content-Length", strconv.Itoa(len(a.head)+len(a.body)))
	if _, err := w.Write(a.head); err != nil {
		return nil // the client has gone
	}
	_, _ = w.Write(a.body)
	return nil
}
