package main

import "github.com/echonode/echonode/pipeline/result"

// stray says that a part of the segmentation lies outside the outline.
func stray(f *result.Frame, part float64) { f.Stray = part }
