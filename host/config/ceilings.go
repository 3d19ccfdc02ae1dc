package config

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"syscall"

	"vserver/guest"
	"vserver/host/inside"
	"vserver/host/state"
	"vserver/kernel/mount"
	"vserver/kernel/ns"
	"vserver/kernel/pty"
	"vserver/rootfs"
	"vserver/spawn"
	"vserver/vcontext"
)

// ceilingsPath is the setting whose single values relimit says apart: a running guest
// gets most of them at once.
const ceilingsPath = "limits.ceilings"

// receil gives a guest that runs those ceilings of a spec that old has otherwise and a
// user namespace holds; those of control groups come with the other limits. It says which
// the guest gets only when it is started again. With an error all are as they were; old is
// nil when nobody knows how.
func receil(d guest.Dirs, n guest.Name, was *state.Note, old, spec *guest.Spec) (wait []string, err error) {
	from := old
	if from == nil {
		from = new(guest.Spec)
	}
	if err := inside.Rlimits(&from.Limits, &spec.Limits); err != nil {
		return nil, err
	}
	var names, got []string
	terminals := false
	for _, c := range guest.Ceilings() {
		most := spec.Limits.Ceilings[c.Name]
		switch {
		case most == from.Limits.Ceilings[c.Name]:
		case was == nil, !c.Live(), c.Name == "user_namespaces" && most > 1 && !was.Rights.Nesting:
			wait = append(wait, ceilingsPath+"."+c.Name)
		default:
			got = append(got, c.Name)
			terminals = terminals || c.Name == "ptys"
			if !c.Shared {
				names = append(names, c.Name)
			}
		}
	}
	if terminals {
		if err := wire(was, spec); err != nil {
			return nil, fmt.Errorf("%s.ptys: %w", ceilingsPath, err)
		}
	}
	if err = reraise(was, spec, names); err == nil && len(got) > 0 {
		now := maps.Clone(was.Ceilings)
		for _, name := range got {
			now[name] = spec.Limits.Ceilings[name] // 0: the default
		}
		next := *was
		next.Ceilings = now
		err = next.Replace(state.NotePath(d, n))
	}
	if err == nil {
		return wait, nil
	}
	if old != nil {
		reraise(was, old, names) // comes as far as that did
		if terminals {
			wire(was, old)
		}
	}
	return nil, fmt.Errorf("%s: %w", ceilingsPath, err)
}

// reraise sets the ceilings of these names in the outer user namespace of a guest.
func reraise(was *state.Note, spec *guest.Spec, names []string) error {
	if len(names) == 0 {
		return nil
	}
	userns, err := outermost(was)
	if err != nil {
		return err
	}
	defer userns.Close()
	return raise(userns, was, spec, names)
}

// wire gives a guest that runs the number of terminals of a spec.
func wire(was *state.Note, spec *guest.Spec) error {
	devpts, err := pty.Guest(was.PID)
	if err != nil {
		return err
	}
	defer syscall.Close(devpts)
	if began, err := state.Born(was.PID); err != nil || began != was.Began {
		return errors.Join(err, guest.ErrStopped)
	}
	return rootfs.Terminals(devpts, was.Base, spec.Limits.Ceiling("ptys"))
}

// outermost opens the user namespace that holds the ceilings of a guest.
func outermost(was *state.Note) (*os.File, error) {
	userns, err := ns.Outermost(was.PID)
	if err != nil {
		return nil, err
	}
	if began, err := state.Born(was.PID); err != nil || began != was.Began {
		userns.Close()
		return nil, errors.Join(err, guest.ErrStopped)
	}
	return userns, nil
}

// raise sets the ceilings of these names, with the rights that the guest was started with.
func raise(userns *os.File, was *state.Note, spec *guest.Spec, names []string) error {
	proc, err := mount.New("proc", mount.NoSuid|mount.NoDev|mount.NoExec)
	if err != nil {
		return err
	}
	defer syscall.Close(proc)
	now := *spec
	now.Rights.Nesting = was.Rights.Nesting
	c, err := spawn.Start(vcontext.Raise(int(userns.Fd()), proc, &now, names), spawn.Options{Cgroup: -1})
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Finish(); err != nil {
		c.Kill()
		return err
	}
	ws, err := c.Wait()
	if err == nil && ws != 0 {
		err = fmt.Errorf("set ceilings: %w", os.ErrProcessDone)
	}
	return err
}
