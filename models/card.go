package models

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// ContractVersion is the contract this package runs; a card names the one its model fulfils.
const ContractVersion = 1

// Names of the classes, keypoints and views that the rest of EchoNode asks a card for.
const (
	ClassLVCavity     = "lv_cavity"
	ClassLVMyocardium = "lv_myocardium"
	ClassLeftAtrium   = "left_atrium"

	KeypointApex          = "apex"           // apical views: endocardial apex of the left ventricle
	KeypointMitralSeptal  = "mitral_septal"  // septal (inferior in A2C) hinge of the mitral annulus
	KeypointMitralLateral = "mitral_lateral" // lateral (anterior in A2C) hinge
	KeypointIVSRight      = "ivs_right"      // PLAX: right ventricular side of the septum
	KeypointIVSLeft       = "ivs_left"       // PLAX: cavity side of the septum
	KeypointPWInner       = "pw_inner"       // PLAX: cavity side of the posterior wall
	KeypointPWOuter       = "pw_outer"       // PLAX: pericardial side of the posterior wall

	ViewA4C   = "A4C"
	ViewA2C   = "A2C"
	ViewA3C   = "A3C"
	ViewPLAX  = "PLAX"
	ViewPSAX  = "PSAX"
	ViewOther = "other"

	// A view on a display with the marker on the other side: a model that knows these names answers with them.
	ViewA4CMirrored = "A4C-mirrored"
	ViewA2CMirrored = "A2C-mirrored"

	ExtraExpectedDice = "expected_dice" // the Dice that the cavity outline is expected to reach, 0..1
	ExtraNovelty      = "novelty"       // how far the picture lies from those of training, 0 or more
)

// Mirrored tells a view's name on a mirrored display apart: it returns the view itself and whether it is mirrored.
func Mirrored(view string) (string, bool) {
	return strings.CutSuffix(view, "-mirrored")
}

const cardKey = "echonode.card"

// Card says what a model is. It is stored as JSON in the metadata of the ONNX file under "echonode.card".
type Card struct {
	Contract  int       `json:"contract"`
	Name      string    `json:"name"`
	Version   string    `json:"version"`
	Input     CardInput `json:"input"`
	Classes   []string  `json:"classes"`
	Keypoints []string  `json:"keypoints"`
	Views     []string  `json:"views"`
	TrainedOn string    `json:"trained_on"`
	Licence   string    `json:"licence"`
	Note      string    `json:"note"`
	// NotValidated names the classes and keypoints whose accuracy has not been shown to be enough to measure with.
	// They are computed and drawn, but no measurement is made from them.
	NotValidated []string `json:"not_validated,omitempty"`
	// ValidatedViews names, by class or keypoint, the views in which its accuracy has been shown; what has no entry is
	// measured with in every view in which it is by custom, the left atrium in A4C alone.
	ValidatedViews map[string][]string `json:"validated_views,omitempty"`
	// Extras names the columns of the optional output "extras"; there is none without names.
	Extras []string `json:"extras,omitempty"`
	// Limits were chosen on patients held out from training.
	Limits Limits `json:"limits,omitzero"`
	// SHA256 of the whole model file in hexadecimal. It is computed when the card is read.
	SHA256 string `json:"sha256"`
}

// Limits say from where on the model's answers can be used. A limit of 0 is none.
type Limits struct {
	// View is the least probability of the named view, mean over the frames that vote.
	View float64 `json:"view,omitempty"`
	// Novelty is the most that the median over those frames may be; beyond, the picture is unlike those of training.
	Novelty float64 `json:"novelty,omitempty"`
	// ExpectedDice is the least of a frame's outline that needs no warning.
	ExpectedDice float64 `json:"expected_dice,omitempty"`
}

// CardInput is the size of the network's input in pixels.
type CardInput struct {
	Width    int `json:"width"`
	Height   int `json:"height"`
	Channels int `json:"channels"`
}

