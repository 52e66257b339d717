package cli

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/draw"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/disintegration/imaging"
	_ "golang.org/x/image/webp" // for image.Decode

	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/instance"
)

// Kinds of files that are no DICOM and can be analysed all the same, as data
// sets for research have them.
var (
	videoFiles = []string{".avi", ".mp4", ".mov", ".m4v", ".mkv", ".mpg", ".mpeg", ".webm", ".wmv", ".ogv", ".flv", ".3gp", ".gif"}
	stillFiles = []string{".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}
)

func isVideo(path string) bool {
	return slices.Contains(videoFiles, strings.ToLower(filepath.Ext(path)))
}
func isStill(path string) bool {
	return slices.Contains(stillFiles, strings.ToLower(filepath.Ext(path)))
}
func isMedia(path string) bool { return isVideo(path) || isStill(path) }

// mediaSettings say what such a file does not say itself.
type mediaSettings struct {
	fps     float64    // 0: as the file says
	spacing [2]float64 // mm per pixel, across and down; 0 for no calibration
	square  bool       // spacing was given as one number for both
	frames  int        // of a longer video only so many are read
}

// parseSpacing reads "0.3" or "0.3,0.25".
func parseSpacing(s string) (out [2]float64, err error) {
	if s == "" {
		return out, nil
	}
	x, y, two := strings.Cut(s, ",")
	if !two {
		y = x
	}
	for i, t := range []string{x, y} {
		v, err := strconv.ParseFloat(strings.TrimSpace(t), 64)
		if err != nil || !(v > 0) || math.IsInf(v, 0) {
			return out, fmt.Errorf("--spacing %q: give the size of a pixel in mm, across and down: 0.3 or 0.3,0.25", s)
		}
		out[i] = v
	}
	return out, nil
}

// Bounds of a picture that is no DICOM.
const maxMediaSide = 4096

// made is an object that was made of a video or of pictures, and how many frames
// those have.
type made struct {
	path   string
	frames int
	// timeless says why it does not tell when its frames were taken, although they
	// are a cine; "" where it does.
	timeless string
}

// toDICOM writes a video or a picture as an ultrasound object in dir. It is a
// study of its own, whose UIDs are made of the content, and belongs to a patient
// named after the file. Of a long video it holds the first frames.
func toDICOM(ctx context.Context, path, dir string, o mediaSettings) (made, error) {
	sum, err := digest(path)
	if err != nil {
		return made{}, err
	}
	ds := mediaObject(sum, strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)))
	out := filepath.Join(dir, sum[:32]+".dcm")
	moves := isStill(path) && movesAsPicture(path)
	if ext := strings.ToLower(filepath.Ext(path)); moves && ext != ".png" {
		return stackToDICOM(ctx, path, dir, sum, ds, o)
	}
	if isStill(path) && !moves {
		pix, size, err := readStill(path)
		if err != nil {
			return made{}, err
		}
		ds.SetString(tag.SOPClassUID, uid.UltrasoundImageStorage)
		describeMedia(ds, size, 1, o)
		pages, _, err := tiffPages(path)
		if err != nil && len(pages) > 1 {
			return made{}, fmt.Errorf("behind page %d of the TIFF: %w", len(pages), err)
		}
		if err != nil { // of another kind
			pages = nil
		}
		return made{path: out, frames: max(1, len(pages))}, writeMedia(out, ds, dicomio.FrameBytes([][]byte{pix}))
	}
	v, err := probe(ctx, path, o)
	if err != nil {
		return made{}, err
	}
	all := v.frames
	v.frames = min(all, o.frames)
	describeMedia(ds, v.size, v.frames, o)
	if o.spacing[0] <= 0 && math.Abs(v.aspect-1) > 0.001 {
		ds.SetString(tag.PixelAspectRatio, "1000", strconv.Itoa(int(math.Round(1000*v.aspect)))) // down, across
	}
	if ds.SetString(tag.SOPClassUID, uid.UltrasoundImageStorage); all > 1 {
		timeMedia(ds, v.fps)
	}
	if v.times = v.times[:min(len(v.times), v.frames)]; v.uneven() {
		if err := v.timeVector(ds); err != nil {
			return made{}, err
		}
	}
	return made{out, all, v.timeless}, v.decode(ctx, path, func(pixels *dicomio.Pixels) error { return writeMedia(out, ds, pixels) })
}

