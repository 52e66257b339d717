package spool

import "golang.org/x/sys/unix"

// writebackChunk is how much is written before the kernel is asked to start
// writing it to disk, so that the sync of Commit has little left to do.
const writebackChunk = 4 << 20

// startWriteback asks for the write-back of what has been written, without
// waiting for it. It is a hint: durability comes from the sync of Commit.
func (in *Incoming) startWriteback() {
	written := in.header + in.size - int64(in.w.Buffered())
	if written-in.flushed < writebackChunk {
		return
	}
	if unix.SyncFileRange(int(in.f.Fd()), in.flushed, written-in.flushed, unix.SYNC_FILE_RANGE_WRITE) == nil {
		in.flushed = written
	}
}

// ordersNames reports whether the file system of dir is one whose journal puts
// names on the disk in the order they were given: ext4 or XFS.
func ordersNames(dir string) bool {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return false
	}
	return st.Type == unix.EXT4_SUPER_MAGIC || st.Type == unix.XFS_SUPER_MAGIC
}
