//go:build race

package dicomio

func init() { slowness = 10 } // the race detector's
