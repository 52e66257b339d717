package review

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/echonode/echonode/pipeline/internal/correct"
	"github.com/echonode/echonode/pipeline/node"
	"github.com/echonode/echonode/pipeline/result"
)

// nobody signs nothing: what comes this far fails the test.
type nobody struct{ t *testing.T }

func (n nobody) Sign(context.Context, node.SignRequest) (int, error) {
	n.t.Error("something was signed")
	return 0, nil
}

// recorder keeps what is signed.
type recorder struct{ last node.SignRequest }

func (r *recorder) Sign(_ context.Context, req node.SignRequest) (int, error) {
	r.last = req
	return req.Base.Revision + 1, nil
}

// What the analysis said stays beside what readers say, however often they sign.
func TestFirstValuesAreKept(t *testing.T) {
	var signed recorder
	s := newSite(t, func(o *Options) { o.Signer = &signed })
	for _, corrected := range []bool{false, true} {
		a := sample{study: fmt.Sprintf("1.2.%v", btoi(corrected)), loop: fmt.Sprintf("1.2.%v.1", btoi(corrected)), name: "Doe^Jane", view: "A4C", ef: value(61.23)}
		s.add(a)
		want, base := 61.23, 1
		if corrected {
			s.signed(a)
			want, base = 33, 2
		}
		b := s.as("reader")
		change := map[string]any{"base": base, "run": s.last(a.study).Version(),
			"corrections": map[string]any{"loops": map[string]any{a.loop: map[string]any{"excluded": true}}}}
		post := func(path string) string {
			j, err := json.Marshal(change)
			if err != nil {
				t.Fatal(err)
			}
			_, text := b.want(http.StatusOK, http.MethodPost, "/study/"+a.study+path, string(j),
				func(r *http.Request) { r.Header.Set("Content-Type", "application/json") })
			return text
		}
		var answer changed
		if err := json.Unmarshal([]byte(post("/recalculate")), &answer); err != nil {
			t.Fatal(err)
		}
		shown := map[string]string{}
		for _, st := range answer.Stages {
			for _, row := range st.Rows {
				shown[row.Key] = row.After
			}
		}
		change["shown"] = shown
		post("/sign")
		review := signed.last.Document.Studies[0].Review
		if review.Verdict != result.Corrected || len(review.Before) != 1 || *review.Before[0].Value != want {
			t.Errorf("corrected before %v: %+v", corrected, review)
		}
		// Accepted as it is: only what a reader had changed before has anything to be kept.
		change["corrections"] = map[string]any{"loops": map[string]any{}}
		if err := json.Unmarshal([]byte(post("/recalculate")), &answer); err != nil {
			t.Fatal(err)
		}
		for _, st := range answer.Stages {
			for _, row := range st.Rows {
				shown[row.Key] = row.After
			}
		}
		post("/sign")
		if review := signed.last.Document.Studies[0].Review; review.Verdict != result.Accepted || len(review.Before) != btoi(corrected) {
			t.Errorf("accepted, corrected before %v: %+v", corrected, review)
		}
	}
}

