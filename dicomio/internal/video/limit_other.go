//go:build !linux

package video

import "time"

// limitProcess has nothing to work with here; ffmpeg's own bounds hold.
func limitProcess(pid int, memory int64, cpu time.Duration) {}
