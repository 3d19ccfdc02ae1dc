package view

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"vserver/guest"
	"vserver/kernel/fuse"
)

// Mount is a guest's file system of views, mounted nowhere.
type Mount struct {
	Device int // the connection
	FD     int // the mount
}

// Make makes the file system for a guest whose root is uid on the host. It answers what
// the kernel asks to know the names in it; so the guest's start needs no server.
func Make(uid uint32) (m Mount, err error) {
	m = Mount{-1, -1}
	if m.Device, err = fuse.OpenDevice(); err != nil {
		return m, lacking(err)
	}
	if m.FD, err = fuse.Mount(m.Device); err != nil {
		m.Close()
		return m, lacking(err)
	}
	if err := m.acquaint(uid); err != nil {
		m.Close()
		return m, fmt.Errorf("view: %w", err)
	}
	return m, nil
}

// lacking says that the kernel has no FUSE.
func lacking(err error) error {
	if errors.Is(err, syscall.ENODEV) || errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ENXIO) {
		return fmt.Errorf("view: %w: %w", guest.ErrUnsupported, err)
	}
	return fmt.Errorf("view: %w", err)
}

// Close closes both descriptors.
func (m Mount) Close() {
	for _, fd := range []int{m.FD, m.Device} {
		if fd >= 0 {
			syscall.Close(fd)
		}
	}
}

// lastName is asked for when all is known. There is no such file.
const lastName = ".known"

// acquaint lists the root, which makes the kernel know all names in it.
func (m Mount) acquaint(uid uint32) error {
	answered := make(chan error, 1)
	go func() { answered <- m.serveNames(uid) }()
	dir, err := syscall.Openat(m.FD, ".", syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err == nil {
		_, err = syscall.ReadDirent(dir, make([]byte, 4096))
		// The last: the server ends with it.
		syscall.Faccessat(m.FD, lastName, 0, 0)
		syscall.Close(dir)
	}
	if err != nil {
		return err
	}
	return errors.Join(err, <-answered)
}

// serveNames answers requests until lastName is asked for.
func (m Mount) serveNames(uid uint32) error {
	tree := Tree{UID: uid, CPUs: func() Set { return nil },
		Text: func(Node) ([]byte, syscall.Errno) { return nil, syscall.EIO }}
	buf := make([]byte, fuse.Buffer)
	for {
		if err := fuse.Wait(m.Device); err != nil {
			return err
		}
		n, err := fuse.Take(m.Device, buf)
		if errors.Is(err, syscall.EAGAIN) {
			continue
		}
		if err != nil {
			return err
		}
		r, ok := fuse.Parse(buf[:n])
		if !ok {
			return syscall.EPROTO
		}
		data, e := tree.Answer(r)
		if !r.Op.Silent() {
			if err := fuse.Answer(m.Device, r.Unique, e, data); err != nil {
				return err
			}
		}
		if r.Op == fuse.Lookup && r.Name() == lastName {
			return nil
		}
	}
}

// Bind is a file of the view that takes the place of one that the kernel shows.
type Bind struct{ Name, Target string }

// Binds gives what is shown to a guest with those flags.
func Binds(f guest.ViewFlags) []Bind {
	var list []Bind
	add := func(names ...string) {
		for _, name := range names {
			list = append(list, Bind{name, "/proc/" + name})
		}
	}
	if f.Has(guest.VirtMem) {
		add("meminfo", "swaps")
	}
	if f.Has(guest.VirtCPU) {
		add("stat", "cpuinfo", "diskstats")
		list = append(list, Bind{"cpu", cpuDir})
	}
	if f.Has(guest.VirtLoad) {
		add("loadavg", "pressure")
	}
	if f.Has(guest.VirtUptime) {
		add("uptime")
	}
	return list
}

// Ready tells whether this host can make views: whether there is /dev/fuse.
func Ready() bool {
	_, err := os.Stat("/dev/fuse")
	return err == nil
}