// Corrections that cannot be are refused with the reason in the reader's
// language, the loop and the frame, by both of the ways in which a browser sends
// them; nothing is signed of them.
func TestRefusedCorrections(t *testing.T) {
	s := newSite(t, func(o *Options) { o.Signer = nobody{t} })
	s.add(sample{study: "1.2.1", loop: "1.2.1.1", name: "Doe^Jane", view: "PLAX", ef: value(61.23)})
	s.indexed()
	b := s.as("reader")
	walls := func(y ...float64) string {
		points := map[string][2]float64{}
		for i, v := range y {
			points[correct.WallPoints[i]] = [2]float64{30, v}
		}
		j, err := json.Marshal(map[string]any{"frame": 0, "wall_points": points})
		if err != nil {
			t.Fatal(err)
		}
		return string(j)
	}
	for name, tc := range map[string]struct {
		frame      string
		status     int
		reason, de string
		place      bool // the loop and the frame are named
	}{
		"in their order":      {frame: walls(2, 11, 36, 44), status: http.StatusOK},
		"crossed":             {frame: walls(2, 36, 11, 44), status: 422, reason: "do not follow each other", de: "folgen nicht aufeinander", place: true},
		"no cavity":           {frame: walls(2, 11, 12, 20), status: 422, reason: "is of that size", de: "so groß ist kein", place: true},
		"no septum":           {frame: walls(11, 11, 36, 44), status: 422, reason: "do not follow each other", de: "folgen nicht aufeinander", place: true},
		"a septum of 4 cm":    {frame: walls(0, 40, 43, 47), status: 422, reason: "is of that size", de: "so groß ist kein", place: true},
		"three points":        {frame: walls(2, 11, 36), status: 422, reason: "the four wall points belong", de: "vier Wandpunkte", place: true},
		"outside":             {frame: walls(2, 11, 36, 4400), status: 422, reason: "lies outside the picture", de: "außerhalb des Bildes", place: true},
		"an outline":          {frame: `{"frame": 0, "contour": [[1,1],[9,1],[9,9]]}`, status: 422, reason: "the four wall points belong", de: "vier Wandpunkte", place: true},
		"a frame that is not": {frame: strings.Replace(walls(2, 11, 36, 44), `"frame":0`, `"frame":7`, 1), status: 422, reason: "no such frame", de: "kein solches Bild"},
		"not a number":        {frame: `{"frame": 0, "wall_points": {"ivs_right": [NaN, 1]}}`, status: 422, reason: "cannot be read", de: "nicht lesbar"},
		"beyond all numbers":  {frame: `{"frame": 0, "wall_points": {"ivs_right": [1e999, 1]}}`, status: 422, reason: "cannot be read", de: "nicht lesbar"},
		"three coordinates":   {frame: `{"frame": 0, "wall_points": {"ivs_right": ["1", 1]}}`, status: 422, reason: "cannot be read", de: "nicht lesbar"},
		"an unknown field":    {frame: `{"frame": 0, "points": []}`, status: 422, reason: "cannot be read", de: "nicht lesbar"},
	} {
		t.Run(name, func(t *testing.T) {
			body := fmt.Sprintf(`{"base": 1, "run": "`+s.last("1.2.1").Version()+`", "corrections": {"loops": {"1.2.1.1": {"frames": [%s]}}}}`, tc.frame)
			for _, path := range []string{"/study/1.2.1/recalculate", "/study/1.2.1/sign"} {
				if tc.status == http.StatusOK && strings.HasSuffix(path, "sign") {
					continue
				}
				for lang, want := range map[string]string{"en": tc.reason, "de": tc.de} {
					res, text := b.do(http.MethodPost, path, body, func(r *http.Request) {
						r.Header.Set("Content-Type", "application/json")
						r.Header.Set("Accept", "*/*")
						r.Header.Set("Accept-Language", lang)
					})
					frame := map[string]string{"en": "Frame 1", "de": "Bild 1"}[lang]
					if res.StatusCode != tc.status || !strings.Contains(text, want) || tc.place != strings.Contains(text, frame) && tc.status != http.StatusOK {
						t.Errorf("%s in %s: %s: %s", path, lang, res.Status, text)
					}
				}
			}
		})
	}
}

// What a comment may not hold, since a report holds it as text.
func TestTextOfAComment(t *testing.T) {
	for text, ok := range map[string]bool{
		"EF by eye 40 %.\nMüller, 心尖, \u200Eמ\u200F\ttab": true,
		"bell\a":           false,
		"delete\u007f":     false,
		"next line\u0085":  false,
		"turned\u202Eback": false,
		"isolated\u2067":   false,
	} {
		if got := !strings.ContainsFunc(text, noText); got != ok {
			t.Errorf("%q: text %t", text, got)
		}
	}
}
