package facade

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	"vserver/kernel/notify"
)

// statAt is where the server has the struct stat of the socket it hands over.
const statAt = 128

// inodeAt is where st_ino is in a struct stat (arm: stat64).
func inodeAt() int {
	if runtime.GOARCH == "arm" {
		return statAt + 96
	}
	return statAt + 8
}

// finish ends what a dead server left half done: the socket was put into the caller's
// table, but the call not answered. Every other request that stands in the page is
// the next server's: it begins with it.
func (t *Tree) finish() {
	page := make([]byte, pageSize)
	if n, err := syscall.Pread(t.Page, page, 0); err != nil || n < len(page) {
		return
	}
	r, ok := notify.Parse(page)
	inode := binary.NativeEndian.Uint64(page[inodeAt():])
	if !ok || inode == 0 || !notify.Waits(t.Listener, r.ID) {
		return
	}
	fd, ok := find(r.PID, inode)
	// The thread is another's if it is not waiting any more.
	if ok && notify.Waits(t.Listener, r.ID) {
		notify.Answer(t.Listener, r.ID, int64(fd), 0)
	}
}

// find gives the number that a socket has in a process.
func find(pid int, inode uint64) (fd int, ok bool) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	want := fmt.Sprintf("socket:[%d]", inode)
	d, err := os.Open(dir)
	if err != nil {
		return 0, false
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	for _, n := range names {
		if to, err := os.Readlink(filepath.Join(dir, n)); err == nil && to == want {
			fd, err = strconv.Atoi(n)
			return fd, err == nil
		}
	}
	return 0, false
}
