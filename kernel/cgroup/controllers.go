package cgroup

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"vserver/guest"
)

// Controllers gives the controllers that the v2 hierarchy can offer to guests: those
// of its topmost group that we see.
func (h Host) Controllers() ([]string, error) {
	top, err := h.Open(".")
	if err != nil {
		return nil, err
	}
	defer top.Close()
	return top.words("cgroup.controllers")
}

// Enable makes v2 controllers available to the group at path, by enabling them in
// every group above it, the topmost first. What is enabled already is not written again,
// but in the last of them: another that enables it right now has it told as enabled before
// the group has its files, and a write waits for that one (both take cgroup_mutex). The
// error is guest.ErrUnsupported when the hierarchy lacks one of them.
func (h Host) Enable(path string, controllers ...string) error {
	up := ancestors(path)
	for i, dir := range up {
		if err := h.enableBelow(dir, controllers, i == len(up)-1); err != nil {
			return err
		}
	}
	return nil
}

// Lend is Enable of those controllers that the v2 hierarchy has, for an init or a
// container runtime that gives the groups below the group at path limits of their own. It
// writes nothing when they are there.
func (h Host) Lend(path string, controllers ...string) error {
	have, err := h.Controllers()
	if err != nil || len(have) == 0 {
		return err
	}
	g, err := h.Open(path)
	if err != nil {
		return err
	}
	defer g.Close()
	lent, err := g.words("cgroup.controllers")
	if err != nil {
		return err
	}
	want := slices.DeleteFunc(controllers, func(c string) bool {
		return slices.Contains(lent, c) || !slices.Contains(have, c)
	})
	if len(want) == 0 {
		return nil
	}
	return h.Enable(path, want...)
}

func (h Host) enableBelow(dir string, controllers []string, anyway bool) error {
	g, err := h.Open(dir)
	if err != nil {
		return err
	}
	defer g.Close()
	on, err := g.words("cgroup.subtree_control")
	if err != nil {
		return err
	}
	var want []string
	for _, c := range controllers {
		if anyway || !slices.Contains(on, c) {
			want = append(want, "+"+c)
		}
	}
	if len(want) == 0 {
		return nil
	}
	err = g.Write("cgroup.subtree_control", strings.Join(want, " "))
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("cgroup controllers %v in %s: %w", controllers, g.path, guest.ErrUnsupported)
	}
	return err
}

// ancestors gives the groups above path, topmost first: "a/b/c" has ".", "a" and "a/b".
func ancestors(path string) []string {
	var up []string
	for path = filepath.Clean(path); path != "."; {
		path = filepath.Dir(path)
		up = append(up, path)
	}
	slices.Reverse(up)
	return up
}

// ExecLeaf is the group below a guest's own that a process entering the guest is put
// into when the guest's own group can take none.
const ExecLeaf = "vserver.exec"

// OpenExec opens the group that a process entering the guest of g must be cloned into.
//
// That is g itself, unless the guest has enabled controllers in it: a group with
// controllers for those below it may hold no process of its own ("no internal
// processes", cgroups(7)) and clone3 answers EBUSY. systemd as a guest's init does so
// wherever the v2 hierarchy has controllers. Then it is the group ExecLeaf below it,
// made when it is not there; Remove of g takes it away.
func OpenExec(g *Group) (*Group, error) {
	on, err := readAt(g.fd, "cgroup.subtree_control")
	if err != nil {
		return nil, g.fail("read", "cgroup.subtree_control", err)
	}
	name := "."
	if len(on) > 1 { // more than the newline
		name = ExecLeaf
		err := mkdir(g.fd, name, 0o755)
		if err != nil && err != unix.EEXIST {
			return nil, g.fail("mkdir", name, err)
		}
	}
	return g.below(name)
}

// words gives the words of one of the group's files.
func (g *Group) words(file string) ([]string, error) {
	text, err := g.Read(file)
	return strings.Fields(text), err
}
