// Package cgroup is the kernel's control groups as far as guests need them: finding
// the hierarchies, making and removing groups, asking who is in one, freezing and
// killing what is.
//
// A guest is a group of the cgroup v2 hierarchy, on pure v2 hosts and on hybrid ones,
// where that hierarchy has no controllers but every core feature. The v1 hierarchies
// of a hybrid host are of interest to limits only, and are looked up only for them
// (Host.Legacy).
//
// Files are opened relative to the descriptor of a directory that is known to be on
// a cgroup file system, and never with O_CREAT: on a hybrid host /sys/fs/cgroup is a
// tmpfs, where a write to a mistyped file would succeed as an ordinary file.
//
// 2025-11: written by hand rather than with containerd/cgroups or
// opencontainers/cgroups. Both bring dbus, logrus and an eBPF loader into every start
// of the tool, write cgroup.procs (6 to 12 ms when idle) and know no
// CLONE_INTO_CGROUP; what is left of v1 for us is a mkdir and three files.
package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"vserver/fault"
	"vserver/guest"
)

// Hierarchy is one mounted tree of control groups.
type Hierarchy struct {
	// Mount is where it is mounted.
	Mount string
	// Controllers are those of a v1 hierarchy, by the mount's options. It is empty for
	// v2, whose controllers are in the file cgroup.controllers of each group.
	Controllers []string
	// V2 tells the unified hierarchy from the older ones.
	V2 bool

	options []string // of v2, when the mount table was read
}

// Host is where the hierarchies of this host are. It holds no descriptor and may be
// kept and copied.
type Host struct {
	// Unified is the cgroup v2 hierarchy, in which guests live.
	Unified Hierarchy
}

// usual are the places where the v2 hierarchy is mounted on nearly every host: pure
// v2, and hybrid as systemd and the mount scripts of others have it.
func usual() [2]string { return [2]string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} }

// Find looks for the cgroup v2 hierarchy. It asks at the usual places first (two
// system calls), then the mount table. The error is guest.ErrUnsupported when none is
// mounted.
func Find() (Host, error) {
	for _, dir := range usual() {
		if magic(dir) == unix.CGROUP2_SUPER_MAGIC {
			return Host{Hierarchy{Mount: dir, V2: true}}, nil
		}
	}
	all, err := mounted()
	if err != nil {
		return Host{}, err
	}
	for _, m := range all {
		if m.V2 && magic(m.Mount) == unix.CGROUP2_SUPER_MAGIC {
			return Host{m}, nil
		}
	}
	return Host{}, fault.Hint(fmt.Errorf("cgroup v2 hierarchy: not mounted: %w", guest.ErrUnsupported),
		"mount -t cgroup2 cgroup2 /sys/fs/cgroup")
}

// Legacy gives the v1 hierarchies of a hybrid host that have the named controllers, in
// their order. A controller that is with v2, or nowhere, is left out.
//
// It looks where nearly every hybrid host has them, /sys/fs/cgroup/NAME. The mount
// table, which is long on a busy host, is read only for one that is neither there nor
// with v2.
func (h Host) Legacy(controllers ...string) ([]Hierarchy, error) {
	var found []Hierarchy
	var missing []string
	for _, c := range controllers {
		dir := filepath.Join("/sys/fs/cgroup", c)
		if magic(dir) == unix.CGROUP_SUPER_MAGIC {
			found = append(found, Hierarchy{Mount: dir, Controllers: []string{c}})
		} else {
			missing = append(missing, c)
		}
	}
	if len(missing) == 0 {
		return found, nil
	}
	v2, err := h.Controllers()
	if err != nil {
		return nil, err
	}
	missing = slices.DeleteFunc(missing, func(c string) bool { return slices.Contains(v2, c) })
	if len(missing) == 0 {
		return found, nil
	}
	all, err := mounted()
	if err != nil {
		return nil, err
	}
	for _, m := range all {
		some := slices.ContainsFunc(m.Controllers, func(c string) bool { return slices.Contains(missing, c) })
		if some && magic(m.Mount) == unix.CGROUP_SUPER_MAGIC {
			found = append(found, m)
		}
	}
	return found, nil
}

// Options gives the options that the v2 hierarchy is mounted with (cgroups-v2, Mount options),
// by the mount table.
func (h Host) Options() ([]string, error) {
	all, err := mounted()
	if err != nil {
		return nil, err
	}
	for _, m := range all {
		if m.V2 && m.Mount == h.Unified.Mount {
			return m.options, nil
		}
	}
	return nil, fmt.Errorf("%s: not in the mount table", h.Unified.Mount)
}

// Create makes the group at path below the v2 mount, parents included, and opens it.
// A group that is there already is opened.
func (h Host) Create(path string) (*Group, error) { return h.Unified.Create(path) }

// Open opens the group at path below the v2 mount. The error is fs.ErrNotExist when
// there is none.
func (h Host) Open(path string) (*Group, error) { return h.Unified.Open(path) }

// Remove removes the group at path with all below it, as Hierarchy.Remove.
func (h Host) Remove(path string) error { return h.Unified.Remove(path) }

