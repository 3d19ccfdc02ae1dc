package mount

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"vserver/kernel/ns"
)

// Overlay makes an overlay of the trees behind the detached mounts lower, topmost
// first, below the directories upper and work. Directories are given by descriptor,
// so that no path needs quoting and none can be swapped meanwhile.
func Overlay(lower []int, upper, work *os.File) (fd int, err error) {
	if takesDetached() {
		if fd, err = overlay(procFDs(lower), upper, work); !errors.Is(err, unix.EINVAL) {
			return fd, err
		}
	}
	return attached(lower, upper, work)
}

// takesDetached tells whether this kernel may take detached mounts as layers, as those from
// 6.15 on do. The others refuse them as well, but with a complaint in their log each time.
func takesDetached() bool {
	var u unix.Utsname
	var major, minor int
	if err := unix.Uname(&u); err == nil {
		_, err = fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor)
		return err != nil || major > 6 || major == 6 && minor >= 15
	}
	return true
}

// OverlayIn is Overlay with upper and work below the root of the detached mount own, which
// it may use up. Without work nobody writes: upper is the topmost of the lower layers.
func OverlayIn(lower []int, own int, upper, work string) (fd int, err error) {
	if takesDetached() {
		if fd, err = overlayAt(procFDs(lower), procFD(own), upper, work); !errors.Is(err, unix.EINVAL) {
			return fd, err
		}
	}
	err = ns.Apart(unix.CLONE_NEWNS, func() error {
		layers, err := attachHere(append(slices.Clone(lower), own))
		if err == nil {
			fd, err = overlayAt(layers[:len(lower)], layers[len(lower)], upper, work)
		}
		return err
	})
	return fd, err
}

// overlayAt makes an overlay of layers and what is in the directory own.
func overlayAt(layers []string, own, upper, work string) (int, error) {
	if work == "" {
		return New("overlay", 0, below(append([]string{filepath.Join(own, upper)}, layers...))...)
	}
	up, err := os.Open(filepath.Join(own, upper))
	if err != nil {
		return -1, err
	}
	defer up.Close()
	down, err := os.Open(filepath.Join(own, work))
	if err != nil {
		return -1, err
	}
	defer down.Close()
	return overlay(layers, up, down)
}

// attached is Overlay for kernels before 6.15, which refuse a detached mount as a
// layer: the layers are attached in a mount namespace that only a thread of ours is
// in, and that ends with it. All directories must be in mounts of that namespace, so
// upper and work are opened there anew, by their names.
func attached(lower []int, upper, work *os.File) (fd int, err error) {
	err = ns.Apart(unix.CLONE_NEWNS, func() error {
		layers, err := attachHere(lower)
		if err == nil {
			fd, err = overlayAt(layers, "", upper.Name(), work.Name())
		}
		return err
	})
	return fd, err
}

// attachHere attaches mounts in this thread's mount namespace, and tells where: by names of
// a letter or two in what is the thread's working directory then, since the kernels that
// this is for take no more than some hundred bytes of them (below).
func attachHere(mounts []int) ([]string, error) {
	const at = "/sys" // is on every host, and of no use to this thread
	if err := unix.Mount("vserver", at, "tmpfs", 0, ""); err != nil {
		return nil, fmt.Errorf("mount %s: %w", at, err)
	}
	if err := unix.Chdir(at); err != nil {
		return nil, fmt.Errorf("change to %s: %w", at, err)
	}
	paths := make([]string, len(mounts))
	for i, m := range mounts {
		paths[i] = short(i)
		if err := os.Mkdir(paths[i], 0o700); err != nil {
			return nil, err
		}
		if err := Attach(m, paths[i]); err != nil {
			return nil, err
		}
	}
	return paths, nil
}

func overlay(layers []string, upper, work *os.File) (int, error) {
	fd, err := New("overlay", 0, append(below(layers),
		"upperdir="+procFD(int(upper.Fd())),
		"workdir="+procFD(int(work.Fd())),
		// What a layer holds must be all there is to know of it: it is read without being
		// mounted as well, and moved beneath other guests. Some distributions' kernels would
		// leave notes about other layers in it.
		"redirect_dir=off", "metacopy=off",
	)...)
	var st unix.Statfs_t
	if errors.Is(err, unix.EINVAL) && unix.Fstatfs(int(upper.Fd()), &st) == nil && st.Flags&unix.ST_RDONLY != 0 {
		err = fmt.Errorf("write in %s: %w", upper.Name(), unix.EROFS)
	}
	return fd, err
}

// below gives the options that name the lower layers, topmost first. One option has at most
// 255 bytes (fsconfig(2)); kernels from 6.7 on take the layers one by one as well, which is
// a call each.
func below(layers []string) []string {
	const longest = 255
	if all := strings.Join(layers, ":"); len(all) <= longest {
		return []string{"lowerdir=" + all}
	}
	out := make([]string, len(layers))
	for i, l := range layers {
		out[i] = "lowerdir+=" + l
	}
	return out
}

// short is a name for the i-th of many files: the first 62 have one letter.
func short(i int) string {
	const letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	if i < len(letters) {
		return letters[i : i+1]
	}
	return short(i/len(letters)-1) + short(i%len(letters))
}

func procFDs(fds []int) []string {
	out := make([]string, len(fds))
	for i, fd := range fds {
		out[i] = procFD(fd)
	}
	return out
}

// UpperInUse tells whether an overlay that still exists, be it by nothing but a descriptor
// that somebody holds, writes to the directory upper. The kernel is asked for one more
// overlay that it would refuse for that reason (index=on makes it one), and that it refuses
// for another after that: the work directory is on another mount.
func UpperInUse(upper *os.File) (bool, error) {
	at := procFD(int(upper.Fd()))
	fs, err := open("overlay", []string{"index=on", "lowerdir=/", "upperdir=" + at, "workdir=/proc"})
	switch {
	case err == nil:
		unix.Close(fs)
		return false, fmt.Errorf("overlay of %s: a work directory elsewhere was taken", upper.Name())
	case errors.Is(err, unix.EBUSY):
		return true, nil
	case errors.Is(err, unix.EINVAL):
		return false, nil
	}
	return false, err
}

// AttachTo attaches a detached mount at an open directory or file.
func AttachTo(fd int, at *os.File) error {
	err := unix.MoveMount(fd, "", int(at.Fd()), "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	if err != nil {
		return fmt.Errorf("mount %s: %w", at.Name(), err)
	}
	return nil
}

// There gives the mount at path as it is, to be attached elsewhere instead.
func There(path string) (fd int, err error) {
	if fd, err = unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLOEXEC); err != nil {
		return -1, fmt.Errorf("mount %s: %w", path, err)
	}
	return fd, nil
}