// mediaObject begins an object of a content and a name.
func mediaObject(sum, name string) *dicomio.DataSet {
	ds := dicomio.NewDataSet()
	for _, v := range []struct {
		t dicomio.Tag
		s string
	}{
		{tag.SOPInstanceUID, instance.UID("media", sum)}, {tag.StudyInstanceUID, instance.UID("media study", sum)},
		{tag.SeriesInstanceUID, instance.UID("media series", sum)},
		{tag.PatientID, clipASCII(name, 64)}, {tag.Modality, "US"}, {tag.PhotometricInterpretation, "RGB"},
	} {
		ds.SetString(v.t, v.s)
	}
	ds.SetEmpty(tag.PatientName)
	for t, v := range map[dicomio.Tag]int64{tag.SamplesPerPixel: 3, tag.PlanarConfiguration: 0, tag.BitsAllocated: 8, tag.BitsStored: 8, tag.HighBit: 7,
		tag.PixelRepresentation: 0} {
		ds.SetInt(t, v)
	}
	return ds
}

// timeMedia makes the object a cine of so many frames per second, 0 where that is
// not known.
func timeMedia(ds *dicomio.DataSet, fps float64) {
	ds.SetString(tag.SOPClassUID, uid.UltrasoundMultiFrameImageStorage)
	if fps <= 0 {
		return
	}
	ds.SetTags(tag.FrameIncrementPointer, tag.FrameTime)
	ds.SetString(tag.FrameTime, strconv.FormatFloat(1000/fps, 'g', 8, 64))
}

func clipASCII(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '\\' {
			return '_'
		}
		return r
	}, s)
	return s[:min(len(s), n)]
}

func digest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close() // read only
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// describeMedia sets size and calibration.
func describeMedia(ds *dicomio.DataSet, size image.Point, frames int, o mediaSettings) {
	ds.SetInt(tag.Rows, int64(size.Y))
	ds.SetInt(tag.Columns, int64(size.X))
	if frames > 1 {
		ds.SetInt(tag.NumberOfFrames, int64(frames))
	}
	if o.spacing[0] <= 0 {
		return
	}
	region := dicomio.NewDataSet()
	for _, v := range []struct {
		t dicomio.Tag
		n int
	}{
		{tag.RegionSpatialFormat, 1}, {tag.RegionDataType, 1}, {tag.RegionFlags, 0}, {tag.RegionLocationMinX0, 0}, {tag.RegionLocationMinY0, 0},
		{tag.RegionLocationMaxX1, size.X - 1}, {tag.RegionLocationMaxY1, size.Y - 1}, {tag.PhysicalUnitsXDirection, 3}, {tag.PhysicalUnitsYDirection, 3},
	} {
		region.SetInt(v.t, int64(v.n))
	}
	region.SetFloat(tag.PhysicalDeltaX, o.spacing[0]/10)
	region.SetFloat(tag.PhysicalDeltaY, o.spacing[1]/10)
	ds.SetItems(tag.SequenceOfUltrasoundRegions, region)
}

func writeMedia(path string, ds *dicomio.DataSet, pixels *dicomio.Pixels) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	err = dicomio.Write(w, ds, dicomio.WriteOptions{Pixels: pixels})
	return errors.Join(err, w.Flush(), f.Close())
}

func readStill(path string) ([]byte, image.Point, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, image.Point{}, err
	}
	defer f.Close() // read only
	if animatedWebP(f) {
		return nil, image.Point{}, errors.New("an animated WebP is not read: save it as a video or as GIF, and give --fps")
	}
	c, _, err := image.DecodeConfig(f)
	if err != nil {
		return nil, image.Point{}, err
	}
	if err := checkSide(image.Pt(c.Width, c.Height), "a picture"); err != nil {
		return nil, image.Point{}, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, image.Point{}, err
	}
	// Cameras and scanners store a picture as it lay, and say how it is to be turned.
	img, err := imaging.Decode(f, imaging.AutoOrientation(true))
	if err != nil {
		return nil, image.Point{}, err
	}
	return rgbOf(img), img.Bounds().Size(), nil
}

