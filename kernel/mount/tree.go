package mount

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"vserver/kernel/ns"
)

// ID is the number of a mount, by a descriptor of it, as /proc/self/mountinfo has it.
func ID(fd int) (uint64, error) {
	var x unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &x); err != nil {
		return 0, fmt.Errorf("number of a mount: %w", err)
	}
	return x.Mnt_id, nil
}

// Top gives the number of the mount that a path leads into, and whether the path is its
// root: something is mounted there.
func Top(path string) (id uint64, root bool, err error) {
	var x unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_MNT_ID, &x); err != nil {
		return 0, false, fmt.Errorf("statx %s: %w", path, err)
	}
	return x.Mnt_id, x.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, nil
}

// place is a mount of this mount namespace.
type place struct {
	id   uint64
	path string
}

// mountsAt gives the mounts at a path, or below it, in the order in which they were
// attached.
func mountsAt(path string, below bool) ([]place, error) { return mountsOf("self", path, below) }

// mountsOf is mountsAt for the mount namespace of a process.
func mountsOf(process, path string, below bool) (out []place, err error) {
	text, err := os.ReadFile("/proc/" + process + "/mountinfo")
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, "\\")
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 5 {
			continue
		}
		id, _ := strconv.ParseUint(f[0], 10, 64)
		at := unescape.Replace(f[4])
		if !below && at == path || below && strings.HasPrefix(at, path+"/") {
			out = append(out, place{id, at})
		}
	}
	return out, err
}

// At tells whether the mount with that number is at path.
func At(path string, id uint64) (bool, error) {
	list, err := mountsAt(path, false)
	return hasID(list, id), err
}

// Elsewhere gives a process in whose mount namespace the mount with that number is at path,
// if that is not ours; else 0. Mounts of all namespaces are numbered together.
func Elsewhere(path string, id uint64) (process int, err error) {
	all, err := os.ReadDir("/proc")
	if err != nil {
		return 0, err
	}
	own, err := os.Readlink("/proc/self/ns/mnt")
	seen := map[string]bool{own: true}
	for _, p := range all {
		pid, nerr := strconv.Atoi(p.Name())
		if nerr != nil {
			continue
		}
		ns, nerr := os.Readlink("/proc/" + p.Name() + "/ns/mnt")
		if nerr != nil || seen[ns] {
			continue // a process that has ended
		}
		list, nerr := mountsOf(p.Name(), path, false)
		if seen[ns] = nerr == nil; hasID(list, id) {
			return pid, nil
		}
	}
	return 0, err
}

func hasID(list []place, id uint64) bool {
	return slices.ContainsFunc(list, func(m place) bool { return m.id == id })
}

// Below is a detached mount for a place in another.
type Below struct {
	FD   int
	Path string // with the other as its root
}

// Tree joins detached mounts into one, which has its own clones of them: below are attached
// in root, in their order.
func Tree(root int, below []Below) (fd int, err error) {
	err = ns.Apart(unix.CLONE_NEWNS, func() error {
		const at = "/sys" // is on every host, and of no use to this thread
		if err := Attach(root, at); err != nil {
			return err
		}
		for _, b := range below {
			how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
			place, err := unix.Openat2(root, b.Path, how)
			if err != nil {
				return fmt.Errorf("open %s: %w", b.Path, err)
			}
			there := os.NewFile(uintptr(place), b.Path)
			err = AttachTo(b.FD, there)
			there.Close()
			if err != nil {
				return err
			}
		}
		fd, err = CloneAll(at)
		return err
	})
	return fd, err
}

// Detach takes away what is mounted at path, with all that is mounted below; the error is
// EBUSY while somebody uses any of it.
func Detach(path string) error {
	list, err := mountsAt(path, true)
	if err != nil {
		return err
	}
	for _, m := range slices.Backward(append([]place{{path: path}}, list...)) {
		if err := unix.Unmount(m.path, unix.UMOUNT_NOFOLLOW); err != nil {
			return fmt.Errorf("unmount %s: %w", m.path, err)
		}
	}
	return nil
}
