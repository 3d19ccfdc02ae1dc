// Package tree is trees of guests' files for tests: filled with all that there can be, and
// told in words.
package tree

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"vserver/kernel/file"
	"vserver/layer"
)

// Told is a tree in words: of each path all that a guest can tell of it, with its ids from
// base, and which paths are one file.
func Told(t testing.TB, dir string, base uint32) map[string]string {
	t.Helper()
	out, first := map[string]string{}, map[uint64]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		d, err := file.OpenDir(filepath.Dir(path))
		if err != nil {
			return err
		}
		defer d.Close()
		at, err := d.Entry(filepath.Base(path))
		if err != nil {
			return err
		}
		defer at.Close()
		st, err := at.Stat()
		if err != nil {
			return err
		}
		line := fmt.Sprintf("%o %d:%d rdev %d mtime %d", st.Mode, st.UID-base, st.GID-base, st.Rdev, st.Mtime)
		if st.Type() != file.TypeDir && st.Links > 1 {
			if first[st.Ino] == "" {
				first[st.Ino] = rel
			}
			line += fmt.Sprintf(" %d names, first %s", st.Links, first[st.Ino])
		}
		switch st.Type() {
		case file.TypeLink:
			to, _ := os.Readlink(path)
			line += " -> " + to
		case file.TypeFile:
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %d bytes %x, holes %v", st.Size, sha256.Sum256(text), st.Disk < st.Size/2)
		}
		attrs, err := dressed(at, st, base)
		if err != nil {
			return err
		}
		out[rel] = line + attrs
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return out
}

// dressed is an entry's attributes in words.
func dressed(e *file.Entry, st file.Stat, base uint32) (line string, err error) {
	if st.Type() == file.TypeLink {
		return "", nil
	}
	xs, err := e.Xattrs()
	if err != nil {
		return "", err
	}
	slices.SortFunc(xs, func(a, b file.Xattr) int { return strings.Compare(a.Name, b.Name) })
	for _, x := range xs {
		x, ok, err := layer.Shift{From: base}.Xattr(x)
		if err != nil {
			return "", err
		}
		if ok {
			line += fmt.Sprintf(" %s=%x", x.Name, x.Value)
		}
	}
	return line, nil
}

// Same compares two trees by their words.
func Same(t testing.TB, what string, got, want map[string]string) {
	t.Helper()
	for _, p := range slices.Sorted(func(yield func(string) bool) {
		for p := range want {
			if !yield(p) {
				return
			}
		}
		for p := range got {
			if _, both := want[p]; !both && !yield(p) {
				return
			}
		}
	}) {
		if got[p] != want[p] {
			t.Errorf("%s: %s\n got %s\nwant %s", what, p, got[p], want[p])
		}
	}
}

// Fill puts into a tree one of all that a guest can have there.
func Fill(t testing.TB, dir string, base int) {
	t.Helper()
	at := func(name string) string { return filepath.Join(dir, name) }
	do := func(errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	do(os.MkdirAll(at("all/deep/down"), 0o2775), os.Mkdir(at("all/opaque"), 0o700), os.WriteFile(at("all/f"), []byte("text"), 0o640))
	do(os.Link(at("all/f"), at("all/deep/same")), os.Symlink("../f", at("all/deep/link")), syscall.Mkfifo(at("all/pipe"), 0o620))
	do(syscall.Mknod(at("all/socket"), syscall.S_IFSOCK|0o755, 0), syscall.Mknod(at("all/gone"), syscall.S_IFCHR, 0))
	do(os.Link(at("all/gone"), at("all/gone too")), os.WriteFile(at("all/böse\nname"), nil, 0o600))
	f, err := os.Create(at("all/sparse"))
	do(err)
	for _, off := range []int64{1 << 20, 9 << 20, 9<<20 + 5} {
		_, err := f.WriteAt([]byte("x"), off)
		do(err)
	}
	do(f.Truncate(64<<20+3), f.Close(), os.WriteFile(at("all/su"), []byte("#!"), 0o755))
	err = filepath.WalkDir(at("all"), func(p string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(p, base+1000, base+70))
	})
	do(err, os.Chmod(at("all/su"), os.ModeSetuid|os.ModeSetgid|0o755), os.Lchown(at("all/deep/link"), base+7, base+8))
	d, err := file.OpenDir(at("all"))
	do(err)
	defer d.Close()
	set := func(name, attr string, value []byte) {
		e, err := d.Entry(name)
		do(err)
		do(e.SetXattr(attr, value), e.Close())
	}
	set("f", "user.k", []byte("v\x00w"))
	set("opaque", "trusted.overlay.opaque", []byte("y"))
	set("opaque", "user.overlay.opaque", []byte("y"))
	capability := append(binary.LittleEndian.AppendUint32(nil, 0x03000001), make([]byte, 20)...)
	binary.LittleEndian.PutUint32(capability[4:], 1<<10)
	binary.LittleEndian.PutUint32(capability[20:], uint32(base))
	set("su", "security.capability", capability)
	acl := binary.LittleEndian.AppendUint32(nil, 2)
	for _, entry := range [][3]uint32{{1, 6, ^uint32(0)}, {2, 4, uint32(base) + 33}, {4, 4, ^uint32(0)}, {16, 6, ^uint32(0)}, {32, 0, ^uint32(0)}} {
		acl = binary.LittleEndian.AppendUint16(acl, uint16(entry[0]))
		acl = binary.LittleEndian.AppendUint16(acl, uint16(entry[1]))
		acl = binary.LittleEndian.AppendUint32(acl, entry[2])
	}
	set("f", "system.posix_acl_access", acl)
	for i, name := range []string{"f", "deep", "gone", "pipe", "sparse", "socket"} {
		do(d.SetTimes(name, 1, int64(i)*1e18+123_456_789))
	}
	do(d.SetTimes("su", 1, -86_400_000_000_001)) // the day before 1970
}
