package sized

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"vserver/fault"
	"vserver/guest"
	"vserver/kernel/loop"
)

// Numbers of an ext4 as mkfs makes it.
const (
	groupSize = 128 << 20 // bytes that have a table of inodes of their own
	rounding  = 16        // inodes of a group are a multiple of that
)

// Check tells whether the image can be made to hold these limits.
func (d *Disk) Check(l guest.Limits) error {
	size, all, err := d.size()
	if err != nil {
		return err
	}
	switch {
	case d.device:
		return nil // whose size is the limit
	case l.Disk == 0:
		return fault.Hint(fmt.Errorf("limits.disk: the guest's own files are in an image, which ends somewhere: %w", guest.ErrUnsupported),
			"`vserver set NAME limits.disk=SIZE` with a size; lifting it takes a new guest")
	case l.Disk < size:
		return fault.Hint(fmt.Errorf("limits.disk: %v: the image has %v, and gets no smaller: %w", l.Disk, size, guest.ErrUnsupported),
			"a smaller one takes a new guest: `vserver export`, `vserver import NAME FILE --set limits.disk=SIZE`")
	}
	if l.Inodes == 0 {
		return nil
	}
	groups := guest.Count(size+groupSize-1) / groupSize
	then := all / groups * (guest.Count(l.Disk+groupSize-1) / groupSize)
	if l.Inodes > then || l.Inodes <= then-rounding*groups-rounding {
		return fault.Hint(fmt.Errorf("limits.inodes: %v: with %v the image has %d, so many for each part of it since it was made: %w", l.Inodes, l.Disk, then, guest.ErrUnsupported),
			fmt.Sprintf("limits.inodes=%d", then))
	}
	return nil
}

// Set gives the image the size of these limits, whether or not a guest uses it.
func (d *Disk) Set(l guest.Limits) error {
	if err := d.Check(l); err != nil {
		return err
	}
	size, _, err := d.size()
	if err != nil {
		return err
	}
	if d.device {
		return d.each(func(root *os.File) error { return loop.FillExt4(d.dev, root, int64(size)) })
	}
	err = d.grow(l.Disk)
	if errors.Is(err, syscall.EPERM) {
		err = fault.Hint(err, "root of this host lacks CAP_SYS_RESOURCE, as in a container: see doc/limits.md")
	}
	if err != nil && l.Disk > size {
		err = errors.Join(err, d.image.Truncate(int64(size)), loop.Resized(d.dev))
	}
	return err
}

// grow has image, device and file system be of that size. One that was killed here may
// have left the latter behind.
func (d *Disk) grow(size guest.Bytes) error {
	if err := d.image.Truncate(int64(size)); err != nil {
		return err
	}
	if err := loop.Resized(d.dev); err != nil {
		return err
	}
	return d.each(func(root *os.File) error { return loop.FillExt4(d.dev, root, int64(size)) })
}

// each opens the root directory for a call about the file system.
func (d *Disk) each(do func(root *os.File) error) error {
	root, err := os.Open(d.Path())
	if err != nil {
		return err
	}
	defer root.Close()
	return do(root)
}

// size is that of the image, and how many inodes its file system has.
func (d *Disk) size() (guest.Bytes, guest.Count, error) {
	bytes, err := d.image.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, 0, err
	}
	var st syscall.Statfs_t
	err = syscall.Statfs(d.Path(), &st)
	return guest.Bytes(bytes), guest.Count(st.Files), err
}

// Use is what the guest's own files take of the image.
func (d *Disk) Use() (*guest.DiskStatus, error) {
	size, _, err := d.size()
	if err != nil {
		return nil, err
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(d.Path(), &st); err != nil {
		return nil, err
	}
	by := "image"
	if d.device {
		by = "device"
	}
	return &guest.DiskStatus{
		By: by, Limit: size, Used: guest.Bytes(int64(st.Blocks-st.Bfree) * int64(st.Bsize)),
		Inodes: guest.Count(st.Files - st.Ffree), Most: guest.Count(st.Files),
	}, nil
}

// Taken is what the image takes of the host's disk.
func (d *Disk) Taken() (guest.Bytes, error) {
	info, err := d.image.Stat()
	if err != nil {
		return 0, err
	}
	sys, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, nil
	}
	const unit = 512 // of st_blocks: stat(2)
	return guest.Bytes(sys.Blocks * unit), nil
}
