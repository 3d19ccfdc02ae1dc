package need

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Disk asks for root, loop devices, a file system type and the mkfs of it, and gives a
// directory where one of that type and of size bytes is mounted for the test, made by
// mkfs with these arguments and mounted with these options ("usrquota,prjquota"). What is
// in it goes with it.
func Disk(t testing.TB, kind string, size int64, options string, mkfs ...string) string {
	t.Helper()
	Loop(t)
	Filesystem(t, kind)
	Command(t, "mkfs."+kind)
	dir := TempDir(t)
	image, at := filepath.Join(dir, "image"), filepath.Join(dir, "disk")
	if err := mountImage(image, at, kind, size, options, mkfs); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := unix.Unmount(at, 0)
		// The kernel takes a guest's mounts down some time after its last process.
		for end := time.Now().Add(10 * time.Second); err == unix.EBUSY && time.Now().Before(end); {
			time.Sleep(10 * time.Millisecond)
			err = unix.Unmount(at, 0)
		}
		if err != nil {
			t.Errorf("unmount %s: %v", at, err)
		}
	})
	return at
}

func mountImage(image, at, kind string, size int64, options string, mkfs []string) error {
	f, err := os.Create(image)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := errors.Join(f.Truncate(size), os.Mkdir(at, 0o755)); err != nil {
		return err
	}
	args := append([]string{"-q"}, append(mkfs, image)...)
	if out, err := exec.Command("mkfs."+kind, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("mkfs.%s %s: %w\n%s", kind, strings.Join(args, " "), err, out)
	}
	dev, err := loopDevice(f)
	if err != nil {
		return err
	}
	defer dev.Close()
	if err := unix.Mount(dev.Name(), at, kind, 0, options); err != nil {
		return fmt.Errorf("mount %s (%s): %w", kind, options, err)
	}
	return nil
}

// LoopDevice asks for loop devices and gives one that shows f, until nothing has it open or
// in use.
func LoopDevice(t testing.TB, f *os.File) *os.File {
	t.Helper()
	Loop(t)
	dev, err := loopDevice(f)
	if err != nil {
		t.Fatal(err)
	}
	return dev
}

// loopDevice gives a device that shows f, which the kernel lets go with its last user.
func loopDevice(f *os.File) (*os.File, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	for range 64 {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, err
		}
		dev, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", n), os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		c := unix.LoopConfig{Fd: uint32(f.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR}}
		if err = unix.IoctlLoopConfigure(int(dev.Fd()), &c); err == nil {
			return dev, nil
		}
		dev.Close()
		if !errors.Is(err, unix.EBUSY) {
			return nil, err
		}
	}
	return nil, unix.EBUSY
}

// Project tells the project that a file or directory belongs to, for disk quotas.
func Project(path string) (uint32, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var a [7]uint32 // struct fsxattr: the fourth is fsx_projid
	if _, _, no := unix.Syscall(unix.SYS_IOCTL, f.Fd(), 0x801c581f, uintptr(unsafe.Pointer(&a))); no != 0 {
		return 0, fmt.Errorf("project of %s: %w", path, no)
	}
	return a[3], nil
}

// SetAttributes sets flags, and then project and the other attributes, of a file or
// directory again as they are, which takes no right over it but to own it.
func SetAttributes(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil {
		return fmt.Errorf("flags of %s: %w", path, err)
	}
	flagged := unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags)
	var a [7]uint32
	if _, _, no := unix.Syscall(unix.SYS_IOCTL, f.Fd(), 0x801c581f, uintptr(unsafe.Pointer(&a))); no != 0 {
		return no
	}
	_, _, no := unix.Syscall(unix.SYS_IOCTL, f.Fd(), 0x401c5820, uintptr(unsafe.Pointer(&a)))
	if flagged == nil || no == 0 {
		return nil // one is enough
	}
	return flagged
}

// Blocks tells the bytes that a file takes of its disk.
func Blocks(info os.FileInfo) int64 { return info.Sys().(*syscall.Stat_t).Blocks * 512 }
