package limit

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"vserver/fault"
	"vserver/guest"
	"vserver/kernel/cgroup"
)

// change is one change of a guest's limits. It remembers what was there.
type change struct {
	cg   cgroup.Host
	path string
	g    *cgroup.Group   // of v2
	old  []*cgroup.Group // of v1
	made []*cgroup.Group // those of old that were not there
	undo []func() error
}

// all sets what is set and lifts what is lifted.
func (c *change) all(l lists) error {
	rest, err := c.unified(l.set)
	if err != nil {
		return err
	}
	joined, err := c.legacy(rest, c.g.Procs)
	if err == nil && joined {
		err = c.follow()
	}
	if err != nil {
		return err
	}
	return c.lift(l.lifted)
}

// back makes everything as it was, last things first.
func (c *change) back() error {
	var errs []error
	for _, undo := range slices.Backward(c.undo) {
		errs = append(errs, undo())
	}
	for _, g := range c.made {
		if err := g.Remove(); err != nil && !errors.Is(err, guest.ErrBusy) { // it bounds nothing, and goes with the guest
			errs = append(errs, err)
		}
	}
	if len(c.made) > 0 {
		errs = append(errs, c.prune())
	}
	return errors.Join(errs...)
}

// prune removes the groups above that were made for those of the guest.
func (c *change) prune() error {
	trees, err := c.cg.Legacy(legacies()...)
	for _, tree := range trees {
		if above := filepath.Dir(c.path); above != "." {
			err = errors.Join(err, tree.Prune(above))
		}
	}
	return err
}

func (c *change) close() {
	for _, g := range c.old {
		g.Close()
	}
}

// unified writes the settings to the v2 group and gives those that no v2 controller is
// there for.
func (c *change) unified(settings []setting) ([]setting, error) {
	// The common case first: the controllers were enabled for another guest.
	rest, err := c.write(settings)
	if err != nil || len(rest) == 0 {
		return nil, err
	}
	have, err := c.cg.Controllers()
	if err != nil {
		return nil, err
	}
	var enable []string
	for _, s := range rest {
		if slices.Contains(have, s.controller) && !slices.Contains(enable, s.controller) {
			enable = append(enable, s.controller)
		}
	}
	if len(enable) > 0 {
		if err := c.cg.Enable(c.path, enable...); err != nil {
			return nil, err
		}
		if rest, err = c.write(rest); err != nil {
			return nil, err
		}
	}
	var old []setting
	for _, s := range rest {
		switch {
		case !slices.Contains(have, s.controller):
			old = append(old, s)
		case !s.optional && s.v2.file != "":
			return nil, unsupported(s, "this kernel has no "+s.v2.file)
		}
	}
	return old, nil
}

// write writes the settings whose files are there, and gives the others.
func (c *change) write(settings []setting) (rest []setting, err error) {
	var here []string // controllers
	for _, s := range settings {
		if s.v2.file == "" {
			rest = append(rest, s)
			continue
		}
		err := c.put(c.g, s.v2, s.ready)
		if err == nil && s.held != nil {
			err = s.held(c.g)
		}
		switch {
		case errors.Is(err, fs.ErrNotExist):
			rest = append(rest, s)
		case err != nil:
			return nil, fmt.Errorf("limits.%s: %w", s.name, err)
		default:
			here = append(here, s.controller)
		}
	}
	return slices.DeleteFunc(rest, func(s setting) bool { return s.v2.file == "" && slices.Contains(here, s.controller) }), nil
}

// put makes a file of a group say a value, if it does not already.
func (c *change) put(g *cgroup.Group, v value, ready func(*cgroup.Group) error) error {
	now, err := g.Read(v.file)
	if err != nil {
		return err
	}
	list := v.writes(now)
	if len(list) == 0 {
		return nil
	}
	if ready != nil {
		if err := ready(g); err != nil {
			return err
		}
	}
	if v.first != nil {
		if err := c.put(g, *v.first, nil); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, w := range list {
		err := g.Write(v.file, w.text)
		if w.text == "" && errors.Is(err, syscall.ENOSPC) {
			err = inherit(g, v.file)
		}
		if errors.Is(err, syscall.EBUSY) {
			return fmt.Errorf("%w: more is in use", err)
		}
		if strings.HasPrefix(v.file, "cpuset.") && (errors.Is(err, syscall.ERANGE) || errors.Is(err, syscall.EINVAL)) {
			return beyond(g, v.file, w.text, err)
		}
		if err != nil {
			return err
		}
		c.undo = append(c.undo, func() error { return g.Write(v.file, w.back) })
	}
	return nil
}

// unsupported is the error for a limit that this host cannot hold.
func unsupported(s setting, why string) error {
	err := fmt.Errorf("limits.%s: %s: %w", s.name, why, guest.ErrUnsupported)
	if s.instead == "" {
		return fault.Hint(err, "vserver check tells which controllers this host has")
	}
	return fault.Hint(err, "nearest: "+s.instead)
}

// inherit gives the group what the one above it has of processors or nodes. With
// processes in it, it cannot go back to having none of its own (seen on 6.1).
func inherit(g *cgroup.Group, file string) error {
	text, err := above(g, file+".effective")
	if err != nil {
		return err
	}
	return g.Write(file, text)
}
