package models

import (
	"errors"
	"io/fs"
	"slices"
	"testing"
)

// TestShippedModels: every embedded model fulfils the contract with the names the rest of EchoNode asks for, states
// its licence, is small enough for the repository, and runs.
func TestShippedModels(t *testing.T) {
	files, err := fs.Glob(shipped, "*.onnx")
	if err != nil || !slices.Contains(files, shippedFP32) {
		t.Fatalf("embedded: %q, %v", files, err)
	}
	for _, file := range files {
		variant := FP32
		if file == shippedINT8 {
			variant = INT8
		}
		t.Run(variant, func(t *testing.T) {
			card, err := choice(Config{Variant: variant})
			if err != nil {
				t.Fatal(err)
			}
			classes := []string{ClassLVCavity, ClassLVMyocardium, ClassLeftAtrium}
			keypoints := []string{KeypointApex, KeypointMitralSeptal, KeypointMitralLateral, KeypointIVSRight, KeypointIVSLeft, KeypointPWInner, KeypointPWOuter}
			views := []string{ViewA4C, ViewA2C, ViewA3C, ViewPLAX, ViewPSAX, ViewOther, ViewA4CMirrored, ViewA2CMirrored}
			if !slices.Equal(card.Classes, classes) || !slices.Equal(card.Keypoints, keypoints) || !slices.Equal(card.Views, views) {
				t.Errorf("names: %+v", card)
			}
			if card.Extra(ExtraExpectedDice) < 0 || card.Extra(ExtraNovelty) < 0 || card.Limits.View <= 0 || card.Limits.Novelty <= 1 ||
				card.Limits.ExpectedDice <= 0.8 {
				t.Errorf("extras %q, limits %+v", card.Extras, card.Limits)
			}
			if card.TrainedOn == "" || card.Licence == "" {
				t.Errorf("the card does not say what it was trained on or its licence: %+v", card)
			}
			if info, err := fs.Stat(shipped, file); err != nil || info.Size() > 20<<20 {
				t.Errorf("%s: %v, %v", file, info, err)
			}
			e := open(t, Config{Variant: variant, Provider: CPU})
			if e.Card().SHA256 != card.SHA256 {
				t.Errorf("opened %s, checked %s", e.Card().SHA256, card.SHA256)
			}
			// The same frame alone and among others, on the network with all its kernels.
			frames := slices.Concat(testPicture(224, 224), noise(card, 3))
			all := infer(t, e, frames, 4)
			for i := range 4 {
				one := infer(t, e, frames[i*card.FrameSize():(i+1)*card.FrameSize()], 1)
				r := all.rows(i, i+1)
				if !slices.Equal(one.Mask, r.mask) || !slices.Equal(one.Heatmaps, r.heatmaps) || !slices.Equal(one.View, r.view) || !slices.Equal(one.Extras, r.extras) {
					t.Errorf("frame %d: alone and among others differ", i)
				}
			}
		})
	}
}

// TestVariant: without a wish the CPU takes int8 where there is one; a wish that cannot be met is an error.
func TestVariant(t *testing.T) {
	_, err := fs.Stat(shipped, shippedINT8)
	hasINT8 := err == nil
	for _, c := range []struct{ variant, provider, file string }{
		{FP32, CPU, shippedFP32}, {"", CUDA, shippedFP32}, {"", Remote, shippedFP32}, {INT8, CPU, shippedINT8}, {"", CPU, shippedINT8},
	} {
		name, _, err := load("", c.variant, c.provider)
		want := c.file
		if want == shippedINT8 && !hasINT8 {
			if c.variant == INT8 {
				if !errors.Is(err, ErrNoModel) {
					t.Errorf("%+v: %v", c, err)
				}
				continue
			}
			want = shippedFP32
		}
		if err != nil || name != "embedded "+want {
			t.Errorf("%+v gives %q, %v", c, name, err)
		}
	}
}

// TestINT8NearFP32: quantised weights of eight bits overflow on processors without VNNI, and outlines then depend on the
// machine (models/CARD.md, int8). The frames are no hearts that the network knows well, so it is unsure of them as of faint loops.
func TestINT8NearFP32(t *testing.T) {
	if _, err := fs.Stat(shipped, shippedINT8); err != nil {
		t.Skip("no int8 version is shipped")
	}
	const n = 24
	full, quantised := open(t, Config{Variant: FP32, Provider: CPU}), open(t, Config{Variant: INT8, Provider: CPU})
	frames := scene(full.Card(), n)
	a, b := infer(t, full, frames, n), infer(t, quantised, frames, n)
	sum, inside := 0, 0
	for i := range a.Mask {
		sum += max(int(a.Mask[i]), int(b.Mask[i])) - min(int(a.Mask[i]), int(b.Mask[i]))
		if a.Mask[i] > 127 {
			inside++
		}
	}
	mean := float64(sum) / float64(len(a.Mask))
	t.Logf("mean difference %.2f of 255; %d of %d cells inside", mean, inside, len(a.Mask))
	if inside == 0 || mean > 1.4 {
		t.Errorf("masks differ by %.2f of 255 on average", mean)
	}
}
