// Package state is what is known of a guest between two commands: its lock, the note
// that its start left, how it ended last, and what the kernel says of it. Truth is the
// kernel's: a guest runs when its control group has a process; a note that disagrees is
// not believed.
package state

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"vserver/guest"
	"vserver/kernel/cgroup"
	"vserver/kernel/file"
	"vserver/store"
)

// Load reads a guest's spec, defaults filled in.
func Load(d guest.Dirs, n guest.Name) (*guest.Spec, error) {
	spec, err := store.Load(d.Spec(n))
	if err != nil {
		return nil, err
	}
	if err := store.Numbers(d, n, spec); err != nil {
		return nil, err
	}
	full := spec.WithDefaults(n)
	return &full, nil
}

// Started is a guest's spec as far as undoing its start goes: with the network that it
// was started with. One that can no longer be read does not keep a guest from being
// taken down: what is undone follows from name and note. sure is whether it is known
// what network that was.
func Started(d guest.Dirs, n guest.Name) (spec *guest.Spec, sure bool) {
	spec, err := Load(d, n)
	was, noteErr := ReadNote(d, n)
	noted := noteErr == nil && was != nil
	if err != nil {
		spec = &guest.Spec{}
	}
	if noted {
		spec.XID = was.XID // by which what it has of the host's network is found
	}
	if !noted || was.Mode == "" {
		return spec, false
	}
	// The spec may have changed meanwhile.
	spec.Network.Mode, spec.Network.Addresses = was.Mode, was.Addrs
	return spec, true
}

// Runs tells whether a process of the guest lives.
func Runs(d guest.Dirs, n guest.Name) (bool, error) {
	cg, err := cgroup.Find()
	if err != nil {
		return false, err
	}
	g, err := cg.Open(d.Group(n))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer g.Close()
	return g.Populated()
}

// Grouped tells whether the guest has a control group, be there a process in it or not.
func Grouped(d guest.Dirs, n guest.Name) (bool, error) {
	cg, err := cgroup.Find()
	if err != nil {
		return false, err
	}
	return file.Exists(filepath.Join(cg.Unified.Mount, d.Group(n)))
}

// AllGrouped gives the guests that have a control group.
func AllGrouped(d guest.Dirs, cg cgroup.Host) ([]guest.Name, error) {
	top, err := cg.Open(d.Cgroup)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer top.Close()
	names, err := top.Children()
	var out []guest.Name
	for _, name := range names {
		if n, err := guest.ParseName(name); err == nil {
			out = append(out, n)
		}
	}
	return out, err
}

// Absent tells a guest that is stopped from one that does not exist: guest.ErrStopped
// or guest.ErrNotFound.
func Absent(d guest.Dirs, n guest.Name) error {
	if there, err := store.Exists(d.Spec(n)); err != nil || !there {
		return errors.Join(err, guest.ErrNotFound)
	}
	return guest.ErrStopped
}

// Born is when a process began, in ticks since boot. The error is fs.ErrNotExist when it
// is gone.
func Born(pid int) (uint64, error) {
	began, _, err := Look(pid)
	return began, err
}

// forkNoExec is PF_FORKNOEXEC of linux/sched.h: the process has executed nothing since
// it was cloned.
const forkNoExec = 0x40

// Look gives when a process began, and whether it has executed a program since it was
// cloned: fields 22 and 9 of /proc/PID/stat. The error is fs.ErrNotExist when it is gone.
func Look(pid int) (began uint64, executed bool, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, false, err
	}
	// The name in field 2 may hold blanks and brackets.
	rest := string(text[strings.LastIndexByte(string(text), ')')+1:])
	fields := strings.Fields(rest)
	if len(fields) < 20 {
		return math.MaxUint64, false, fmt.Errorf("/proc/%d/stat: %w", pid, guest.ErrInvalid)
	}
	flags, err := strconv.ParseUint(fields[6], 10, 32)
	if err != nil {
		return 0, false, err
	}
	began, err = strconv.ParseUint(fields[19], 10, 64)
	return began, flags&forkNoExec == 0, err
}
