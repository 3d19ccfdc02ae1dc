package view

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"syscall"
	"time"

	"vserver/kernel/cgroup"
	"vserver/kernel/clock"
)

// held is a guest's group in one hierarchy, with those of its files that were read: all
// stay open, since whoever looks will look again.
type held struct {
	group *cgroup.Group
	files map[string]*cgroup.File
}

func (h held) close() {
	h.group.Close()
	for _, f := range h.files {
		f.Close()
	}
}

// old tells whether the host has a controller in a hierarchy of v1, whose names count
// then.
func (g *Guest) old(controller string) bool {
	_, old := g.m.trees[controller]
	return old
}

// tree gives the name by which the group of a controller is held: "" is v2.
func (g *Guest) tree(controller string) string {
	if g.old(controller) {
		return controller
	}
	return ""
}

// open gives a guest's group where the host has that controller. It stays the guest's.
func (g *Guest) open(controller string) (h held, err error) {
	tree := g.tree(controller)
	h, ok := g.groups[tree]
	if ok {
		return h, nil
	}
	if h.group, err = g.m.trees[tree].Open(g.group); err != nil {
		return h, err
	}
	h.files = map[string]*cgroup.File{}
	g.groups[tree] = h
	return h, nil
}

// read gives what a file of the guest's group says now; it is good until the next read of
// any. A group that was removed is looked for anew, once: in hierarchies of v1 it is made
// again when a change of limits failed and was undone.
func (g *Guest) read(controller, file string) ([]byte, error) {
	text, err := g.readHeld(controller, file)
	if errors.Is(err, syscall.ENODEV) {
		tree := g.tree(controller)
		g.groups[tree].close()
		delete(g.groups, tree)
		text, err = g.readHeld(controller, file)
	}
	return text, err
}

func (g *Guest) readHeld(controller, file string) ([]byte, error) {
	h, err := g.open(controller)
	if err != nil {
		return nil, err
	}
	f, err := h.file(file)
	if err != nil {
		return nil, err
	}
	return f.Read(g.m.room[:])
}

// file gives a file of the group. It stays open.
func (h held) file(name string) (*cgroup.File, error) {
	if f := h.files[name]; f != nil {
		return f, nil
	}
	f, err := h.group.File(name)
	if err == nil {
		h.files[name] = f
	}
	return f, err
}

// pids gives the guest's processes.
func (g *Guest) pids() ([]int, error) {
	h, err := g.open("")
	if err != nil {
		return nil, err
	}
	list, err := h.file("cgroup.procs")
	if err != nil {
		return nil, err
	}
	return h.group.ProcsOf(list, g.m.room[:])
}

// number reads a file of the guest's group that holds one number, or "max".
func (g *Guest) number(controller, file string) (n int64, ok bool) {
	text, err := g.read(controller, file)
	if err != nil {
		return 0, false
	}
	n, err = strconv.ParseInt(string(text), 10, 64)
	return n, err == nil
}

// Close gives back what the guest holds.
func (g *Guest) Close() {
	for name, h := range g.groups {
		h.close()
		delete(g.groups, name)
	}
}

// meminfo gives the host's /proc/meminfo, not older than Fresh. Who gets it does not
// change it.
func (m *Machine) meminfo() ([]byte, error) {
	now := time.Now()
	if now.Sub(m.mem.at) < Fresh && now.After(m.mem.at) {
		return m.mem.is, nil
	}
	n, err := syscall.Pread(m.memory, m.room[:], 0)
	for err == syscall.EINTR {
		n, err = syscall.Pread(m.memory, m.room[:], 0)
	}
	if err != nil {
		return nil, os.NewSyscallError("pread /proc/meminfo", err)
	}
	m.mem = text{bytes.Clone(m.room[:n]), now}
	return m.mem.is, nil
}

// uptime is how long the host has been up, with the time that it slept.
func uptime() time.Duration { return clock.Boot() }

// words cuts a line at its first blank.
func words(line []byte) (first, rest []byte) {
	first, rest, _ = bytes.Cut(line, []byte(" "))
	return first, bytes.TrimSuffix(rest, []byte("\n"))
}