// Class is the index of a class in the mask planes, -1 if the model does not know it.
func (c Card) Class(name string) int { return slices.Index(c.Classes, name) }

// Keypoint is the index of a keypoint in the heatmaps, -1 if the model does not know it.
func (c Card) Keypoint(name string) int { return slices.Index(c.Keypoints, name) }

// Extra is the index of a column of the extra values, -1 if the model does not know it.
func (c Card) Extra(name string) int { return slices.Index(c.Extras, name) }

// View is the index of a view in the view probabilities, -1 if the model does not know it.
func (c Card) View(name string) int { return slices.Index(c.Views, name) }

// Validated reports whether every one of the named classes and keypoints may be measured with.
func (c Card) Validated(names ...string) bool {
	return !slices.ContainsFunc(names, func(n string) bool { return slices.Contains(c.NotValidated, n) })
}

// ValidatedIn reports whether a class or keypoint may be measured with in a view.
func (c Card) ValidatedIn(view, name string) bool {
	if !c.Validated(name) {
		return false
	}
	views, listed := c.ValidatedViews[name]
	if !listed && name == ClassLeftAtrium {
		views, listed = []string{ViewA4C}, true
	}
	return !listed || slices.Contains(views, view)
}

// FrameSize is the number of bytes of one input frame.
func (c Card) FrameSize() int { return c.Input.Width * c.Input.Height }

func (c Card) maskWidth() int  { return c.Input.Width / MaskStride }
func (c Card) maskHeight() int { return c.Input.Height / MaskStride }
func (c Card) heatWidth() int  { return c.Input.Width / HeatmapStride }
func (c Card) heatHeight() int { return c.Input.Height / HeatmapStride }

// maxInputSide bounds the input size a card may ask for; it keeps a wrong card from asking for gigabytes.
const maxInputSide = 2048

// ReadCard reads the card of an ONNX file and checks the file against the contract, without loading it into ONNX
// Runtime. name is used in messages. The error is a *ContractError.
func ReadCard(name string, onnx []byte) (Card, error) {
	file, err := parseONNX(onnx)
	if err != nil {
		return Card{}, &ContractError{Model: name, Problems: []string{"it is not an ONNX file"}}
	}
	raw, ok := file.metadata[cardKey]
	if !ok {
		return Card{}, &ContractError{Model: name, Problems: []string{fmt.Sprintf("metadata %q is missing", cardKey)}}
	}
	var card Card
	if err := json.Unmarshal([]byte(raw), &card); err != nil {
		return Card{}, &ContractError{Model: name, Problems: []string{fmt.Sprintf("metadata %q is not a card: %v", cardKey, err)}}
	}
	problems := card.problems()
	if len(problems) == 0 {
		problems = card.graphProblems(file)
	}
	if len(problems) > 0 {
		return Card{}, &ContractError{Model: name, Problems: problems}
	}
	sum := sha256.Sum256(onnx)
	card.SHA256 = hex.EncodeToString(sum[:])
	return card, nil
}

// problems checks the card by itself.
func (c Card) problems() []string {
	if c.Contract != ContractVersion {
		return []string{fmt.Sprintf("the card is for contract %d", c.Contract)}
	}
	var p []string
	if c.Name == "" || c.Version == "" {
		p = append(p, "the card has no name or no version")
	}
	if c.Input.Channels != 1 {
		p = append(p, fmt.Sprintf("the card asks for %d input channels, want 1", c.Input.Channels))
	}
	for _, side := range []int{c.Input.Width, c.Input.Height} {
		if side <= 0 || side%32 != 0 || side > maxInputSide {
			p = append(p, fmt.Sprintf("the input size %dx%d of the card is not divisible by 32 within 32..%d", c.Input.Width, c.Input.Height, maxInputSide))
			break
		}
	}
	for _, list := range []struct {
		what  string
		names []string
	}{{"classes", c.Classes}, {"keypoints", c.Keypoints}, {"views", c.Views}, {"extras", c.Extras}} {
		seen := map[string]bool{}
		for _, n := range list.names {
			if n == "" || seen[n] {
				p = append(p, fmt.Sprintf("the %s of the card name %q twice or not at all", list.what, n))
				break
			}
			seen[n] = true
		}
		if len(list.names) == 0 && list.what != "extras" {
			p = append(p, fmt.Sprintf("the card names no %s", list.what))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.ValidatedViews)) {
		if c.Class(name) < 0 && c.Keypoint(name) < 0 {
			p = append(p, fmt.Sprintf("the card validates %q, which is neither a class nor a keypoint of it", name))
		}
		for _, v := range c.ValidatedViews[name] {
			if c.View(v) < 0 {
				p = append(p, fmt.Sprintf("the card validates %q in %q, which is no view of it", name, v))
			}
		}
	}
	if c.Class(ClassLVCavity) < 0 {
		p = append(p, fmt.Sprintf("the classes %q of the card lack %q", c.Classes, ClassLVCavity))
	}
	return p
}

