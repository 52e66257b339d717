package spool

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// writebackChunk is how much is written before the kernel is asked to start
// writing it to disk, so that the sync of Commit has little left to do.
const writebackChunk = 1 << 20

// startWriteback asks for the write-back of what has been written, without
// waiting for it. It is a hint: durability comes from the sync of Commit.
func (in *Incoming) startWriteback() {
	if in.written-in.flushed < writebackChunk {
		return
	}
	if unix.SyncFileRange(int(in.f.Fd()), in.flushed, in.written-in.flushed, unix.SYNC_FILE_RANGE_WRITE) == nil {
		in.flushed = in.written
	}
}

// ordersNames reports whether the file system of dir is one whose journal puts
// names on the disk in the order they were given: ext4, unless it was made
// without a journal, or XFS.
func ordersNames(dir string) bool {
	var fs unix.Statfs_t
	if unix.Statfs(dir, &fs) != nil {
		return false
	}
	switch fs.Type {
	case unix.XFS_SUPER_MAGIC:
		return true
	case unix.EXT4_SUPER_MAGIC: // and ext2, ext3
		return hasJournal(dir)
	}
	return false
}

// hasJournal asks the kernel whether the ext4 file system of dir has a journal.
func hasJournal(dir string) bool {
	var st unix.Stat_t
	if unix.Stat(dir, &st) != nil {
		return false
	}
	device, err := os.Readlink(fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev)))
	if err != nil {
		return false
	}
	task, err := os.ReadFile(filepath.Join("/sys/fs/ext4", filepath.Base(device), "journal_task"))
	return err == nil && !bytes.HasPrefix(task, []byte("<none>"))
}
