// Package views answers for vserverd what guests' views (package view) are asked.
//
// The store holds
//
//	views                  the memory that outlives a server: see slot
//	view NAME PID ID       the connection of a guest with that init; ID is one for each
package views

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"

	"vserver/daemon/loop"
	"vserver/guest"
	"vserver/view"
)

// The names of files in the store.
const (
	keptSlot = "views"
	keptView = "view "
)

// Set is the views of a host. Its methods are called in the loop only. There is no
// server, and no cost, without a guest that has a view.
type Set struct {
	Dirs guest.Dirs
	Loop *loop.Loop
	Say  func(format string, args ...any) // to vserverd's own log, from any goroutine
	// Keep has the store hold a file, Unkeep has it let go.
	Keep   func(name string, fd int) error
	Unkeep func(name string)
	// Grown is told how many views there are when that changes; nil is nobody.
	Grown func(views int)

	all    map[*connection]bool
	slot   *slot
	server *server
}

// connection is that of one guest. The server's loop owns what is below the line.
type connection struct {
	name guest.Name
	pid  int // of its init
	id   uint64
	fd   int

	guest  *view.Guest // nil while it could not be opened
	record []byte      // its load in the slot
	src    *loop.Source
	next   *loop.Timer // of the next sample
	paid   time.Time   // until when debt is counted
	debt   time.Duration
}

func (c *connection) kept() string { return fmt.Sprintf("%s%s %d %d", keptView, c.name, c.pid, c.id) }

// Busy tells whether a guest with a view runs.
func (set *Set) Busy() bool { return len(set.all) > 0 }

// Take answers for a guest with that init from now on. files is the connection, which
// is the set's from now on; it is told to the store before Take returns.
func (set *Set) Take(name guest.Name, pid int, files []int) error {
	if len(files) != 1 {
		for _, fd := range files {
			syscall.Close(fd)
		}
		return fmt.Errorf("%s: view: %d files: %w", name, len(files), guest.ErrInvalid)
	}
	c := &connection{name: name, pid: pid, id: uint64(time.Now().UnixNano()), fd: files[0]}
	if err := set.ready(); err != nil {
		syscall.Close(c.fd)
		return err
	}
	if err := set.Keep(c.kept(), c.fd); err != nil {
		set.Say("%s: %v", name, err)
	}
	set.add(c)
	return nil
}

// add has the server answer for a guest.
func (set *Set) add(c *connection) {
	if set.all == nil {
		set.all = map[*connection]bool{}
	}
	set.all[c] = true
	set.grown()
	s := set.server
	s.loop.Post(func() { s.add(c) })
}

func (set *Set) grown() {
	if set.Grown != nil {
		set.Grown(len(set.all))
	}
}

// ready makes the shared memory and the server, if they are not there.
func (set *Set) ready() (err error) {
	if set.slot == nil {
		if set.slot, err = newSlot(); err != nil {
			return err
		}
		if err := set.Keep(keptSlot, set.slot.fd); err != nil {
			set.Say("%v", err)
		}
	}
	if set.server != nil {
		return nil
	}
	if set.server, err = set.newServer(); err == nil {
		go set.server.serve()
	}
	return err
}

func (set *Set) newServer() (*server, error) {
	m, err := view.OpenMachine()
	if err != nil {
		return nil, err
	}
	s := &server{machine: m, slot: set.slot, say: set.Say, all: map[*connection]bool{},
		group: func(c *connection) string { return set.Dirs.Cgroup + "/" + string(c.name) },
		gone:  func(c *connection) { set.Loop.Post(func() { set.drop(c) }) }}
	if s.loop, err = loop.New(); err != nil {
		m.Close()
		return nil, err
	}
	return s, nil
}

// drop lets go of a guest that has ended.
func (set *Set) drop(c *connection) {
	if !set.all[c] {
		return
	}
	delete(set.all, c)
	set.grown()
	set.Unkeep(c.kept())
	syscall.Close(c.fd)
	if len(set.all) > 0 {
		return
	}
	s := set.server
	set.server = nil
	s.loop.Post(func() { s.ended = true })
}

// Inherit takes up what the worker before answered for.
func (set *Set) Inherit(files map[string]int) {
	if fd, ok := files[keptSlot]; ok {
		delete(files, keptSlot)
		var err error
		if set.slot, err = openSlot(fd); err != nil {
			set.Say("%v", err)
			set.Unkeep(keptSlot)
			syscall.Close(fd)
		}
	}
	var all []*connection
	for name, fd := range files {
		rest, ok := strings.CutPrefix(name, keptView)
		if !ok {
			continue
		}
		delete(files, name)
		c, err := parseKept(rest)
		if err == nil {
			err = set.ready()
		}
		if err != nil {
			set.Say("kept file %q: %v", name, err)
			set.Unkeep(name)
			syscall.Close(fd)
			continue
		}
		c.fd = fd
		all = append(all, c)
	}
	if len(all) == 0 {
		return
	}
	s := set.server
	s.loop.Post(func() { s.recover(all) })
	for _, c := range all {
		set.add(c)
	}
}

// parseKept reads the name of a connection, but for what it begins with.
func parseKept(words string) (*connection, error) {
	w := strings.Fields(words)
	if len(w) != 3 {
		return nil, guest.ErrInvalid
	}
	name, err := guest.ParseName(w[0])
	if err != nil {
		return nil, err
	}
	pid, err1 := strconv.Atoi(w[1])
	id, err2 := strconv.ParseUint(w[2], 10, 64)
	if err1 != nil || err2 != nil || pid < 1 || id == 0 {
		return nil, guest.ErrInvalid
	}
	return &connection{name: name, pid: pid, id: id}, nil
}

// patience bounds the wait for a guest's size: who asks is in a system call, and is told the
// host's afterwards. A vserverd that is being replaced on a busy machine takes seconds.
const patience = 30 * time.Second

// Size tells how large a guest's machine is; ok is false when nobody knows. It may be
// called from any goroutine but the loops'.
func (set *Set) Size(name guest.Name) (size view.Size, ok bool) {
	type reply struct {
		size view.Size
		ok   bool
	}
	told := make(chan reply, 1)
	set.Loop.Post(func() {
		var newest *connection
		for c := range set.all {
			if c.name == name && (newest == nil || c.id > newest.id) {
				newest = c
			}
		}
		if newest == nil {
			told <- reply{}
			return
		}
		s := set.server
		s.loop.Post(func() {
			var r reply
			if s.open(newest); s.all[newest] && newest.guest != nil {
				size, err := newest.guest.Size()
				r = reply{size, err == nil}
			}
			told <- r
		})
	})
	select {
	case r := <-told:
		return r.size, r.ok
	case <-time.After(patience):
		return size, false
	}
}
