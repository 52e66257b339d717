package review

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/disintegration/imaging"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/internal/correct"
	"github.com/echonode/echonode/pipeline/node"
	"github.com/echonode/echonode/pipeline/objects"
	"github.com/echonode/echonode/pipeline/output"
	"github.com/echonode/echonode/pipeline/quantity"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/pipeline/store"
)

// attachment says that the answer is a file.
func attachment(w http.ResponseWriter, kind, name string) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Disposition", `attachment; filename="`+name+`"`)
}

// maxDrawing is how many are made at once of what frames are decoded for apart from
// the player.
const maxDrawing = 2

// draw waits for its turn to decode frames, which ends with done. What open pages hold
// idle gives way.
func (s *Server) draw(ctx context.Context) (done func(), err error) {
	select {
	case s.drawing <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	left := s.loops.room(true)
	return func() {
		left()
		<-s.drawing
	}, nil
}

// summary answers with the summary pages of a study as PDF.
func (s *Server) summary(w http.ResponseWriter, r *http.Request) {
	uid := r.PathValue("study")
	rec, err := s.record(r.Context(), uid)
	if err == nil && rec.result == nil {
		err = fmt.Errorf("study %s has no result: %w", uid, store.ErrNotFound)
	}
	hold := s.opt.Objects.Hold()
	defer hold.Release()
	var pdf bytes.Buffer
	if err == nil {
		err = s.drawSummary(r.Context(), rec, hold, &pdf)
	}
	if errors.Is(err, output.ErrNoSource) {
		err = fmt.Errorf("%w: %w", err, store.ErrNotFound)
	}
	s.audit(r, uid, "summary exported", "", err != nil)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	attachment(w, "application/pdf", "echonode-summary.pdf")
	_, _ = w.Write(pdf.Bytes())
}

func (s *Server) drawSummary(ctx context.Context, rec *record, hold *objects.Hold, to io.Writer) error {
	done, err := s.draw(ctx)
	if err != nil {
		return err
	}
	defer done()
	for _, in := range rec.instances {
		node.Expect(hold, in)
	}
	return output.PDF(ctx, rec.result, output.Files{Paths: rec.files, Find: hold.File, Limits: s.opt.Limits}, output.Options{}, to)
}

// valueColumns are the columns of exported values; the UID is their only
// identity.
var valueColumns = []string{"study_instance_uid", "stage", "quantity", "value", "unit", "method", "view", "beats", "grade", "by_reader", "verdict", "reason"}

// values answers with a study's values as CSV.
func (s *Server) values(w http.ResponseWriter, r *http.Request) {
	uid := r.PathValue("study")
	rec, err := s.record(r.Context(), uid)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.audit(r, uid, "values exported", "", false)
	attachment(w, "text/csv; charset=utf-8", "echonode-values.csv")
	out := csv.NewWriter(w)
	defer out.Flush()
	_ = out.Write(valueColumns)
	writeValues(out, uid, rec.result)
}

func writeValues(out *csv.Writer, uid string, study *result.Study) {
	if study == nil {
		return
	}
	verdict := ""
	if study.Review != nil {
		verdict = study.Review.Verdict
	}
	for _, m := range study.Measurements {
		value, reason := "", ""
		if m.Value != nil {
			value = strconv.FormatFloat(*m.Value, 'f', -1, 64)
			if q, ok := quantity.Of(m.Name); ok {
				value = q.Format(*m.Value)
			}
		} else if m.Reason != nil {
			reason = m.Reason.Code
		}
		_ = out.Write([]string{uid, cell(m.Stage), m.Name, value, m.Unit, m.Method, m.View, strconv.Itoa(len(m.Beats)), m.Quality.Grade,
			strconv.FormatBool(m.ByReader), verdict, reason})
	}
}

// cell keeps a text from the objects from being taken for a formula by a
// spreadsheet.
func cell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

// selection is what the form of the worklist selects.
func selection(r *http.Request) worklistRequest {
	q := worklistRequest{Search: r.PostFormValue("search"), State: r.PostFormValue("state"), Flag: r.PostFormValue("flag"),
		Unreviewed: r.PostFormValue("unreviewed") != "", From: r.PostFormValue("from"), To: r.PostFormValue("to")}
	return q
}

// selected calls each with the studies that the form of the worklist selects,
// newest first, until one fails.
func (s *Server) selected(r *http.Request, each func(uid string) error) error {
	q := selection(r).store()
	q.Limit = 500
	for {
		rows, total, err := s.opt.Store.Worklist(r.Context(), q)
		if err != nil {
			return err
		}
		for _, l := range rows {
			if err := each(l.StudyInstanceUID); err != nil {
				return err
			}
		}
		if q.Offset += len(rows); len(rows) == 0 || q.Offset >= total {
			return nil
		}
	}
}

// latest is the newest result of a study, nil where there is none any more.
func (s *Server) latest(ctx context.Context, uid string, take func(store.Run) bool) (*result.Study, error) {
	runs, err := s.opt.Store.Runs(ctx, uid)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(runs, func(r store.Run) bool { return !r.Finished.IsZero() && r.Error == "" && r.Directory != "" && take(r) })
	if i < 0 {
		return nil, nil
	}
	doc, err := s.documents.get(ctx, runs[i])
	if err != nil {
		return nil, err
	}
	for k := range doc.Studies {
		if doc.Studies[k].StudyInstanceUID == uid {
			return &doc.Studies[k], nil
		}
	}
	return nil, nil
}

// exportValues answers with the values of all studies that the worklist's form
// selects. A study whose result is gone has no lines.
func (s *Server) exportValues(w http.ResponseWriter, r *http.Request) {
	if err := selection(r).check(); err != nil {
		s.fail(w, r, err)
		return
	}
	attachment(w, "text/csv; charset=utf-8", "echonode-values.csv")
	out := csv.NewWriter(w)
	_ = out.Write(valueColumns)
	n := 0
	err := s.selected(r, func(uid string) error {
		study, err := s.latest(r.Context(), uid, func(store.Run) bool { return true })
		if errors.Is(err, objects.ErrUnavailable) {
			return err // all others would be missing too
		}
		if err != nil {
			s.log.Error("review: export", "study", uid, "error", err)
			return r.Context().Err()
		}
		n++
		writeValues(out, uid, study)
		return out.Error()
	})
	out.Flush()
	err = errors.Join(err, out.Error())
	s.audit(r, "", "values exported", fmt.Sprintf("%d studies", n), err != nil)
	if err != nil {
		// Half a table must not look like a whole one.
		s.log.Error("review: export of values", "error", err)
		panic(http.ErrAbortHandler)
	}
}

// ---- training labels ----

// labelColumns are the columns of labels.csv, which models/training reads. Points
// are pixels of the picture named in file, whose pixels are square; mm is their
// size, empty where it is not known. A contour is x and y of its points in turn.
// The parasternal view has the points of its walls instead.
var labelColumns = []string{"file", "subject", "view", "phase", "mm", "apex_x", "apex_y", "septal_x", "septal_y", "lateral_x", "lateral_y",
	"ivs_right_x", "ivs_right_y", "ivs_left_x", "ivs_left_y", "pw_inner_x", "pw_inner_y", "pw_outer_x", "pw_outer_y", "contour"}

// labelPoints are the points of labelColumns, in that order.
var labelPoints = slices.Concat([]string{models.KeypointApex, models.KeypointMitralSeptal, models.KeypointMitralLateral}, correct.WallPoints)

// exportLabels answers with what readers corrected in the studies that the
// worklist's form selects: the pictures of the analysed region without anything
// around it, outlines and points. No name, date, number or UID is in it; of a
// patient there is a keyed hash, of two under one Patient ID two. A frame whose region is the whole picture is
// left out: what is written in it would go with it.
func (s *Server) exportLabels(w http.ResponseWriter, r *http.Request) {
	if err := selection(r).check(); err != nil {
		s.fail(w, r, err)
		return
	}
	attachment(w, "application/zip", "echonode-labels.zip")
	z := zip.NewWriter(w)
	var table bytes.Buffer
	lines := csv.NewWriter(&table)
	_ = lines.Write(labelColumns)
	e := labels{s: s, zip: z, lines: lines, subjects: map[store.Person]string{}, most: maxPictures}
	err := s.selected(r, func(uid string) error { return e.study(r.Context(), uid) })
	lines.Flush()
	write := func(name string, content []byte) {
		var f io.Writer
		if err == nil {
			f, err = z.Create(name)
		}
		if err == nil {
			_, err = f.Write(content)
		}
	}
	write("labels.csv", table.Bytes())
	if e.left > 0 {
		write("left-out.txt", []byte(s.words(r).T("export.left", e.left)+"\n"))
	}
	s.audit(r, "", "labels exported", fmt.Sprintf("%d frames, %d left out", e.frames, e.left), err != nil)
	if err != nil {
		// Half an archive must not look like a whole one.
		s.log.Error("review: export of labels", "error", err)
		panic(http.ErrAbortHandler)
	}
	_ = z.Close()
}

// labels writes an archive of labels.
type labels struct {
	s            *Server
	zip          *zip.Writer
	lines        *csv.Writer
	subjects     map[store.Person]string // what persons are called
	frames, left int
	most         int // bytes of pictures that are held until they are written
}

func (e *labels) study(ctx context.Context, uid string) error {
	reviews, err := e.s.opt.Store.Reviews(ctx, uid)
	if err != nil || len(reviews) == 0 {
		return err
	}
	// The objects first: of those that another study under the UIDs brings meanwhile, none is what was recorded.
	instances, err := e.s.opt.Store.Instances(ctx, uid)
	if err != nil {
		return err
	}
	study, err := e.s.latest(ctx, uid, func(r store.Run) bool { return reviews[r.Revision].Verdict == result.Corrected })
	if err != nil || study == nil {
		return err
	}
	for i := range study.Loops {
		l := &study.Loops[i]
		k := slices.IndexFunc(instances, func(in store.Instance) bool { return in.SOPInstanceUID == l.SOPInstanceUID })
		if k < 0 || l.Status != result.Analysed || !slices.ContainsFunc(l.FrameResults, func(f result.Frame) bool { return f.Network != nil }) {
			continue
		}
		if err := e.loop(ctx, l, instances[k]); err != nil {
			e.s.log.Error("review: labels of a loop", "object", l.SOPInstanceUID, "error", err)
			e.left++
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// subject is what the patient of an object is called in exported labels, the
// same in every export. Of several persons under one Patient ID the one whose
// labels were exported first has the name of the ID, and the others have names of
// their own.
func (e *labels) subject(ctx context.Context, in store.Instance) (string, error) {
	name := func(format string, args ...any) []byte {
		h := hmac.New(sha256.New, e.s.opt.LabelsKey)
		fmt.Fprintf(h, format, args...)
		return h.Sum(nil)
	}
	if in.Patient == "" {
		return hex.EncodeToString(name("%q %q %q", in.Issuer, in.Patient, in.StudyInstanceUID)[:8]), nil
	}
	if known, ok := e.subjects[in.Person]; ok {
		return known, nil
	}
	all, err := e.s.opt.Store.PersonsOf(ctx, in.Patient)
	if err != nil {
		return "", err
	}
	persons := make([]result.Person, len(all))
	for i, p := range all {
		persons[i] = result.Person{ID: p.Patient, Issuer: p.Issuer, Family: p.Family, Given: p.Given, Born: p.Born, Sex: p.Sex}
	}
	numbers := result.Apart(persons)
	at := slices.Index(all, in.Person)
	if at < 0 {
		return "", fmt.Errorf("the patient of %s was changed meanwhile", in.SOPInstanceUID)
	}
	var same []int // persons that are this patient, the first received first
	for i, n := range numbers {
		if n == numbers[at] {
			same = append(same, i)
		}
	}
	first := same[0]
	owner, err := e.s.opt.Store.Key(ctx, "subject "+hex.EncodeToString(name("%q", in.Patient)), name("%q", persons[first].Digest()))
	if err != nil {
		return "", err
	}
	subject := name("%q %q %q", all[first].Issuer, in.Patient, persons[first].Digest())
	if slices.ContainsFunc(same, func(i int) bool { return hmac.Equal(owner, name("%q", persons[i].Digest())) }) {
		subject = name("%q %q", all[first].Issuer, in.Patient)
	}
	e.subjects[in.Person] = hex.EncodeToString(subject[:8])
	return e.subjects[in.Person], nil
}

// loop adds the frames of a loop. Frames are decoded in turns and written in between:
// whoever takes the archive slowly, or not at all, keeps nobody else from a turn.
func (e *labels) loop(ctx context.Context, l *result.Loop, in store.Instance) error {
	for next := 0; next < len(l.FrameResults); {
		made, after, err := e.pictures(ctx, l, in, next)
		if err != nil {
			return err
		}
		next = after
		subject, err := e.subject(ctx, in)
		if err != nil {
			return err
		}
		for _, p := range made {
			if err := e.frame(l, p, subject); err != nil {
				return err
			}
		}
	}
	return nil
}

// picture is a frame of a loop as it is exported.
type picture struct {
	frame  *result.Frame
	aspect float64 // by how much it was widened
	png    []byte
}

// maxPictures is labels.most: some frames.
const maxPictures = 4 << 20

// pictures makes those of a loop from a frame result on, up to the next one or the end.
func (e *labels) pictures(ctx context.Context, l *result.Loop, in store.Instance, from int) (made []picture, next int, err error) {
	done, err := e.s.draw(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer done()
	hold := e.s.opt.Objects.Hold()
	defer hold.Release()
	node.Expect(hold, in)
	path, err := hold.File(ctx, in.Path)
	if err != nil {
		return nil, 0, err
	}
	file, err := dicomio.OpenContext(ctx, path, dicomio.Options{Limits: e.s.opt.Limits})
	if err != nil {
		return nil, 0, err
	}
	defer file.Close() // read only
	frames, err := file.Frames()
	if err != nil {
		return nil, 0, err
	}
	held := 0
	for next = from; next < len(l.FrameResults) && held < e.most; next++ {
		f := &l.FrameResults[next]
		if f.Network == nil || l.View != models.ViewPLAX && len(f.Contour) < 3 || l.View == models.ViewPLAX && !hasWalls(f) {
			continue
		}
		if l.Region == nil || image.Rect(l.Region.MinX, l.Region.MinY, l.Region.MaxX, l.Region.MaxY) == image.Rect(0, 0, l.Columns, l.Rows) {
			e.left++
			continue
		}
		var img image.RGBA
		if err := frames.RGB(f.Index, &img); err != nil {
			return nil, 0, err
		}
		p, err := pictureOf(l, f, &img)
		if err != nil {
			return nil, 0, err
		}
		made = append(made, p)
		held += len(p.png)
	}
	return made, next, nil
}

// hasWalls reports whether a reader has placed the wall points of a frame.
func hasWalls(f *result.Frame) bool {
	return !slices.ContainsFunc(correct.WallPoints, func(name string) bool {
		return !slices.ContainsFunc(f.Keypoints, func(k result.Keypoint) bool { return k.Name == name && k.Confidence == 1 })
	})
}

// pictureOf is the region of a frame, in gray.
func pictureOf(l *result.Loop, f *result.Frame, img image.Image) (picture, error) {
	// Pixels become square by widening or narrowing, so that a height stays a height.
	x, y := l.PixelSize()
	aspect := x / y
	region := imaging.Crop(img, image.Rect(l.Region.MinX, l.Region.MinY, l.Region.MaxX, l.Region.MaxY))
	if width := int(math.Round(float64(region.Rect.Dx()) * aspect)); width != region.Rect.Dx() && width > 0 {
		aspect = float64(width) / float64(region.Rect.Dx())
		region = imaging.Resize(region, width, region.Rect.Dy(), imaging.Linear)
	}
	gray := image.NewGray(region.Rect)
	for py := region.Rect.Min.Y; py < region.Rect.Max.Y; py++ {
		for px := region.Rect.Min.X; px < region.Rect.Max.X; px++ {
			gray.SetGray(px, py, color.GrayModel.Convert(region.NRGBAAt(px, py)).(color.Gray))
		}
	}
	var b bytes.Buffer
	err := png.Encode(&b, gray)
	return picture{f, aspect, b.Bytes()}, err
}

// frame adds the picture and the label of one frame.
func (e *labels) frame(l *result.Loop, p picture, subject string) error {
	f, aspect := p.frame, p.aspect
	_, y := l.PixelSize()
	e.frames++
	name := fmt.Sprintf("frames/%s-%05d.png", subject, e.frames)
	out, err := e.zip.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store}) // a PNG is compressed
	if err != nil {
		return err
	}
	if _, err := out.Write(p.png); err != nil {
		return err
	}
	number := func(v float64) string { return strconv.FormatFloat(result.Round(v, 2), 'f', -1, 64) }
	at := func(px, py float64) (string, string) {
		return number((px-float64(l.Region.MinX)+0.5)*aspect - 0.5), number(py - float64(l.Region.MinY))
	}
	phase, mm := "", ""
	for _, b := range l.Beats {
		switch f.Index {
		case b.ED, b.NextED:
			phase = "ED"
		case b.ES:
			phase = "ES"
		}
	}
	if l.Spacing.Trusted {
		mm = strconv.FormatFloat(y, 'g', 6, 64)
	}
	line := []string{name, subject, l.View, phase, mm}
	for i, point := range labelPoints {
		if (i >= len(labelPoints)-len(correct.WallPoints)) != (l.View == models.ViewPLAX) {
			line = append(line, "", "")
			continue
		}
		px, py := "", ""
		if k := slices.IndexFunc(f.Keypoints, func(k result.Keypoint) bool { return k.Name == point }); k >= 0 && f.Keypoints[k].Confidence == 1 {
			px, py = at(f.Keypoints[k].X, f.Keypoints[k].Y)
		}
		line = append(line, px, py)
	}
	var contour []string
	for _, p := range f.Contour {
		if l.View == models.ViewPLAX {
			break // nobody looked at it
		}
		px, py := at(p[0], p[1])
		contour = append(contour, px, py)
	}
	return e.lines.Write(append(line, strings.Join(contour, " ")))
}