// checkSide says what size a picture or a video can't have.
func checkSide(size image.Point, what string) error {
	if size.X < 16 || size.Y < 16 || size.X > maxMediaSide || size.Y > maxMediaSide {
		return fmt.Errorf("%s of %d x %d pixels", what, size.X, size.Y)
	}
	return nil
}

// rgbOf are the pixels of a picture, three bytes each.
func rgbOf(img image.Image) []byte {
	size := img.Bounds().Size()
	rgba := image.NewRGBA(image.Rectangle{Max: size})
	draw.Draw(rgba, rgba.Rect, img, img.Bounds().Min, draw.Src)
	pix := make([]byte, 0, 3*size.X*size.Y)
	for i := 0; i < len(rgba.Pix); i += 4 {
		pix = append(pix, rgba.Pix[i], rgba.Pix[i+1], rgba.Pix[i+2])
	}
	return pix
}

// video is what a file says of its first picture track.
type video struct {
	size   image.Point // as ffmpeg hands the frames out, turned as a player shows them
	frames int
	fps    float64
	aspect float64   // width of a pixel by its height
	times  []float64 // of the frames, in s, rising; nil where --fps counts or the file has none
	// timeless says why the file's own times are not used; "" where they are.
	timeless string
}

// probe asks ffprobe, counting the frames: containers often say none.
func probe(ctx context.Context, path string, o mediaSettings) (video, error) {
	var v video
	b, err := exec.CommandContext(ctx, "ffprobe", "-v", "error", "-select_streams", "v:0", "-count_packets", "-show_entries",
		"stream=codec_name,width,height,avg_frame_rate,r_frame_rate,nb_read_packets,sample_aspect_ratio:stream_side_data=rotation:packet=pts_time",
		"-of", "json", "--", path).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return v, fmt.Errorf("ffprobe: %s", strings.TrimSpace(string(exit.Stderr)))
		}
		return v, fmt.Errorf("videos need the program ffprobe: %w", err)
	}
	var answer struct {
		Streams []struct {
			Codec           string `json:"codec_name"`
			Width, Height   int
			Average         string                       `json:"avg_frame_rate"`
			Base            string                       `json:"r_frame_rate"`
			NumberOfPackets string                       `json:"nb_read_packets"`
			Aspect          string                       `json:"sample_aspect_ratio"`
			SideData        []struct{ Rotation float64 } `json:"side_data_list"`
		}
		Packets []struct {
			Time string `json:"pts_time"`
		}
	}
	if err := json.Unmarshal(b, &answer); err != nil || len(answer.Streams) == 0 {
		return v, errors.New("no picture track")
	}
	s := answer.Streams[0]
	v.size = image.Pt(s.Width, s.Height)
	aspect := pixelAspect(s.Aspect)
	for _, d := range s.SideData {
		if math.Abs(math.Abs(math.Remainder(d.Rotation, 180))-90) < 1 { // ffmpeg turns the frames by it
			v.size, aspect = image.Pt(s.Height, s.Width), 1/aspect
		}
	}
	v.aspect = aspect
	v.frames, err = strconv.Atoi(s.NumberOfPackets)
	v.fps = o.fps
	for _, r := range []string{s.Average, s.Base} {
		if v.fps == 0 {
			v.fps = ratio(r)
		}
	}
	animation := s.Codec == "gif" || s.Codec == "apng"
	if err := checkSide(v.size, "a video"); err != nil {
		return v, err
	}
	switch {
	case err != nil || v.frames < 1:
		return v, errors.New("a video without frames")
	case !animation && (!(v.fps > 0) || v.fps > 1000):
		return v, errors.New("the video does not say its frame rate: give --fps")
	case o.square && max(aspect, 1/aspect) > 1.01:
		return v, fmt.Errorf("the pixels of the video are not square (width to height %.4g): give --spacing across,down", aspect)
	}
	if animation && o.fps <= 0 && v.frames > 1 {
		v.fps, v.timeless = 0, "the times of a GIF are for showing it: give --fps"
		if s.Codec == "apng" {
			v.timeless = "the times of an animated PNG are for showing it: give --fps"
		}
	}
	if o.fps > 0 || animation {
		return v, nil
	}
	for _, p := range answer.Packets { // in the order of decoding
		t, err := strconv.ParseFloat(p.Time, 64)
		if err != nil || math.IsInf(t, 0) || math.IsNaN(t) {
			v.times = nil
			return v, nil
		}
		v.times = append(v.times, t)
	}
	slices.Sort(v.times)
	return v, nil
}

