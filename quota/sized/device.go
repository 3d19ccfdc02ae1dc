package sized

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"vserver/fault"
	"vserver/guest"
	"vserver/kernel/mount"
)

// Take makes the file system of a guest, whose directory this is, on a block device of the
// host's that nobody uses and on which nothing is.
func Take(ctx context.Context, dir, device string, inodes guest.Count) error {
	if err := vacant(ctx, device); err != nil {
		return err
	}
	err := format(ctx, device, inodes, func() error {
		fd, err := mount.Disk(kind, device, mount.NoDev)
		if err == nil {
			err = syscall.Close(fd)
		}
		return err
	})
	if err != nil {
		return err
	}
	return os.Symlink(device, whole(dir))
}

// vacant refuses what is no block device, or somebody's.
func vacant(ctx context.Context, device string) error {
	f, err := os.OpenFile(device, os.O_RDONLY|syscall.O_EXCL|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.EBUSY) {
		return fmt.Errorf("root.device: %s: is mounted, or part of another device: %w", device, guest.ErrBusy)
	}
	if err != nil {
		return fmt.Errorf("root.device: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("root.device: %w", err)
	}
	if info.Mode().Type() != fs.ModeDevice {
		return fmt.Errorf("root.device: %s: no block device: %w", device, guest.ErrInvalid)
	}
	if size, err := f.Seek(0, io.SeekEnd); err != nil || size < Least {
		return errors.Join(err, fmt.Errorf("root.device: %s: has %v, and %v are the least: %w", device, guest.Bytes(size), guest.Bytes(Least), guest.ErrInvalid))
	}
	const nothing = 2 // exit code of blkid(8) -p that finds nothing that it knows
	out, err := exec.CommandContext(ctx, "blkid", "-p", "-o", "export", device).Output()
	var x *exec.ExitError
	switch {
	case errors.As(err, &x) && x.ExitCode() == nothing && len(out) == 0:
		return nil
	case errors.Is(err, exec.ErrNotFound):
		return fault.Hint(fmt.Errorf("root.device: blkid tells whether %s is free: %w", device, err), "`apt-get install util-linux`")
	}
	return fault.Hint(fmt.Errorf("root.device: %s: has something on it already (%s): %w", device, found(string(out)), guest.ErrExists),
		"`wipefs -a "+device+"`, if nobody wants that any more")
}

// found is what blkid says, in some words.
func found(said string) string {
	for line := range strings.Lines(said) {
		if kind, ok := strings.CutPrefix(strings.TrimSpace(line), "TYPE="); ok {
			return kind
		}
	}
	for line := range strings.Lines(said) {
		if kind, ok := strings.CutPrefix(strings.TrimSpace(line), "PTTYPE="); ok {
			return "partitions, " + kind
		}
	}
	return "more than one kind"
}

// Device is the block device that a guest whose directory this is has its files on; "" for
// none.
func Device(dir string) (string, error) {
	to, err := os.Readlink(whole(dir))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EINVAL) { // no link
		return "", nil
	}
	return to, err
}

// absent says of an image that cannot be opened that it is a device that is not there, if
// it is one.
func absent(path string, err error) error {
	to, lerr := os.Readlink(path)
	if lerr != nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return fault.Hint(fmt.Errorf("root.device: %s: there is no such device: %w", to, errGone), "`vgchange -ay` brings volumes of LVM")
}

var errGone = errors.New("gone")

// openDevice is open for a device, which is open already.
func openDevice(path string, image *os.File) (*Disk, error) {
	name, err := os.Readlink(path)
	if err != nil {
		image.Close()
		return nil, err
	}
	dev, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		image.Close()
		return nil, err
	}
	return mounted(path, &Disk{image: image, dev: dev, device: true})
}
