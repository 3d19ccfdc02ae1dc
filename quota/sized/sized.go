// Package sized keeps a guest's own files in a disk image, where the host's file system
// counts nobody's: a sparse file with an ext4 of the size that the guest may use.
//
//	DATA/guests/NAME/disk.img    with upper, work and shared/DIR/{upper,work}
//
// The image is mounted nowhere in the host's tree. Whoever wants the files mounts it
// detached (kernel/mount), and reaches them by a descriptor of that; the loop device goes
// with the last mount of it (kernel/loop). So a start has nothing to undo, and who is
// killed, at whatever step, leaves neither mount nor device.
//
// In the place of the file there may be a symbolic link to a block device of the host's
// (root.device), which is all the guest's then: no loop device is needed for it.
//
// A guest writes files, never the image: only mkfs and the kernel do. So the kernel reads
// no file system that somebody hostile made, and after a loss of power the journal is
// played back by the mount, as for the host's own.
package sized

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"vserver/fault"
	"vserver/guest"
	"vserver/kernel/file"
	"vserver/kernel/loop"
	"vserver/kernel/mount"
)

const kind = "ext4"

// whole and making are the image in a guest's directory, and one that is not whole yet.
func whole(dir string) string  { return filepath.Join(dir, "disk.img") }
func making(dir string) string { return filepath.Join(dir, ".disk.img") }

// Least is the smallest image: with less, the journal leaves nothing.
const Least = 16 << 20

// There tells whether the guest whose directory this is has an image.
func There(dir string) (bool, error) { return file.Exists(whole(dir)) }

// Make makes the image of a guest, into which fill, when not nil, puts something. It is
// there when all of it is. inodes may be 0, for as many as mkfs thinks right.
func Make(ctx context.Context, dir string, space guest.Bytes, inodes guest.Count, fill func(at string) error) (err error) {
	if space < Least {
		return fmt.Errorf("limits.disk: %v: an image has %v at least: %w", space, guest.Bytes(Least), guest.ErrInvalid)
	}
	path := making(dir)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(path))
		}
	}()
	if err = f.Truncate(int64(space)); err != nil {
		return err
	}
	if err = format(ctx, path, inodes, func() error { return filled(path, func(string) error { return nil }) }); err != nil {
		return err
	}
	if fill != nil {
		if err = filled(path, fill); err != nil {
			return err
		}
	}
	if err = f.Sync(); err != nil {
		return err
	}
	return os.Rename(path, whole(dir))
}

func filled(path string, fill func(at string) error) error {
	d, err := open(path)
	if err != nil {
		return err
	}
	err = fill(d.Path())
	return errors.Join(err, d.sync(), d.Close())
}

// Disk is a mounted image.
type Disk struct {
	image, dev, root *os.File
	device           bool // image is a block device of the host's, and no file
	quotas           bool // of users and groups are in it
}

// Open mounts the image of the guest whose directory this is. The error is
// fs.ErrNotExist when it has none.
func Open(dir string) (*Disk, error) { return open(whole(dir)) }

func open(path string) (*Disk, error) {
	image, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, absent(path, err)
	}
	if info, err := image.Stat(); err != nil || info.Mode()&fs.ModeDevice != 0 {
		if err != nil {
			image.Close()
			return nil, err
		}
		return openDevice(path, image)
	}
	// Of two that come at once each would make a device, and two devices of one file are
	// two file systems that write over each other.
	if err = syscall.Flock(int(image.Fd()), syscall.LOCK_EX); err != nil {
		image.Close()
		return nil, &os.PathError{Op: "lock", Path: path, Err: err}
	}
	defer syscall.Flock(int(image.Fd()), syscall.LOCK_UN)
	dev, err := loop.Attach(image)
	if err != nil {
		image.Close()
		return nil, noLoop(err)
	}
	return mounted(path, &Disk{image: image, dev: dev})
}

// mounted mounts the image, or closes it.
func mounted(path string, d *Disk) (*Disk, error) {
	var err error
	if d.quotas, err = hasQuotas(d.image); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	fd, err := d.Mount()
	if err != nil {
		return nil, errors.Join(d.lacking(path, err), d.Close())
	}
	d.root = os.NewFile(uintptr(fd), path)
	return d, nil
}

func noLoop(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fault.Hint(fmt.Errorf("limits.disk: an image needs loop devices: %w", errors.Join(err, guest.ErrUnsupported)), "`modprobe loop`")
	}
	return err
}

// Mount gives one more detached mount of the image. What a guest deletes the image gives
// back to the host (discard).
func (d *Disk) Mount() (fd int, err error) {
	options := []string{"discard"}
	if d.quotas {
		options = append(options, "usrquota", "grpquota")
	}
	return mount.Disk(kind, d.dev.Name(), mount.NoDev, options...)
}

// Path is where the image's root is, for this process and until Close.
func (d *Disk) Path() string { return fmt.Sprintf("/proc/self/fd/%d", d.root.Fd()) }

// Name is the path of the image, or of the device.
func (d *Disk) Name() string {
	if d.device {
		return d.dev.Name()
	}
	return d.image.Name()
}

// Root is the image's root directory, until Close.
func (d *Disk) Root() *os.File { return d.root }

// Close lets go of the image. Who has opened a file in it can go on with that.
func (d *Disk) Close() error {
	errs := []error{d.dev.Close(), d.image.Close()}
	if d.root != nil {
		errs = append(errs, d.root.Close())
	}
	return errors.Join(errs...)
}

// sync has all of the image written.
func (d *Disk) sync() error { return d.each(loop.Sync) }

// Land has what is in the image of the guest whose directory this is on the disk, if it has
// one: a sync of the host's file system does not see to that.
func Land(dir string) error {
	d, err := Open(dir)
	if errors.Is(err, fs.ErrNotExist) && !errors.Is(err, guest.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(d.sync(), d.Close())
}

// At gives the directory in which the trees are of the guest whose directory is dir: that
// itself or, until release is called, the root of its image.
func At(dir string) (at string, release func() error, err error) {
	d, err := Open(dir)
	if errors.Is(err, fs.ErrNotExist) && !errors.Is(err, guest.ErrUnsupported) {
		return dir, func() error { return nil }, nil
	}
	if err != nil {
		return "", nil, err
	}
	return d.Path(), d.Close, nil
}

// Sweep removes an image that somebody was killed over, and trees that a whole one has
// taken the place of, and finishes what Renew had begun. The guest does not run.
func Sweep(dir string) error {
	if err := file.Forget(making(dir)); err != nil {
		return err
	}
	there, err := There(dir)
	if err != nil || !there {
		return err
	}
	d, err := file.OpenDir(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	for _, tree := range trees {
		if err := d.RemoveAll(tree); err != nil {
			return err
		}
	}
	return renewed(dir)
}
