package limit

import (
	"errors"
	"io/fs"
	"strconv"

	"vserver/kernel/cgroup"
)

// Weigh gives a guest that runs a weight of processor time. On a host with v1 controllers
// one without a group of the controller cpu gets it.
func Weigh(cg cgroup.Host, path string, w float64) error {
	g, err := cg.Open(path)
	if err != nil {
		return err
	}
	defer g.Close()
	c := &change{cg: cg, path: path, g: g}
	defer c.close()
	s := weight("cpu_reserved", int(w+0.5))
	s.v1.text = strconv.Itoa(shares(w))
	rest, err := c.unified([]setting{s})
	if err != nil {
		return err
	}
	joined, err := c.legacy(rest, g.Procs)
	if err == nil && joined {
		err = c.follow()
	}
	if len(c.made) == 0 {
		return err
	}
	// Whoever ended meanwhile has swept its v1 groups before this one was made.
	if on, err := g.Occupied(); err == nil && !on {
		return Remove(cg, path)
	}
	return err
}

// Protect lets the group of all guests keep what is promised to some of them: the kernel
// protects a group no more than those above it.
func Protect(cg cgroup.Host, parent string, kept, low int64) error {
	g, err := cg.Open(parent)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer g.Close()
	c := &change{g: g}
	for _, v := range []value{{file: "memory.min", text: strconv.FormatInt(kept, 10)}, {file: "memory.low", text: strconv.FormatInt(low, 10)}} {
		if err := c.put(g, v, nil); err != nil && !errors.Is(err, fs.ErrNotExist) { // no controller, nothing promised
			return err
		}
	}
	return nil
}