// pixelAspect reads the width of a pixel by its height, "4:3"; 1 where it is
// not said.
func pixelAspect(s string) float64 {
	if r := ratio(strings.Replace(s, ":", "/", 1)); r > 0 {
		return r
	}
	return 1
}

// uneven reports whether frames follow each other otherwise than the frame rate
// says, by more than the rounding of times to milliseconds.
func (v video) uneven() bool {
	for i := 1; i < len(v.times); i++ {
		if math.Abs(v.times[i]-v.times[i-1]-1/v.fps) > 0.0021 {
			return true
		}
	}
	return false
}

// timeVector gives the object the times of its frames in the place of a rate: the
// increments in ms, the first 0 (PS3.3 C.7.6.5.1.2).
func (v video) timeVector(ds *dicomio.DataSet) error {
	steps, length := make([]string, len(v.times)), 0
	for i := range v.times {
		step := 0.0
		if i > 0 {
			step = 1000 * (v.times[i] - v.times[i-1])
			if !(step > 0) {
				return errors.New("two frames of the video have one time: give --fps")
			}
		}
		steps[i] = strconv.FormatFloat(step, 'g', 8, 64)
		length += len(steps[i]) + 1
	}
	if length > math.MaxUint16-1 { // an element of that kind holds no more
		return errors.New("a variable frame rate of too many frames: give --fps")
	}
	ds.Delete(tag.FrameTime)
	ds.SetTags(tag.FrameIncrementPointer, tag.FrameTimeVector)
	ds.SetString(tag.FrameTimeVector, steps...)
	return nil
}

func ratio(s string) float64 {
	a, b, ok := strings.Cut(s, "/")
	n, err1 := strconv.ParseFloat(a, 64)
	d, err2 := strconv.ParseFloat(b, 64)
	if !ok || err1 != nil || err2 != nil || d == 0 {
		return 0
	}
	return n / d
}

// decode hands the frames on as they come out of ffmpeg.
func (v video) decode(ctx context.Context, path string, write func(*dicomio.Pixels) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ffmpeg", "-v", "error", "-nostdin", "-i", "file:"+path, "-map", "0:v:0", "-an", "-sn", "-vsync", "passthrough",
		"-frames:v", strconv.Itoa(v.frames), "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
	var complaint strings.Builder
	cmd.Stderr = &complaint
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("videos need the program ffmpeg: %w", err)
	}
	frame := make([]byte, 3*v.size.X*v.size.Y)
	in := bufio.NewReaderSize(pipe, 1<<20)
	err = write(dicomio.FrameFunc(v.frames, int64(len(frame)), func(i int) ([]byte, error) {
		if _, err := io.ReadFull(in, frame); err != nil {
			return nil, fmt.Errorf("frame %d of %d: %w", i+1, v.frames, err)
		}
		return frame, nil
	}))
	if err != nil {
		cancel()
		_ = cmd.Wait() // its end is ours
		if s := strings.TrimSpace(complaint.String()); s != "" {
			err = fmt.Errorf("%w (ffmpeg: %s)", err, s)
		}
		return err
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("ffmpeg: %w: %s", err, strings.TrimSpace(complaint.String()))
	}
	return nil
}
