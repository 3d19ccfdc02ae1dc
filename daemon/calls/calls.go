// Package calls answers system calls that guests' filters leave to vserverd: sysinfo(2) and
// sched_getaffinity(2), for guests with a view (see size.go), and mknod(2) of devices, for
// guests with a user namespace and bcap mknod. The kernel makes no device
// node for a user namespace, nor should it; vserverd makes the harmless ones and those
// that rights.devices gives with an m, where the caller could have made a file.
//
// A guest is hostile here. It is asked for one request at a time and a bounded number in
// a turn, so that it takes no more than its part of vserverd, and gets at most MaxNodes
// nodes for each tree of processes: a node on a file system in memory is memory of the
// host's. Whatever goes wrong there is EPERM. No tree waits for another, nor for what else
// vserverd does beside its loop: a guest that is being started may ask.
//
// The store holds the files of a tree of processes as
//
//	calls NAME ID N    0 the listener, 1 a pidfd of the guest's init, 2 a page with
//	                   the request that is being answered
//
// so that the worker after one that died answers in its place. When nobody has a
// listener any more the calls fail with ENOSYS.
package calls

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"

	"vserver/daemon/loop"
	"vserver/guest"
	"vserver/kernel/behalf"
	"vserver/kernel/memfd"
	"vserver/kernel/notify"
	"vserver/kernel/pidfd"
	"vserver/quota"
	"vserver/view"
)

// MaxNodes is how many nodes are made for a tree of processes: a container's root takes
// ten, and so many on a tmpfs are 16 MiB.
const MaxNodes = 16384

// A turn answers so many requests at most, and the next one comes after a pause.
const (
	turn  = 64
	pause = 5 * time.Millisecond
)

const kept = "calls "

// Set is the trees of processes that are answered. Its methods are called in the loop
// only.
type Set struct {
	Loop *loop.Loop
	Say  func(format string, args ...any)
	// Keep has the store hold a file, Unkeep has it let go.
	Keep   func(name string, fd int) error
	Unkeep func(name string)
	// Makes tells whether a guest may make nodes of a device beside the harmless ones.
	Makes func(n guest.Name, block bool, major, minor int) bool
	// Views gives the flags of a guest's view, Size the size of its machine; ok is false
	// when nobody knows it.
	Views func(guest.Name) guest.ViewFlags
	Size  func(guest.Name) (s view.Size, ok bool)
	// Area opens the own files of a guest, whose ids begin at base.
	Area func(guest.Name) (a *quota.Area, base uint32, err error)
}

// tree is processes under one filter.
type tree struct {
	name  guest.Name
	id    int64
	files [3]int // as the store has them
	src   *loop.Source
	made  int

	request []byte // the page

	flags   guest.ViewFlags
	size    view.Size
	sizedAt time.Time // when size was taken
}

func (t *tree) listener() int { return t.files[0] }
func (t *tree) init() int     { return t.files[1] }
func (t *tree) page() int     { return t.files[2] }

func (t *tree) kept(n int) string { return fmt.Sprintf("%s%s %d %d", kept, t.name, t.id, n) }

// Take answers a tree of processes from now on: files are its listener and a pidfd of
// the guest's init, the set's from now on.
func (s *Set) Take(name guest.Name, files []int) {
	page, err := -1, error(syscall.EINVAL)
	if len(files) == 2 {
		page, err = memfd.Shared("vserver-calls", notify.Size)
	}
	if err != nil {
		s.Say("%s: calls: %v", name, err)
		for _, fd := range files {
			syscall.Close(fd)
		}
		return
	}
	t := &tree{name: name, id: time.Now().UnixNano(), files: [3]int{files[0], files[1], page}}
	if err := t.mapPage(); err != nil {
		s.Say("%s: calls: %v", name, err)
		s.drop(t)
		return
	}
	for n, fd := range t.files {
		if err := s.Keep(t.kept(n), fd); err != nil {
			s.Say("%s: %v", name, err)
		}
	}
	s.watch(t)
}

func (s *Set) watch(t *tree) {
	var err error
	if t.src, err = s.Loop.Add(t.listener(), loop.Readable, func(events uint32) { s.ready(t, events) }); err != nil {
		s.Say("%s: %v", t.name, err)
		s.drop(t)
	}
}

