package vcontext

import (
	"path"
	"strconv"
	"strings"

	"vserver/spawn"
)

// Place is where a mount that is not the guest's own appears in it.
type Place struct {
	Path string
	File bool // of one that is a file
}

// anteroom is a directory that every host has and nothing is needed from any more, for
// mounts on their way into a guest with a user namespace. The guest's root could make
// writable what was attached read-only in its own mount namespace, and open devices
// where that was ruled out. What a mount namespace gets from one of another user
// namespace keeps its attributes for good (mount_namespaces(7)); so such mounts are
// attached outside the guest's user namespace first. That costs a mount namespace, and
// only who has such mounts pays.
const anteroom = "/dev"

func anteroomOf(i int) string { return path.Join(anteroom, strconv.Itoa(i)) }

// lock attaches the mounts in the anteroom.
func (s *Start) lock(t *spawn.Table, made []spawn.Reg) {
	t.Private()
	t.Attach(t.NewFS("tmpfs", 0), anteroom)
	for i, p := range s.Places {
		at := anteroomOf(i)
		if p.File {
			t.Touch(at, 0o600)
		} else {
			t.Mkdir(at, 0o700)
		}
		t.Attach(made[i], at)
	}
}

// fetch takes the mounts from the anteroom, before the root changes. Without a user
// namespace n mounts come with those of Targets instead.
func (s *Start) fetch(t *spawn.Table) (made []spawn.Reg, n int) {
	if !s.Userns {
		return nil, len(s.Places)
	}
	for i := range s.Places {
		made = append(made, t.CloneAll(anteroomOf(i)))
	}
	return made, 0
}

// place attaches the mounts where the guest finds them.
func (s *Start) place(t *spawn.Table, made []spawn.Reg) {
	for i, p := range s.Places {
		for at, slash := range p.Path {
			if slash == '/' && at > 0 {
				t.Mkdir(p.Path[:at], 0o755)
			}
		}
		if p.File {
			t.Touch(p.Path, 0o644)
		} else {
			t.Mkdir(strings.TrimSuffix(p.Path, "/"), 0o755)
		}
		t.Attach(made[i], p.Path)
	}
}
