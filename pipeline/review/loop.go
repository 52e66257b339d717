package review

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/internal/correct"
	"github.com/echonode/echonode/pipeline/internal/longaxis"
	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/pipeline/store"
)

type loopPage struct {
	page
	Listing  worklistRow
	Study    string
	Loop     string
	Called   string // the loop
	View     string
	Stage    string
	Reason   string
	Warnings []string
	Values   []valueRow
	Prev     string // SOP Instance UIDs of the neighbours
	Next     string
	Keys     []keyHelp
	May      bool
	Review   *reviewView
	Data     loopPageData
}

// loopPageData is what the client needs to know at once.
type loopPageData struct {
	Study string `json:"study"`
	Loop  string `json:"loop"`
	Prev  string `json:"prev"`
	Next  string `json:"next"`
	basis
	May   bool     `json:"may"` // correct and sign
	Views []string `json:"views"`
}

// keyHelp explains a key.
type keyHelp struct{ Key, Text string }

func (s *Server) loop(w http.ResponseWriter, r *http.Request) {
	rec, l, err := s.loopOfRequest(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	words := s.words(r)
	p := loopPage{page: s.page(r, "loop.title"), Study: rec.study.StudyInstanceUID, Loop: l.SOPInstanceUID, View: l.View, Stage: l.Stage,
		Listing: worklistRow{Listing: rec.listing, Words: words, Date: words.Time(rec.listing.Time), Birth: words.Date(rec.listing.BirthDate)}}
	p.page.Name = "loop"
	if l.Reason != nil {
		p.Reason = words.Reason(l.Reason.Text)
	}
	for _, w := range l.Warnings {
		p.Warnings = append(p.Warnings, words.Reason(w.Text))
	}
	for _, m := range l.Measurements {
		p.Values = append(p.Values, valueOf(words, m))
	}
	loops := rec.result.Loops
	for i := range loops {
		if loops[i].SOPInstanceUID != l.SOPInstanceUID {
			continue
		}
		p.Called = loopName(words, rec.result.LoopNames()[l.SOPInstanceUID])
		for k := i - 1; k >= 0 && p.Prev == ""; k-- {
			if loops[k].Frames > 0 {
				p.Prev = loops[k].SOPInstanceUID
			}
		}
		for k := i + 1; k < len(loops) && p.Next == ""; k++ {
			if loops[k].Frames > 0 {
				p.Next = loops[k].SOPInstanceUID
			}
		}
	}
	for _, k := range []string{"␣", "← →", "↑ ↓", "D", "E", "C", "S", "O", "M", "X", "R", "+ −", "PgUp PgDn", "Esc", "wheel", "right", "drag",
		"handles", "Ctrl Z", "Enter"} {
		p.Keys = append(p.Keys, keyHelp{words.Or("key."+k, k), words.T("help." + k)})
	}
	p.May = s.maySign(r, rec)
	p.Data = loopPageData{Study: p.Study, Loop: p.Loop, Prev: p.Prev, Next: p.Next, basis: rec.basis(), May: p.May, Views: correct.Views}
	if rec.result.Review != nil {
		p.Review = reviewOf(words, rec.result.Review)
	}
	s.audit(r, rec.study.StudyInstanceUID, "loop opened", l.SOPInstanceUID, false)
	s.render(w, r, http.StatusOK, "loop.html", p)
}

func (s *Server) loopOfRequest(r *http.Request) (*record, *result.Loop, error) {
	rec, err := s.record(r.Context(), r.PathValue("study"))
	if err != nil {
		return nil, nil, err
	}
	l := rec.loop(r.PathValue("loop"))
	if l == nil {
		return nil, nil, fmt.Errorf("loop %s: %w", r.PathValue("loop"), store.ErrNotFound)
	}
	return rec, l, nil
}

// loopData answers with everything that was found in a loop, as JSON.
func (s *Server) loopData(w http.ResponseWriter, r *http.Request) {
	rec, l, err := s.loopOfRequest(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	if run := r.URL.Query().Get("run"); run != "" && run != rec.run.Version() {
		s.gone(w, r)
		return
	}
	answerJSON(w, rec.loopData(s.words(r), l, nil))
}

// gone answers a page that is of another version than the one that is there now,
// as after a removal, when another study came under the same UIDs.
func (s *Server) gone(w http.ResponseWriter, r *http.Request) {
	http.Error(w, s.words(r).T("error.outdated"), http.StatusGone)
}

func (rec *record) loopData(words *Words, l *result.Loop, only []int) loopData {
	d := loopOf(words, l, only)
	d.Version = rec.versions[l.SOPInstanceUID]
	return d
}

func answerJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// loopOf makes the client's view of a loop, with what was found in the frames
// named, or in all of them.
func loopOf(words *Words, l *result.Loop, only []int) loopData {
	x, y := l.PixelSize()
	d := loopData{Loop: l.SOPInstanceUID, View: l.View, Stage: l.Stage, Frames: l.Frames, Rows: l.Rows, Columns: l.Columns, RWaves: l.RWaves,
		Pixel: [2]float64{x, y}, MM: l.Spacing.Trusted, Beats: l.Beats, Region: l.Region, Status: l.Status, Remarks: l.Warnings, Decided: l.Reader}
	if len(l.FrameTimes) == l.Frames {
		d.Times = l.FrameTimes
	}
	if l.Reason != nil {
		d.Reason = words.Reason(l.Reason.Text)
	}
	d.Curve = curveOf(words, l)
	for i := range l.FrameResults {
		f := &l.FrameResults[i]
		if only != nil && !slices.Contains(only, f.Index) {
			continue
		}
		found := frameData{Frame: f.Index, Contour: f.Contour, Structures: structuresOf(l, f), Points: f.Keypoints}
		if f.Network != nil {
			found.Network = f.Network.Contour
			if l.View == models.ViewPLAX {
				found.Before = f.Network.Keypoints
			}
		}
		if axis, err := longaxis.Of(l, f); err == nil {
			found.Axis = &[3][2]float64{{axis.Apex.X, axis.Apex.Y}, {axis.Annulus[0].X, axis.Annulus[0].Y}, {axis.Annulus[1].X, axis.Annulus[1].Y}}
		}
		d.Found = append(d.Found, found)
	}
	return d
}

// cavityBeside names the cavity in the other plane of a loop's object among the
// structures of a frame: it can be seen and not corrected.
const cavityBeside = "lv_cavity_beside"

// structuresOf are the outlines of a frame beside the cavity that is corrected.
func structuresOf(l *result.Loop, f *result.Frame) map[string]result.Contour {
	if l.Beside == nil {
		return f.Structures
	}
	o := l.Beside.FrameAt(f.Index)
	if o == nil || len(o.Contour) == 0 {
		return f.Structures
	}
	out := map[string]result.Contour{cavityBeside: o.Contour}
	maps.Copy(out, f.Structures)
	return out
}

// curveOf is the cavity over time: the volume by the method of disks in the
// planes it is made for, else the area.
func curveOf(words *Words, l *result.Loop) *curveData {
	if l.Status != result.Analysed || l.View == models.ViewPLAX || l.Frames < 2 {
		return nil
	}
	c := &curveData{Kind: "pixels", Unit: words.T("unit.pixels"), Values: make([]*float64, l.Frames)}
	volume := l.Spacing.Trusted && (l.View == models.ViewA4C || l.View == models.ViewA2C)
	switch {
	case volume:
		c.Kind, c.Unit = "volume", "ml"
	case l.Spacing.Trusted:
		c.Kind, c.Unit = "area", "cm²"
	}
	for i := range l.FrameResults {
		f := &l.FrameResults[i]
		if len(f.Contour) == 0 || f.Index < 0 || f.Index >= l.Frames {
			continue
		}
		v := f.LVAreaPixels
		if c.Kind == "area" {
			v = f.LVArea
		}
		if volume {
			axis, err := longaxis.Of(l, f)
			if err != nil {
				continue
			}
			disks, err := lv.Disks(longaxis.Points(f.Contour), longaxis.Spacing(l), axis, lv.DiskCount)
			if err != nil {
				continue
			}
			v = lv.SinglePlaneVolume(disks, axis.LengthMM)
		}
		c.Values[f.Index] = &v
	}
	return c
}