// ready has what is asked answered, beside the loop.
func (s *Set) ready(t *tree, events uint32) {
	if events&loop.Readable == 0 {
		s.drop(t) // nobody is left who could call
		return
	}
	s.Loop.Drop(t.src) // the job has the files
	go func() {
		more := s.answer(t)
		s.Loop.Post(func() {
			if more {
				s.Loop.After(pause, func() { s.watch(t) })
				return
			}
			s.watch(t)
		})
	}()
}

// answer answers what waits, but no more than a turn; more tells whether that was it.
func (s *Set) answer(t *tree) (more bool) {
	for range turn {
		if !notify.Asked(t.listener()) {
			return false
		}
		r, err := notify.TakeInto(t.listener(), t.request)
		if errors.Is(err, syscall.ENOENT) {
			continue // it was killed
		}
		if err != nil {
			return false
		}
		s.one(t, r, false)
		clear(t.request)
	}
	return true
}

// one answers a request; again says that a worker that died may have done it already.
func (s *Set) one(t *tree, r notify.Request, again bool) {
	switch {
	case asksSize(r):
		s.tell(t, r)
		return
	case asksLimit(r):
		s.raise(t, r)
		return
	case asksQuota(r):
		s.count(t, r)
		return
	}
	err := s.node(t, r)
	if again && errors.Is(err, syscall.EEXIST) {
		err = nil
	}
	notify.Answer(t.listener(), r.ID, 0, errnoOf(err)) // else the caller is dead
}

// node makes the node that a request is about. The error is the caller's.
func (s *Set) node(t *tree, r notify.Request) error {
	a, ok := behalf.AskOf(r.Nr, r.Args)
	if !ok {
		return syscall.ENOSYS
	}
	block, major, minor, ok := a.Device()
	if !ok || !s.Makes(t.name, block, major, minor) {
		return syscall.EPERM
	}
	if t.made >= MaxNodes {
		return syscall.ENOSPC
	}
	init, err := pidfd.PID(t.init())
	if err != nil || init <= 0 {
		return syscall.EPERM
	}
	c, err := behalf.Hold(r.PID, a)
	if err != nil {
		return err
	}
	defer c.Close()
	if !c.May(init, behalf.Mknod) {
		return syscall.EPERM
	}
	path, err := c.Text(a.Path)
	if err != nil {
		return err
	}
	if !notify.Waits(t.listener(), r.ID) {
		return syscall.EPERM // all this was of another thread
	}
	if err := c.Mknod(path, a); err != nil {
		return err
	}
	t.made++
	return nil
}

// drop lets a tree go.
func (s *Set) drop(t *tree) {
	s.Loop.Drop(t.src)
	if t.request != nil {
		syscall.Munmap(t.request)
		t.request = nil
	}
	for n, fd := range t.files {
		s.Unkeep(t.kept(n))
		syscall.Close(fd)
	}
}

// Inherit takes up the trees of the worker before, and ends what that had begun.
func (s *Set) Inherit(files map[string]int) {
	for name := range files {
		rest, ok := strings.CutPrefix(name, kept)
		words := strings.Fields(rest)
		if !ok || len(words) != 3 || words[2] != "0" {
			continue
		}
		id, _ := strconv.ParseInt(words[1], 10, 64)
		t := &tree{name: guest.Name(words[0]), id: id}
		whole := true
		for n := range t.files {
			fd, there := files[t.kept(n)]
			whole = whole && there
			t.files[n] = fd
		}
		if !whole {
			continue
		}
		for n := range t.files {
			delete(files, t.kept(n))
		}
		if err := t.mapPage(); err != nil {
			s.Say("%s: calls: %v", t.name, err)
			s.drop(t)
			continue
		}
		if r, ok := notify.Parse(t.request); ok && notify.Waits(t.listener(), r.ID) {
			go func() {
				s.one(t, r, true)
				clear(t.request)
				s.Loop.Post(func() { s.watch(t) })
			}()
			continue
		}
		clear(t.request)
		s.watch(t)
	}
	for name, fd := range files {
		if strings.HasPrefix(name, kept) { // not all are there
			s.Unkeep(name)
			syscall.Close(fd)
			delete(files, name)
		}
	}
}

// mapPage maps the page of a tree, in which the kernel writes the request that is taken.
func (t *tree) mapPage() (err error) {
	t.request, err = syscall.Mmap(t.page(), 0, notify.Size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	return err
}
