// Package tun makes links whose packets a program reads and writes, in the network namespace
// of the calling thread.
package tun

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// device is where they are made.
const device = "/dev/net/tun"

// Make makes a link of packets or, with tap, of Ethernet frames. It is gone when the file is
// closed, unless Keep comes before.
func Make(name string, tap bool) (*os.File, error) {
	f, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	flags := uint16(unix.IFF_TUN)
	if tap {
		flags = unix.IFF_TAP
	}
	req, err := unix.NewIfreq(name)
	if err == nil {
		req.SetUint16(flags | unix.IFF_NO_PI | unix.IFF_TUN_EXCL)
		err = unix.IoctlIfreq(int(f.Fd()), unix.TUNSETIFF, req)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("dev %s: make: %w", name, err)
	}
	return f, nil
}

// Keep has the link stay, for the user and group with these ids on the host to open; -1 is
// nobody in particular.
func Keep(f *os.File, user, group int) error {
	for _, set := range []struct {
		request uint
		value   int
	}{{unix.TUNSETOWNER, user}, {unix.TUNSETGROUP, group}, {unix.TUNSETPERSIST, 1}} {
		if set.value < 0 {
			continue
		}
		if err := unix.IoctlSetInt(int(f.Fd()), set.request, set.value); err != nil {
			return os.NewSyscallError("ioctl "+device, err)
		}
	}
	return nil
}
