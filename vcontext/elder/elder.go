// Package elder is what systems of long ago need of a guest and its host.
//
// A systemd of before version 231 knows nothing of cgroup v2 and needs a group of its own
// in the v1 hierarchy that is called systemd and has no controllers. A hybrid host has that
// hierarchy; on one with v2 alone it is mounted for such guests, and taken away with the
// last of them.
//
// Nothing in the kernel bounds how many groups are made in a v1 hierarchy, and part of
// their memory is charged to nobody. So a guest has one only if its spec asks for it
// (rights.cgroup1).
package elder

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"vserver/guest"
	"vserver/kernel/cgroup"
	"vserver/kernel/mount"
	"vserver/layer"
)

// unified is the first version of systemd that runs on cgroup v2 as kernels have it.
const unified = 231

// most is how much of a program is looked into: the largest of those systemds has 2 MB.
const most = 8 << 20

// usual is where a hybrid host has the hierarchy.
const usual = "/sys/fs/cgroup/systemd"

// Options are those by which the hierarchy is mounted, be it there or not.
func Options() []string { return []string{"none", "name=systemd"} }

// Version gives the version of a guest's init if that is a systemd which knows no cgroup
// v2, and else 0.
func Version(root *layer.Root) (int, error) {
	for _, init := range []string{"sbin/init", "usr/sbin/init"} {
		to, err := root.Readlink(init)
		if err != nil || path.Base(to) != "systemd" {
			continue
		}
		for _, name := range []string{"lib/systemd/systemd", "usr/lib/systemd/systemd"} {
			program, err := root.Read(name, most)
			if err == nil {
				return versionIn(program), nil
			}
			if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, layer.ErrOdd) {
				return 0, err
			}
		}
	}
	return 0, nil
}

// versionIn finds the version that a systemd tells when it starts, if it is old enough.
// Later ones have it in a library.
func versionIn(program []byte) int {
	found := regexp.MustCompile(`\x00systemd (\d{2,3})[\x00\n ]`).FindSubmatch(program)
	if found == nil {
		return 0
	}
	if n, err := strconv.Atoi(string(found[1])); err == nil && n < unified {
		return n
	}
	return 0
}

// Library gives the version of a guest's C library if that asks for the time in a page that
// this kernel does not have, and else "". Its programs end at once.
func Library(root *layer.Root) string {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil || runtime.GOARCH != "amd64" || strings.Contains(string(maps), "[vsyscall]") {
		return ""
	}
	for _, dir := range []string{"lib", "lib64"} {
		names, err := root.Names(dir)
		if err != nil {
			continue
		}
		for _, n := range names {
			if version := libraryIn(n); version != "" {
				return version
			}
		}
	}
	return ""
}

// libraryIn is the version in the name of such a library: before 2.14.
func libraryIn(name string) string {
	minor, ok := strings.CutPrefix(strings.TrimSuffix(name, ".so"), "libc-2.")
	major, _, _ := strings.Cut(minor, ".")
	if n, err := strconv.Atoi(major); !ok || err != nil || n >= 14 {
		return ""
	}
	return "2." + minor
}

// tree gives the hierarchy, if it is where Join has it.
func tree(d guest.Dirs) (cgroup.Hierarchy, bool) {
	for _, at := range []string{usual, d.Cgroup1()} {
		if h := (cgroup.Hierarchy{Mount: at}); h.Mounted() {
			return h, true
		}
	}
	return cgroup.Hierarchy{}, false
}

// Join makes a guest's group and gives a descriptor of the file by which a process gets
// into it that writes "0" there. The group is that of the user base.
func Join(d guest.Dirs, n guest.Name, base uint32) (tasks int, err error) {
	for range 3 { // another guest that ends may take the mount away
		h, ok := tree(d)
		if !ok {
			if err := mountAt(d.Cgroup1()); err != nil {
				return -1, err
			}
			continue
		}
		g, err := h.Create(d.Group(n))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return -1, err
		}
		defer g.Close()
		if err := g.Delegate(base, base); err != nil {
			return -1, err
		}
		return g.Tasks()
	}
	return -1, fmt.Errorf("%s: %w", d.Cgroup1(), guest.ErrBusy)
}

func mountAt(dir string) error {
	fd, err := mount.New("cgroup", mount.NoSuid|mount.NoDev|mount.NoExec, append(Options(), "xattr")...)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return mount.Attach(fd, dir)
}

// Tasks are the files that take a process into a guest's group which writes "0" to them.
func Tasks(d guest.Dirs, n guest.Name) []string {
	h, ok := tree(d)
	if !ok {
		return nil
	}
	return []string{filepath.Join(h.Mount, d.Group(n), "tasks")}
}

// Remove removes a guest's group, if there is one, and the mount if nobody needs it.
func Remove(d guest.Dirs, n guest.Name) error {
	h, ok := tree(d)
	if !ok {
		return nil
	}
	if _, err := os.Lstat(filepath.Join(h.Mount, d.Group(n))); errors.Is(err, fs.ErrNotExist) {
		return nil // as nearly always
	}
	if err := h.Remove(d.Group(n)); err != nil {
		return err
	}
	if err := h.Prune(d.Cgroup); err != nil || h.Mount == usual {
		return err
	}
	if _, err := os.Lstat(filepath.Join(h.Mount, d.Cgroup)); err == nil {
		return nil // of others
	}
	if err := mount.Detach(h.Mount); !errors.Is(err, syscall.EBUSY) { // else another begins
		return err
	}
	return nil
}
