// Package loop shows a file as a block device, by the kernel's loop devices.
//
// A device made here is let go by the kernel with its last user (autoclear): once a file
// system on it is mounted, that is the mount's end, however it comes. So a tool that is
// killed leaves none behind, and nobody must remember its number. Data go past the page
// cache of the file (direct I/O) where its file system can, so that they are not kept
// twice. LOOP_CONFIGURE makes a device whole in one call (Linux 5.8).
package loop

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// tries bounds how often a device is asked for that another process was quicker to take.
const tries = 64

// Attach gives the device that shows the image, which must be open for reading and
// writing: the one that shows it already, or a new one. Keep it open until the device is
// in use.
func Attach(image *os.File) (*os.File, error) {
	dev, err := Find(image)
	if !errors.Is(err, fs.ErrNotExist) {
		return dev, err
	}
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	for range tries {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("free loop device: %w", err)
		}
		dev, err := os.OpenFile("/dev/loop"+strconv.Itoa(n), os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		err = configure(dev, image)
		if err == nil {
			return dev, nil
		}
		dev.Close()
		if !errors.Is(err, unix.EBUSY) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("loop device for %s: %w", image.Name(), unix.EBUSY)
}

func configure(dev, image *os.File) error {
	c := unix.LoopConfig{Fd: uint32(image.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR | unix.LO_FLAGS_DIRECT_IO}}
	copy(c.Info.File_name[:len(c.Info.File_name)-1], image.Name())
	err := unix.IoctlLoopConfigure(int(dev.Fd()), &c)
	if errors.Is(err, unix.EINVAL) { // no direct I/O on that file system
		c.Info.Flags = unix.LO_FLAGS_AUTOCLEAR
		err = unix.IoctlLoopConfigure(int(dev.Fd()), &c)
	}
	if err != nil {
		return fmt.Errorf("loop device %s of %s: %w", dev.Name(), image.Name(), err)
	}
	return nil
}

// Find gives the device that shows the image. The error is fs.ErrNotExist when there is
// none.
func Find(image *os.File) (*os.File, error) {
	var want unix.Stat_t
	if err := unix.Fstat(int(image.Fd()), &want); err != nil {
		return nil, &os.PathError{Op: "stat", Path: image.Name(), Err: err}
	}
	// Only devices in use have the directory: there can be hundreds of free ones.
	used, err := filepath.Glob("/sys/block/loop*/loop")
	if err != nil {
		return nil, err
	}
	for _, dir := range used {
		dev, err := os.OpenFile("/dev/"+filepath.Base(filepath.Dir(dir)), os.O_RDWR, 0)
		if err != nil {
			continue // let go meanwhile
		}
		info, err := unix.IoctlLoopGetStatus64(int(dev.Fd()))
		if err == nil && info.Inode == want.Ino && info.Device == want.Dev {
			return dev, nil
		}
		dev.Close()
	}
	return nil, fmt.Errorf("loop device of %s: %w", image.Name(), fs.ErrNotExist)
}

// Resized tells the device that its image has another size.
func Resized(dev *os.File) error {
	if err := unix.IoctlSetInt(int(dev.Fd()), unix.LOOP_SET_CAPACITY, 0); err != nil {
		return fmt.Errorf("resize %s: %w", dev.Name(), err)
	}
	return nil
}

// FillExt4 has the ext4 on the device, mounted with this root directory, take size bytes of
// it, if it has less (EXT4_IOC_RESIZE_FS, linux/ext4.h). Nobody who uses it need stop. It
// takes CAP_SYS_RESOURCE.
func FillExt4(dev, root *os.File, size int64) error {
	const resize = 0x40086610
	block, blocks, err := ext4(dev)
	if err != nil {
		return err
	}
	want := uint64(size) / block
	if want <= blocks {
		return nil
	}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, root.Fd(), resize, uintptr(unsafe.Pointer(&want)))
	if errno != 0 {
		return fmt.Errorf("resize the file system from %d to %d blocks: %w", blocks, want, errno)
	}
	return nil
}

// ext4 reads the size of a block, and how many there are, from the superblock (the
// kernel's Documentation/filesystems/ext4/super.rst).
func ext4(dev io.ReaderAt) (block, blocks uint64, err error) {
	var sb [1024]byte
	if _, err := dev.ReadAt(sb[:], 1024); err != nil {
		return 0, 0, err
	}
	at := func(offset int) uint64 { return uint64(binary.LittleEndian.Uint32(sb[offset:])) }
	return 1024 << (at(0x18) & 31), at(0x4) | at(0x150)<<32, nil
}

// Sync has the file system of a mount written to its device.
func Sync(root *os.File) error {
	for {
		if err := unix.Syncfs(int(root.Fd())); err != unix.EINTR {
			return os.NewSyscallError("syncfs", err)
		}
	}
}
