// Package overlay renders results for people: contours, axis and landmarks
// drawn on a frame, with a footer outside the image content; an animated GIF;
// PNG stills; and the area curve as SVG.
//
// Coordinates are those of package lv: source pixels, x right, y down, origin
// at the centre of the top-left pixel.
package overlay