// Create makes the group at path, parents included, and opens it. A group that is
// there already is opened. Nobody else lists the parents that it makes in a hierarchy of
// v1: a guest that is in no group there may mount all of it. The kernel passes them for a
// guest that mounts its own.
func (m Hierarchy) Create(path string) (*Group, error) {
	root, err := m.root(path)
	if err != nil {
		return nil, err
	}
	defer unix.Close(root)
	above := uint32(0o755)
	if !m.V2 {
		above = 0o711
	}
	err = mkdirAll(root, path, 0o755, above)
	if err != nil {
		return nil, &fs.PathError{Op: "mkdir", Path: filepath.Join(m.Mount, path), Err: err}
	}
	return m.openAt(root, path)
}

// Open opens the group at path. The error is fs.ErrNotExist when there is none.
func (m Hierarchy) Open(path string) (*Group, error) {
	root, err := m.root(path)
	if err != nil {
		return nil, err
	}
	defer unix.Close(root)
	return m.openAt(root, path)
}

// Root is an open hierarchy, for those who open many groups of it.
type Root struct {
	fd int
	of Hierarchy
}

// Hold opens the hierarchy.
func (m Hierarchy) Hold() (Root, error) {
	fd, err := m.root(".")
	return Root{fd, m}, err
}

// Close gives the descriptor back.
func (r Root) Close() error { return unix.Close(r.fd) }

// Open opens the group at path. The error is fs.ErrNotExist when there is none.
func (r Root) Open(path string) (*Group, error) {
	if !filepath.IsLocal(path) {
		return nil, &fs.PathError{Op: "cgroup", Path: path, Err: guest.ErrInvalid}
	}
	return r.of.openAt(r.fd, path)
}

// Mounted tells whether it is where it says.
func (m Hierarchy) Mounted() bool { return magic(m.Mount) == m.magic() }

// root opens the mount point, when it is what it should be and path stays below it.
func (m Hierarchy) root(path string) (int, error) {
	if !filepath.IsLocal(path) {
		return -1, &fs.PathError{Op: "cgroup", Path: path, Err: guest.ErrInvalid}
	}
	fd, err := openat(unix.AT_FDCWD, m.Mount, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return -1, &fs.PathError{Op: "open", Path: m.Mount, Err: err}
	}
	var st unix.Statfs_t
	err = retry(func() error { return unix.Fstatfs(fd, &st) })
	if err == nil && int64(st.Type) != m.magic() {
		err = errors.New("is no cgroup hierarchy")
	}
	if err != nil {
		unix.Close(fd)
		return -1, &fs.PathError{Op: "cgroup", Path: m.Mount, Err: err}
	}
	return fd, nil
}

func (m Hierarchy) magic() int64 {
	if m.V2 {
		return unix.CGROUP2_SUPER_MAGIC
	}
	return unix.CGROUP_SUPER_MAGIC
}

// openAt opens the group, refusing to leave the file system of root.
func (m Hierarchy) openAt(root int, path string) (*Group, error) {
	fd, err := below(root, path, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: filepath.Join(m.Mount, path), Err: err}
	}
	return &Group{fd: fd, path: filepath.Join(m.Mount, path), rel: path, tree: m}, nil
}

// below opens what is below a directory of the same file system, by no link.
func below(dir int, path string, flags uint64) (fd int, err error) {
	how := unix.OpenHow{
		Flags:   flags | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV,
	}
	err = retry(func() (err error) {
		fd, err = unix.Openat2(dir, path, &how)
		return err
	})
	return fd, err
}

// mkdirAll makes path below the directory fd. The common case, in which the parent
// exists, is one system call.
func mkdirAll(fd int, path string, mode, above uint32) error {
	err := mkdir(fd, path, mode)
	// Again when the parent is gone once more: another process prunes it.
	for range 100 {
		if err != unix.ENOENT || filepath.Dir(path) == "." {
			break
		}
		if err = mkdirAll(fd, filepath.Dir(path), above, above); err != nil {
			return err
		}
		err = mkdir(fd, path, mode)
	}
	if err == unix.EEXIST {
		return nil
	}
	return err
}

// mkdir makes a directory of that mode, whatever the caller's file mode mask: a guest mounts
// its group.
func mkdir(fd int, path string, mode uint32) error {
	err := retry(func() error { return unix.Mkdirat(fd, path, mode) })
	if err == nil {
		err = retry(func() error { return unix.Fchmodat(fd, path, mode, 0) })
	}
	return err
}

// mounted reads the hierarchies from the mount table.
func mounted() ([]Hierarchy, error) {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	return parseMounts(bytes.NewReader(table))
}

// magic gives the type of the file system at path, 0 when it cannot be asked.
func magic(path string) int64 {
	var st unix.Statfs_t
	if retry(func() error { return unix.Statfs(path, &st) }) != nil {
		return 0
	}
	return int64(st.Type) // 32 bits on arm
}

func openat(dir int, name string, flags int) (fd int, err error) {
	err = retry(func() error {
		fd, err = unix.Openat(dir, name, flags|unix.O_CLOEXEC, 0)
		return err
	})
	return fd, err
}

// retry calls f again as long as a signal interrupts it.
func retry(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}
