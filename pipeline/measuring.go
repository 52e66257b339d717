package pipeline

import "github.com/echonode/echonode/pipeline/measure"

// Measuring are the settings by which loops and studies are measured, for those
// who measure a corrected result again.
func (a *Analyzer) Measuring() measure.Options { return a.measuring() }
