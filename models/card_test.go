package models

import (
	"strings"
	"testing"
)

// What a card says nothing of is measured with where it is by custom: the left
// atrium in A4C alone.
func TestValidatedIn(t *testing.T) {
	card := Card{NotValidated: []string{KeypointIVSLeft}}
	listed := Card{ValidatedViews: map[string][]string{ClassLeftAtrium: {ViewA4C, ViewA2C}, ClassLVMyocardium: {ViewA2C}}}
	refused := Card{NotValidated: []string{ClassLeftAtrium}, ValidatedViews: listed.ValidatedViews}
	for _, tc := range []struct {
		card       Card
		view, name string
		want       bool
	}{
		{card, ViewA4C, ClassLeftAtrium, true}, {card, ViewA2C, ClassLeftAtrium, false},
		{card, ViewA2C, ClassLVCavity, true}, {card, ViewPLAX, KeypointIVSLeft, false}, {card, ViewPLAX, KeypointIVSRight, true},
		{listed, ViewA2C, ClassLeftAtrium, true}, {listed, ViewA4C, ClassLVMyocardium, false}, {listed, ViewA2C, ClassLVMyocardium, true},
		{refused, ViewA4C, ClassLeftAtrium, false},
	} {
		if got := tc.card.ValidatedIn(tc.view, tc.name); got != tc.want {
			t.Errorf("%s in %s: %v", tc.name, tc.view, got)
		}
	}
}

func TestValidatedViewsAreOfTheCard(t *testing.T) {
	card := Card{Contract: ContractVersion, Name: "n", Version: "1", Input: CardInput{Width: 32, Height: 32, Channels: 1},
		Classes: []string{ClassLVCavity, ClassLeftAtrium}, Keypoints: []string{KeypointApex}, Views: []string{ViewA4C}}
	card.ValidatedViews = map[string][]string{ClassLeftAtrium: {ViewA4C}, KeypointApex: {ViewA4C}}
	if p := card.problems(); len(p) != 0 {
		t.Errorf("%q", p)
	}
	card.ValidatedViews = map[string][]string{ClassLeftAtrium: {ViewA2C}, "right_atrium": {ViewA4C}}
	if p := strings.Join(card.problems(), "; "); p != `the card validates "left_atrium" in "A2C", which is no view of it; `+
		`the card validates "right_atrium", which is neither a class nor a keypoint of it` {
		t.Error(p)
	}
}
