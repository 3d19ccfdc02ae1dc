package cgroup

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// appendDirs appends the names of the directories among the entries that getdents64(2)
// put into buf: inode u64, offset i64, length u16, type u8, name with a zero at its end.
func appendDirs(buf []byte, names []string) []string {
	const head = 19
	for len(buf) >= head {
		size := int(binary.NativeEndian.Uint16(buf[16:]))
		if size < head || size > len(buf) {
			return names
		}
		name, _, _ := bytes.Cut(buf[head:size], []byte{0})
		if s := string(name); buf[18] == unix.DT_DIR && s != "." && s != ".." {
			names = append(names, s)
		}
		buf = buf[size:]
	}
	return names
}
