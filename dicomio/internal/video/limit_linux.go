package video

import (
	"time"

	"golang.org/x/sys/unix"
)

// limitProcess bounds the address space and the CPU time of a decoder, in
// case its own bounds fail. A process that ended already is no error.
func limitProcess(pid int, memory int64, cpu time.Duration) {
	seconds := uint64(max(cpu, time.Second) / time.Second)
	_ = unix.Prlimit(pid, unix.RLIMIT_AS, &unix.Rlimit{Cur: uint64(memory), Max: uint64(memory)}, nil)
	_ = unix.Prlimit(pid, unix.RLIMIT_CPU, &unix.Rlimit{Cur: seconds, Max: seconds}, nil)
}
