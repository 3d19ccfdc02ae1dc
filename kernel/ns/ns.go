// Package ns is the kernel's namespaces as files of /proc.
package ns

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Open opens a namespace of process pid: "user", "net" and so on as in /proc/PID/ns.
func Open(pid int, kind string) (*os.File, error) {
	return os.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
}

// Named opens a network namespace of the host's by the name that ip-netns(8) has for it.
func Named(name string) (*os.File, error) { return os.Open(filepath.Join("/run/netns", name)) }

// MapIDs writes the id maps of the user namespace that process pid is in.
func MapIDs(pid int, text string) error {
	for _, f := range []string{"uid_map", "gid_map"} {
		if err := Write(pid, f, text); err != nil {
			return err
		}
	}
	return nil
}

// Write writes text to a file of process pid in /proc in one write.
func Write(pid int, file, text string) error {
	path := fmt.Sprintf("/proc/%d/%s", pid, file)
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, []byte(text)); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// Parent opens the user namespace that a user namespace lies in.
func Parent(userns *os.File) (*os.File, error) {
	fd, err := unix.IoctlRetInt(int(userns.Fd()), unix.NS_GET_PARENT)
	if err != nil {
		return nil, fmt.Errorf("namespace above %s: %w", userns.Name(), err)
	}
	return os.NewFile(uintptr(fd), "above "+userns.Name()), nil
}

// Outermost opens the user namespace right below our own that process pid is in, however
// deep: its own, when it lies there. The error is EPERM for a process of our own.
func Outermost(pid int) (*os.File, error) {
	ours, err := os.Stat("/proc/self/ns/user")
	if err != nil {
		return nil, err
	}
	at, err := Open(pid, "user")
	for err == nil {
		var above *os.File
		if above, err = Parent(at); err != nil {
			break
		}
		var found os.FileInfo
		if found, err = above.Stat(); err == nil && os.SameFile(found, ours) {
			above.Close()
			return at, nil
		}
		at.Close()
		at = above
	}
	if at != nil {
		at.Close()
	}
	return nil, err
}
