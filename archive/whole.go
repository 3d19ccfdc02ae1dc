package archive

import (
	"archive/tar"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"vserver/kernel/file"
)

// What Packer.Whole says in records that other tools pass over.
const (
	socketRecord = "VSERVER.socket" // this fifo is a socket
	// partsRecord is a file's size and the places and lengths of its parts, in bytes, by
	// spaces: the archive has these alone, the rest are holes.
	partsRecord = "VSERVER.parts"
)

// maxParts is how many parts of a file are told apart: their record then fits into what
// package tar reads of a header, 1 MiB.
const maxParts = 20_000

// maxHoles is how many bytes of holes may be taken in with the parts of a file that has
// more of them and is little else: who made it could keep us writing zeros for days.
const maxHoles = 1 << 30

// setParts has the header say which parts of a file of size bytes follow, and gives their
// length in all.
func setParts(h *tar.Header, size int64, parts []file.Segment) (sum int64) {
	var b strings.Builder
	b.WriteString(strconv.FormatInt(size, 10))
	for _, p := range parts {
		fmt.Fprintf(&b, " %d %d", p.At, p.Len)
		sum += p.Len
	}
	if sum < size {
		h.PAXRecords = map[string]string{partsRecord: b.String()}
	}
	return sum
}

// partsOf reads what setParts wrote, and refuses what it would not write.
func partsOf(h *tar.Header) (size int64, parts []file.Segment, err error) {
	text, ok := h.PAXRecords[partsRecord]
	if !ok {
		return h.Size, []file.Segment{{Len: h.Size}}, nil
	}
	var numbers []int64
	for word := range strings.SplitSeq(text, " ") {
		n, err := strconv.ParseInt(word, 10, 64)
		if err != nil || n < 0 || len(numbers) > 2*maxParts {
			return 0, nil, hostile(h.Name, "parts that no file has")
		}
		numbers = append(numbers, n)
	}
	size, end, sum := numbers[0], int64(0), int64(0)
	for n := numbers[1:]; len(n) > 0; n = n[2:] {
		if len(n) == 1 || n[0] < end || n[0] > size || n[1] > size-n[0] {
			return 0, nil, hostile(h.Name, "parts that no file has")
		}
		end = n[0] + n[1]
		sum += n[1]
		parts = append(parts, file.Segment{At: n[0], Len: n[1]})
	}
	if sum != h.Size {
		return 0, nil, hostile(h.Name, "parts that are not what follows")
	}
	return size, parts, nil
}

// special makes what only a guest's own tree may have, and tells whether it did: devices,
// whiteouts among them, and sockets.
func (u *Unpacker) special(d *file.Dir, name, p string, h *tar.Header) (done, made bool, err error) {
	mode, dev := uint32(0), uint64(0)
	switch _, socket := h.PAXRecords[socketRecord]; {
	case socket && u.Whole && h.Typeflag == tar.TypeFifo:
		mode = file.TypeSock
	case h.Typeflag != tar.TypeChar && h.Typeflag != tar.TypeBlock:
		return false, false, nil
	case u.Whole && h.Typeflag == tar.TypeChar && h.Devmajor == 0 && h.Devminor == 0:
		mode = file.TypeChar
	case u.Whole && u.Devices && inDev(h.Devmajor, maxMajor) && inDev(h.Devminor, maxMinor):
		mode, dev = file.TypeChar, device(h.Devmajor, h.Devminor)
		if h.Typeflag == tar.TypeBlock {
			mode = file.TypeBlock
		}
	default:
		u.Done.Report.Devices++
		if u.Done.Left == nil {
			u.Done.Left = map[string]bool{}
		}
		u.Done.Left[p] = true
		return true, false, nil
	}
	if _, err := u.clear(d, name, p, h); err != nil {
		return true, false, err
	}
	u.here[p] = false
	return true, true, d.Mknod(name, mode|0o600, dev)
}

// The largest numbers of a device (linux/kdev_t.h).
const (
	maxMajor = 1<<12 - 1
	maxMinor = 1<<20 - 1
)

func inDev(n, most int64) bool { return n >= 0 && n <= most }

// device is major and minor in the reverse.
func device(major, minor int64) uint64 {
	return uint64(minor&0xff | major<<8 | minor&^0xff<<12)
}

// writeParts writes the parts of a file that follow in the archive.
func (u *Unpacker) writeParts(f *os.File, parts []file.Segment, body io.Reader) (end int64, err error) {
	for _, part := range parts {
		if end, err = u.copySparse(f, io.LimitReader(body, part.Len), part); err != nil {
			break
		}
	}
	return end, err
}

// weigh refuses content beyond the limits. In the tree of a guest holes weigh nothing in
// the ratio: they are told in a few bytes and take none.
func (u *Unpacker) weigh(h *tar.Header) error {
	if h.Size < 0 || u.Done.Report.Bytes > u.Limits.Bytes-h.Size {
		return hostile(h.Name, "more than %d bytes in all", u.Limits.Bytes)
	}
	if !isFile(h) {
		return nil
	}
	if !u.Whole {
		u.Done.Report.Bytes += h.Size
		return u.inflated(u.Done.Report.Bytes)
	}
	size, _, err := partsOf(h)
	if err == nil && u.Done.Report.Bytes > u.Limits.Bytes-size {
		err = hostile(h.Name, "more than %d bytes in all", u.Limits.Bytes)
	}
	u.Done.Report.Bytes += size
	return err
}

// written counts what takes disk.
func (u *Unpacker) written(n int64) error {
	if u.Done.Disk += n; !u.Whole {
		return nil
	}
	return u.inflated(u.Done.Disk)
}
