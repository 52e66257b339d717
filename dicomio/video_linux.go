package dicomio

import (
	"time"

	"golang.org/x/sys/unix"
)

// limitProcess bounds the address space and the CPU time of a decoder, in
// case its own bounds fail, and lets it stand back behind the process that it
// works for, which does the work of others too. A process that ended already is
// no error.
func limitProcess(pid int, memory int64, cpu time.Duration) {
	seconds := uint64(max(cpu, time.Second) / time.Second)
	_ = unix.Prlimit(pid, unix.RLIMIT_AS, &unix.Rlimit{Cur: uint64(memory), Max: uint64(memory)}, nil)
	_ = unix.Prlimit(pid, unix.RLIMIT_CPU, &unix.Rlimit{Cur: seconds, Max: seconds}, nil)
	_ = unix.Setpriority(unix.PRIO_PROCESS, pid, videoNice)
}

// videoNice is how far a decoder stands back.
const videoNice = 5
