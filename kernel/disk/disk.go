// Package disk is the kernel's block devices as far as limits name them: which disk is
// behind a path, which disks there are, and which of them weigh requests.
package disk

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"vserver/guest"
)

// blocks are the directories of sysfs with all block devices by number, and all disks
// by name.
const (
	byNumber = "/sys/dev/block"
	byName   = "/sys/block"
)

// Number gives the number "MAJOR:MINOR" of the disk that the block device at path is, or
// is a partition of: cgroups bound whole disks alone. A path /dev/block/MAJOR:MINOR, as udev
// has them, is the number itself, be it there or not.
func Number(path string) (string, error) {
	if number, ok := strings.CutPrefix(path, "/dev/block/"); ok {
		return whole(number)
	}
	var st unix.Stat_t
	var err error
	for err = unix.EINTR; err == unix.EINTR; {
		err = unix.Stat(path, &st)
	}
	if err != nil {
		return "", &os.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return "", fmt.Errorf("%s: is no block device: %w", path, guest.ErrInvalid)
	}
	dev := uint64(st.Rdev)
	return whole(fmt.Sprintf("%d:%d", unix.Major(dev), unix.Minor(dev)))
}

// whole gives the number of the disk that a number is of.
func whole(number string) (string, error) {
	dir, err := filepath.EvalSymlinks(filepath.Join(byNumber, number))
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(filepath.Join(dir, "partition")); err != nil {
		return number, nil
	}
	return text(filepath.Join(filepath.Dir(dir), "dev"))
}

// All gives the numbers of the disks that keep something: not memory that looks like a
// disk, nor loop devices, whose files are on one.
func All() ([]string, error) {
	list, err := os.ReadDir(byName)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, e := range list {
		name := e.Name()
		if slices.ContainsFunc([]string{"loop", "ram", "zram"}, func(kind string) bool { return strings.HasPrefix(name, kind) }) {
			continue
		}
		number, err := text(filepath.Join(byName, name, "dev"))
		if err != nil {
			return nil, err
		}
		all = append(all, number)
	}
	return all, nil
}

// Scheduler tells whether some disk has the scheduler of that name at work.
func Scheduler(name string) bool {
	files, _ := filepath.Glob(byName + "/*/queue/scheduler") // the pattern is right
	return slices.ContainsFunc(files, func(file string) bool {
		words, err := text(file)
		return err == nil && strings.Contains(words, "["+name+"]")
	})
}

func text(file string) (string, error) {
	b, err := os.ReadFile(file)
	return strings.TrimSpace(string(b)), err
}
