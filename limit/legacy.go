package limit

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"vserver/guest"
	"vserver/kernel/cgroup"
	"vserver/spawn/freeze"
)

// legacy writes the settings to groups of the v1 hierarchies, which it makes, and
// then puts those of the given processes into them that are not there yet. The values
// come first, so that nothing is charged before they hold; all joins come last and
// together, so that the kernel's wait is paid once.
func (c *change) legacy(settings []setting, procs func() ([]int, error)) (joined bool, err error) {
	trees, err := c.trees(settings)
	if err != nil || len(trees) == 0 {
		return false, err
	}
	for controller, tree := range trees {
		g, err := c.create(tree)
		if err != nil {
			return false, err
		}
		if controller == "cpuset" {
			err = fill(tree, c.path)
		}
		for _, s := range settings {
			if err == nil && s.controller == controller {
				err = c.putOld(g, s)
			}
		}
		if err != nil {
			return false, err
		}
	}
	all, err := procs()
	if err != nil {
		return false, err
	}
	n, err := join(c.old, all)
	return n > 0, err
}

// trees gives the v1 hierarchies of the settings by controller, or says which of them
// cannot be held, before anything is changed.
func (c *change) trees(settings []setting) (map[string]cgroup.Hierarchy, error) {
	trees := map[string]cgroup.Hierarchy{}
	for _, s := range settings {
		if s.v1.file == elsewhere {
			continue
		}
		if _, known := trees[s.controller]; !known {
			list, err := c.cg.Legacy(inLegacy(s.controller))
			switch {
			case err != nil:
				return nil, err
			case len(list) == 0 && s.optional:
				continue
			case len(list) == 0:
				return nil, unsupported(s, "cgroup controller "+s.controller+" is missing")
			}
			trees[s.controller] = list[0]
		}
		if s.v1.file == "" && !s.optional {
			return nil, unsupported(s, "cgroup v1, which has the controller "+s.controller+" here, cannot hold it")
		}
	}
	return trees, nil
}

// inLegacy is the name of a controller in v1.
func inLegacy(controller string) string {
	if controller == "io" {
		return "blkio"
	}
	return controller
}

// create opens the guest's group in a v1 hierarchy, which is made if it is not there.
func (c *change) create(tree cgroup.Hierarchy) (*cgroup.Group, error) {
	g, err := tree.Open(c.path)
	fresh := errors.Is(err, fs.ErrNotExist)
	if fresh {
		g, err = tree.Create(c.path)
	}
	if err != nil {
		return nil, err
	}
	c.old = append(c.old, g)
	if fresh {
		c.made = append(c.made, g)
	}
	return g, nil
}

// putOld writes a setting to a v1 group.
func (c *change) putOld(g *cgroup.Group, s setting) error {
	if s.v1.file == "" || s.v1.file == elsewhere {
		return nil
	}
	err := c.put(g, s.v1, nil)
	switch {
	case !errors.Is(err, fs.ErrNotExist) && err != nil:
		return fmt.Errorf("limits.%s: %w", s.name, err)
	case err != nil && !s.optional:
		return unsupported(s, "this kernel has no "+s.v1.file)
	}
	return nil
}

// fill gives the groups on the way to path the processors and nodes of those above
// them: a v1 group without takes no process.
func fill(tree cgroup.Hierarchy, path string) error {
	if path == "." {
		return nil
	}
	if err := fill(tree, filepath.Dir(path)); err != nil {
		return err
	}
	g, err := tree.Open(path)
	if err != nil {
		return err
	}
	defer g.Close()
	up, err := g.Above()
	if err != nil {
		return err
	}
	defer up.Close()
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		has, err := g.Read(file)
		if err != nil || has != "" {
			if err != nil {
				return err
			}
			continue
		}
		text, err := up.Read(file)
		if err == nil {
			err = g.Write(file, text)
		}
		if err != nil {
			return err
		}
	}
	return nil
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
func (c *change) follow() error {
	again := func() error {
		pids, err := c.g.Procs()
		if err == nil {
			_, err = join(c.old, pids)
		}
		return err
	}
	release, err := freeze.Hold(c.g)
	// Not every process may be able to stand still now (guest.ErrBusy): those that
	// sleep in the kernel do not fork either.
	if err == nil || errors.Is(err, guest.ErrBusy) {
		err = again()
	}
	return errors.Join(err, release())
}

// lift takes back limits that are no longer wanted, where they were set: a group that
// is not there has none.
func (c *change) lift(lifted []setting) error {
	rest, err := c.write(lifted)
	if err != nil {
		return err
	}
	groups := map[string]*cgroup.Group{} // nil: has none
	for _, s := range rest {
		g, known := groups[s.controller]
		if !known {
			if g, err = c.openOld(s.controller); err != nil {
				return err
			}
			groups[s.controller] = g
		}
		if g == nil {
			continue
		}
		if s.inherit {
			if s.v1.text, err = above(g, s.v1.file); err != nil {
				return err
			}
		}
		s.optional = true // what is not there bounds nothing
		if err := c.putOld(g, s); err != nil {
			return err
		}
	}
	return nil
}

// openOld opens the guest's group in the v1 hierarchy of a controller; nil when there is
// none.
func (c *change) openOld(controller string) (*cgroup.Group, error) {
	trees, err := c.cg.Legacy(inLegacy(controller))
	if err != nil || len(trees) == 0 {
		return nil, err
	}
	g, err := trees[0].Open(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		c.old = append(c.old, g)
	}
	return g, err
}

// above reads a file of the group above.
func above(g *cgroup.Group, file string) (string, error) {
	up, err := g.Above()
	if err != nil {
		return "", err
	}
	defer up.Close()
	return up.Read(file)
}