// tensors are the input and the outputs a model with this card must have. -1 is a dimension that is not fixed.
func (c Card) tensors() (input tensorInfo, outputs []tensorInfo) {
	n := func(v int) int64 { return int64(v) }
	input = tensorInfo{"frames", elemUint8, []int64{-1, 1, n(c.Input.Height), n(c.Input.Width)}}
	outputs = []tensorInfo{
		{"mask", elemUint8, []int64{-1, n(len(c.Classes)), n(c.maskHeight()), n(c.maskWidth())}},
		{"heatmaps", elemFloat32, []int64{-1, n(len(c.Keypoints)), n(c.heatHeight()), n(c.heatWidth())}},
		{"view", elemFloat32, []int64{-1, n(len(c.Views))}},
	}
	if len(c.Extras) > 0 {
		outputs = append(outputs, tensorInfo{"extras", elemFloat32, []int64{-1, n(len(c.Extras))}})
	}
	return input, outputs
}

// graphProblems compares the graph's inputs and outputs with the card. Further outputs are none of the contract's
// business; a further input could not be fed.
func (c Card) graphProblems(file onnxFile) []string {
	input, outputs := c.tensors()
	p := compareTensor("input", input, file.inputs)
	for _, t := range file.inputs {
		if t.name != input.name {
			p = append(p, fmt.Sprintf("there is an input %q that the contract does not know", t.name))
		}
	}
	for _, want := range outputs {
		p = append(p, compareTensor("output", want, file.outputs)...)
	}
	return p
}

// compareTensor looks up want by name and compares type and shape. An output dimension that the file leaves open is
// accepted: the self-test sees the real one.
func compareTensor(kind string, want tensorInfo, have []tensorInfo) []string {
	i := slices.IndexFunc(have, func(t tensorInfo) bool { return t.name == want.name })
	if i < 0 {
		names := make([]string, len(have))
		for i, t := range have {
			names[i] = t.name
		}
		return []string{fmt.Sprintf("%s %q is missing (there are: %s)", kind, want.name, strings.Join(names, ", "))}
	}
	got := have[i]
	var p []string
	if got.elem != want.elem {
		p = append(p, fmt.Sprintf("%s %q is %s, want %s", kind, want.name, elemName(got.elem), elemName(want.elem)))
	}
	fits := len(got.dims) == len(want.dims)
	for d := 0; fits && d < len(want.dims); d++ {
		open := got.dims[d] < 0 && kind == "output"
		fits = got.dims[d] == want.dims[d] || open
	}
	if !fits {
		p = append(p, fmt.Sprintf("%s %q has the shape %s, want %s", kind, want.name, shapeString(got.dims), shapeString(want.dims)))
	}
	return p
}

// shapeString writes a shape as [N,1,224,224].
func shapeString(dims []int64) string {
	parts := make([]string, len(dims))
	for i, d := range dims {
		parts[i] = fmt.Sprint(d)
		if d < 0 {
			parts[i] = "N"
		}
	}
	return "[" + strings.Join(parts, ",") + "]"
}
