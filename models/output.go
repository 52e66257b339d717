package models

// Output holds what the network says about N frames. Infer fills it and reuses its memory; the planes alias it and
// are valid until the next call.
type Output struct {
	N int
	// Mask holds probabilities x 255, [N][class][row][column], MaskHeight x MaskWidth cells of MaskStride input pixels.
	Mask []uint8
	// Heatmaps holds peak maps in 0..1, [N][keypoint][row][column], HeatHeight x HeatWidth cells of HeatmapStride.
	Heatmaps []float32
	// View holds probabilities, [N][view].
	View []float32
	// Extras holds further values, [N][extra]; empty if the model has none, see Card.Extras.
	Extras []float32
	// Provider names what computed this output; it differs from Engine.Provider when a GPU ran out of memory.
	Provider string

	Classes, MaskWidth, MaskHeight   int
	Keypoints, HeatWidth, HeatHeight int
	Views, NumExtras                 int
}

// MaskPlane is the plane of one class of one frame, MaskWidth x MaskHeight.
func (o *Output) MaskPlane(frame, class int) []uint8 {
	return plane(o.Mask, frame*o.Classes+class, o.MaskWidth*o.MaskHeight)
}

// Heatmap is the plane of one keypoint of one frame, HeatWidth x HeatHeight.
func (o *Output) Heatmap(frame, keypoint int) []float32 {
	return plane(o.Heatmaps, frame*o.Keypoints+keypoint, o.HeatWidth*o.HeatHeight)
}

// ViewProbs are the view probabilities of one frame.
func (o *Output) ViewProbs(frame int) []float32 {
	return plane(o.View, frame, o.Views)
}

// ExtraValues are the further values of one frame.
func (o *Output) ExtraValues(frame int) []float32 {
	return plane(o.Extras, frame, o.NumExtras)
}

// Keypoint decodes one keypoint of one frame, see DecodeKeypoint.
func (o *Output) Keypoint(frame, keypoint int) (x, y, confidence float64) {
	return DecodeKeypoint(o.Heatmap(frame, keypoint), o.HeatWidth, o.HeatHeight)
}

func plane[T any](s []T, index, size int) []T {
	return s[index*size : (index+1)*size : (index+1)*size]
}

// reset gives the output room for n frames of the model with this card.
func (o *Output) reset(c Card, n int) {
	o.N, o.Provider = n, ""
	o.Classes, o.MaskWidth, o.MaskHeight = len(c.Classes), c.maskWidth(), c.maskHeight()
	o.Keypoints, o.HeatWidth, o.HeatHeight = len(c.Keypoints), c.heatWidth(), c.heatHeight()
	o.Views, o.NumExtras = len(c.Views), len(c.Extras)
	o.Mask = resize(o.Mask, n*o.Classes*o.MaskWidth*o.MaskHeight)
	o.Heatmaps = resize(o.Heatmaps, n*o.Keypoints*o.HeatWidth*o.HeatHeight)
	o.View = resize(o.View, n*o.Views)
	o.Extras = resize(o.Extras, n*o.NumExtras)
}

func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// rows are the parts of an output that belong to some consecutive frames.
type rows struct {
	mask     []uint8
	heatmaps []float32
	view     []float32
	extras   []float32
}

// rows returns the parts of the frames from..to-1.
func (o *Output) rows(from, to int) rows {
	m, h, v, e := o.Classes*o.MaskWidth*o.MaskHeight, o.Keypoints*o.HeatWidth*o.HeatHeight, o.Views, o.NumExtras
	return rows{o.Mask[from*m : to*m], o.Heatmaps[from*h : to*h], o.View[from*v : to*v], o.Extras[from*e : to*e]}
}

// copyFrom copies as many rows as r holds from the beginning of src.
func (r rows) copyFrom(src rows) {
	copy(r.mask, src.mask)
	copy(r.heatmaps, src.heatmaps)
	copy(r.view, src.view)
	copy(r.extras, src.extras)
}
