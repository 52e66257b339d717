package pipeline

import (
	"image"

	"github.com/echonode/echonode/dicomio"
)

func (w *writer) cine(l *loop, source *dicomio.DataSet, name string, size image.Point, render func(i int) (*image.RGBA, error)) error {
	return nil
}
