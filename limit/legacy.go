package limit

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"syscall"

	"vserver/guest"
	"vserver/kernel/cgroup"
)

// legacy writes the settings to groups of the v1 hierarchies, which it makes, and
// then puts those of the given processes into them that are not there yet. The values
// come first, so that nothing is charged before they hold; all joins come last and
// together, so that the kernel's wait is paid once.
func legacy(cg cgroup.Host, path string, settings []setting, procs func() ([]int, error)) (joined bool, err error) {
	groups, err := open(cg, path, settings)
	defer closeAll(groups)
	if err != nil {
		return false, err
	}
	for i, s := range settings {
		err := widen(groups[i], s)
		if err == nil {
			err = groups[i].Write(s.oldFile, s.oldValue)
		}
		if err != nil && !(s.optional && errors.Is(err, fs.ErrNotExist)) {
			return false, fmt.Errorf("limits.%s: %w", s.name, busy(err))
		}
	}
	if len(groups) == 0 {
		return false, nil
	}
	all, err := procs()
	if err != nil {
		return false, err
	}
	n, err := join(groups, all)
	return n > 0, err
}

// widen makes room for another limit of memory, which cannot be above that of memory
// and swap.
func widen(g *cgroup.Group, s setting) error {
	if s.oldFile != "memory.limit_in_bytes" {
		return nil
	}
	if err := g.Write(memsw, "-1"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// open makes and opens the v1 group of each setting.
func open(cg cgroup.Host, path string, settings []setting) ([]*cgroup.Group, error) {
	var groups []*cgroup.Group
	for _, s := range settings {
		trees, err := cg.Legacy(s.controller)
		if err == nil && len(trees) == 0 {
			err = missing(s)
		}
		if err != nil {
			return groups, err
		}
		g, err := trees[0].Create(path)
		if err != nil {
			return groups, err
		}
		groups = append(groups, g)
	}
	return groups, nil
}

func closeAll(groups []*cgroup.Group) {
	for _, g := range groups {
		g.Close()
	}
}

// join puts the processes into each of the groups that does not have them, and gives
// how many moves that took. Processes that have ended meanwhile are no matter.
func join(groups []*cgroup.Group, pids []int) (moves int, err error) {
	for _, g := range groups {
		inside, err := g.Procs()
		if err != nil {
			return moves, err
		}
		for _, pid := range pids {
			if _, there := slices.BinarySearch(inside, pid); there {
				continue
			}
			err := g.Write("cgroup.procs", strconv.Itoa(pid))
			if err != nil && !errors.Is(err, syscall.ESRCH) {
				return moves, err
			}
			moves++
		}
	}
	return moves, nil
}

// follow puts into the v1 groups what a running guest forked while its processes were
// being put there. The guest is made to stand still for it, or a fork bomb would run
// away from us for ever; one that an administrator froze stays so.
func follow(cg cgroup.Host, path string, settings []setting, g *cgroup.Group) error {
	frozen, err := g.Frozen()
	if err == nil && !frozen {
		// Not every process may be able to stand still now (guest.ErrBusy): those that
		// sleep in the kernel do not fork either.
		if err = g.Freeze(true); err == nil || errors.Is(err, guest.ErrBusy) {
			_, err = legacy(cg, path, settings, g.Procs)
		}
		return errors.Join(err, g.Freeze(false))
	}
	if err == nil {
		_, err = legacy(cg, path, settings, g.Procs)
	}
	return err
}

// lift takes back limits that are no longer wanted, where they were set: a group that
// is not there has none.
func lift(cg cgroup.Host, g *cgroup.Group, path string, l guest.Limits) error {
	_, lifted := settings(l)
	rest, err := write(g, lifted)
	if err != nil {
		return err
	}
	for _, s := range rest {
		trees, err := cg.Legacy(s.controller)
		if err != nil {
			return err
		}
		for _, tree := range trees {
			if err := liftOld(tree, path, s); err != nil {
				return err
			}
		}
	}
	return nil
}

func liftOld(tree cgroup.Hierarchy, path string, s setting) error {
	g, err := tree.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer g.Close()
	err = errors.Join(widen(g, s), g.Write(s.oldFile, s.oldValue))
	if s.optional && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// busy names the reason for which a v1 memory limit below what is in use is refused.
func busy(err error) error {
	if errors.Is(err, syscall.EBUSY) {
		return fmt.Errorf("%w: more is in use", err)
	}
	return err
}
