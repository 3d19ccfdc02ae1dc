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

	stop int // a pipe: closed, it ends the goroutine that answers
	done chan struct{}
}

// Make makes the file system for a guest whose root is uid on the host. Until Leave it
// answers what the kernel asks to know the names in it, so that the guest's start does
// not wait for vserverd. now opens the guest, should that read anything meanwhile.
func Make(uid uint32, now func() (*Guest, error)) (m *Mount, err error) {
	m = &Mount{Device: -1, FD: -1, stop: -1, done: make(chan struct{})}
	close(m.done)
	if m.Device, err = fuse.OpenDevice(); err != nil {
		return nil, lacking(err)
	}
	if m.FD, err = fuse.Mount(m.Device); err == nil {
		err = m.answer(early(uid, now))
	}
	if err != nil {
		m.Close()
		return nil, lacking(err)
	}
	return m, nil
}

// Leave ends the answering. Somebody else must answer by now.
func (m *Mount) Leave() {
	if m.stop >= 0 {
		syscall.Close(m.stop)
		m.stop = -1
	}
	<-m.done
}

// Close leaves and closes both descriptors.
func (m *Mount) Close() {
	m.Leave()
	for _, fd := range []*int{&m.FD, &m.Device} {
		if *fd >= 0 {
			syscall.Close(*fd)
			*fd = -1
		}
	}
}

// lacking says that the kernel has no FUSE.
func lacking(err error) error {
	if errors.Is(err, syscall.ENODEV) || errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ENXIO) {
		return fmt.Errorf("view: %w: %w", guest.ErrUnsupported, err)
	}
	return fmt.Errorf("view: %w", err)
}

// early is the tree of a guest that is nearly always told of names alone, and that is
// opened only for more.
func early(uid uint32, now func() (*Guest, error)) (t *Tree, end func()) {
	var g *Guest
	opened := func() bool {
		if g == nil {
			g, _ = now()
		}
		return g != nil
	}
	return &Tree{UID: uid, Names: true,
			CPUs: func() Set {
				if !opened() {
					return nil
				}
				return g.CPUs()
			},
			Text: func(n Node) ([]byte, syscall.Errno) {
				if !opened() {
					return nil, syscall.EIO
				}
				return g.Text(n)
			}}, func() {
			if g != nil {
				g.Close()
				g.m.Close()
			}
		}
}

// answer begins to answer for a tree, and calls end when it is over.
func (m *Mount) answer(tree *Tree, end func()) error {
	buf := make([]byte, fuse.Buffer)
	if err := m.answerOne(tree, buf); err != nil { // Init is there already
		return err
	}
	var stop [2]int
	if err := syscall.Pipe2(stop[:], syscall.O_CLOEXEC); err != nil {
		return err
	}
	m.stop, m.done = stop[1], make(chan struct{})
	go func() {
		defer close(m.done)
		defer end()
		defer syscall.Close(stop[0])
		for {
			if more, err := fuse.Wait(m.Device, stop[0]); err != nil || !more {
				return
			}
			if m.answerOne(tree, buf) != nil {
				return // the file system is gone
			}
		}
	}()
	return nil
}

// answerOne answers a request, if there is one.
func (m *Mount) answerOne(tree *Tree, buf []byte) error {
	n, err := fuse.Take(m.Device, buf)
	if errors.Is(err, syscall.EAGAIN) {
		return nil // vserverd was first
	}
	if err != nil {
		return err
	}
	r, ok := fuse.Parse(buf[:n])
	if !ok || r.Op.Silent() {
		return nil
	}
	data, e := tree.Answer(r)
	if err := fuse.Answer(m.Device, r.Unique, e, data); err != nil && !errors.Is(err, syscall.ENOENT) {
		return err
	}
	return nil
}

// Bind is a file of the view that takes the place of one that the kernel shows.
type Bind struct{ Name, Target string }

// Binds gives what is shown to a guest with those flags. Who has disks of the host's sees
// its directory of disks.
func Binds(f guest.ViewFlags, disks bool) []Bind {
	var list []Bind
	add := func(names ...string) {
		for _, name := range names {
			list = append(list, Bind{name, "/proc/" + name})
		}
	}
	if f.Has(guest.VirtMem) {
		add("meminfo", "swaps", "vmstat")
	}
	if f.Has(guest.VirtCPU) {
		add("stat", "cpuinfo", "diskstats")
		list = append(list, Bind{"cpu", cpuDir}, Bind{"node", nodesDir})
		if !disks {
			list = append(list, Bind{"block", blockDir})
		}
	}
	if f.Has(guest.VirtLoad) {
		add("loadavg", "pressure")
	}
	if f.Has(guest.VirtUptime) {
		add("uptime")
	}
	return list
}

// Hidden gives the files and directories that tell of the machine's memory, processors and
// disks without a word of the guest's: programs take a machine for one that lacks them.
func Hidden(f guest.ViewFlags, disks bool) (files, dirs []string) {
	if f.Has(guest.VirtMem) {
		files, dirs = []string{"/proc/buddyinfo", "/proc/zoneinfo"}, []string{"/sys/devices/system/memory"}
	}
	if f.Has(guest.VirtCPU) {
		files = append(files, "/proc/softirqs")
		if !disks {
			files = append(files, "/proc/partitions")
		}
	}
	return files, dirs
}

// Ready tells whether this host can make views: whether there is /dev/fuse.
func Ready() bool {
	_, err := os.Stat("/dev/fuse")
	return err == nil
}
