// Package limit bounds what a guest uses of the machine by cgroups: memory, processor
// time, processes, and the groups that it makes itself.
//
// On a host with cgroup v2 the limits are values in the guest's own group. The
// controllers are enabled above it when a limit asks for one, not before. On a hybrid
// host, whose controllers are with cgroup v1, the guest gets a group of the same name
// in the hierarchy of each controller that a limit asks for, and its first process
// joins them itself: that waits for nobody, while the first write of a process's number
// to a cgroup.procs waits 6 to 12 ms for the kernel (KERNEL.md: an RCU grace period). A
// guest without such limits has no v1 group and pays nothing.
//
// A guest with a limit of memory gets no swap beside it unless that is asked for, as far
// as the kernel counts swap: cgroup v2 does, v1 where it was booted with swapaccount=1.
//
// The one limit that every guest has is that of its processes. It is kept from costing
// a hybrid host a group by Nproc.
package limit

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"vserver/guest"
	"vserver/kernel/cgroup"
)

// Nproc takes the ceiling of processes out of l when RLIMIT_NPROC should hold it
// instead of a cgroup, and gives it; 0 when a cgroup does.
//
// Since Linux 5.14 the limit that is in force when a process outside the initial user
// namespace makes another one bounds all processes in that namespace and those made in
// it, together, whatever their users; nothing inside can lift it. It costs two system
// calls, against half a millisecond and more for a v1 group. But it cannot be changed while the guest
// runs. So it is used for the default number on hosts whose controller pids is not with
// v2; another number is a wish of somebody who may change it again.
//
// It is of no use for guests without a user namespace of their own.
func Nproc(cg cgroup.Host, l guest.Limits) (uint64, guest.Limits) {
	if l.Pids != guest.DefaultPids {
		return 0, l
	}
	if on, err := cg.Controllers(); err != nil || slices.Contains(on, "pids") {
		return 0, l
	}
	l.Pids = 0
	return guest.DefaultPids, l
}

// Prepared are the limits of a guest that starts: each is worked out once, for the groups
// that it joins before anything else and for its own.
type Prepared struct {
	cg    cgroup.Host
	path  string
	set   []setting
	below []value
}

// Prepare makes what the limits of a guest need of cgroup v1: a group in each hierarchy
// that holds one, with its values. It gives descriptors of the files into which the
// process that becomes the guest's first must write "0", to be held by them; the caller
// closes these. A limit of zero is none. The error is guest.ErrUnsupported when the host
// cannot hold one of them.
func Prepare(cg cgroup.Host, path string, l guest.Limits) (p Prepared, joins []int, err error) {
	all, err := settings(l)
	p = Prepared{cg: cg, path: path, set: all.set, below: subgroups(l)}
	if err != nil || len(all.set) == 0 {
		return p, nil, err
	}
	have, err := cg.Controllers()
	if err != nil {
		return p, nil, err
	}
	c := &change{cg: cg, path: path}
	defer c.close()
	old := slices.DeleteFunc(slices.Clone(all.set), func(s setting) bool { return slices.Contains(have, s.controller) })
	if _, err := c.legacy(old, func() ([]int, error) { return nil, nil }); err != nil {
		return p, nil, err
	}
	for _, g := range c.old {
		fd, err := g.Tasks()
		if err != nil {
			CloseJoins(joins)
			return p, nil, err
		}
		joins = append(joins, fd)
	}
	return p, joins, nil
}

// Check gives the error of Prepare for limits that this kind of host cannot hold. Nothing is
// made or changed.
func Check(cg cgroup.Host, l guest.Limits) error {
	all, err := settings(l)
	if err != nil {
		return err
	}
	have, err := cg.Controllers()
	if err != nil {
		return err
	}
	_, err = (&change{cg: cg}).trees(slices.DeleteFunc(all.set, func(s setting) bool { return slices.Contains(have, s.controller) }))
	return err
}

// CloseJoins closes what Prepare gave.
func CloseJoins(joins []int) {
	for _, fd := range joins {
		syscall.Close(fd)
	}
}

// Apply sets the limits of the guest in its own group, which has just been made: those
// that Prepare has not set. The error is guest.ErrUnsupported when the host cannot hold
// one of them.
func (p Prepared) Apply() error {
	g, err := p.cg.Open(p.path)
	if err != nil {
		return err
	}
	defer g.Close()
	for _, v := range p.below {
		if err := g.Write(v.file, v.text); err != nil {
			return err
		}
	}
	c := &change{cg: p.cg, path: p.path, g: g}
	defer c.close()
	_, err = c.unified(p.set)
	return err
}

// Change gives a guest that may be running other limits; one that became zero is
// lifted. On a host with v1 controllers the guest's processes are put into the groups
// that are new, the guest standing still meanwhile. When one of the limits cannot be
// had, the error names it and all are as they were.
//
// A guest that was started with the ceiling of Nproc keeps it above what is set here.
func Change(cg cgroup.Host, path string, l guest.Limits) error {
	g, err := cg.Open(path)
	if err != nil {
		return err
	}
	defer g.Close()
	all, err := settings(l)
	if err != nil {
		return err
	}
	c := &change{cg: cg, path: path, g: g}
	defer c.close()
	err = c.all(all)
	for _, v := range subgroups(l) {
		if err == nil {
			err = c.put(g, v, nil)
		}
	}
	if err != nil {
		return errors.Join(err, c.back())
	}
	return nil
}

// legacies are the v1 controllers that hold limits.
func legacies() []string { return []string{"memory", "cpu", "pids", "cpuset", "blkio", "hugetlb"} }

// Joins gives the files into which a process that enters the guest must write "0", to
// be held by the guest's limits too: those of its v1 groups. Those are there that the
// guest has limits in; none on hosts with cgroup v2, where it is born into the guest's own
// group. The first write waits as in Apply.
func Joins(cg cgroup.Host, path string) ([]string, error) {
	trees, err := cg.Legacy(legacies()...)
	var files []string
	for _, tree := range trees {
		files = append(files, filepath.Join(tree.Mount, path, "tasks"))
	}
	return files, err
}

// Remove removes what Prepare and Change made beside the guest's own group: the groups
// in v1 hierarchies. It works from the name alone and may be called again.
func Remove(cg cgroup.Host, path string) error {
	trees, err := cg.Legacy(legacies()...)
	var errs []error
	for _, tree := range trees {
		if _, err := os.Lstat(filepath.Join(tree.Mount, path)); errors.Is(err, fs.ErrNotExist) {
			continue // as nearly always, and in a fifth of the time
		}
		err := tree.Remove(path)
		if err == nil && filepath.Dir(path) != "." {
			err = tree.Prune(filepath.Dir(path)) // another guest's group keeps it
		}
		errs = append(errs, err)
	}
	return errors.Join(append(errs, err)...)
}

// subgroups are the bounds of the groups that a guest makes below its own, and so of the
// kernel memory that they take, about 5 KiB each without controllers. The files that hold
// them are not given to the guest with the group.
func subgroups(l guest.Limits) []value {
	return []value{{file: "cgroup.max.descendants", text: strconv.Itoa(l.Ceiling("cgroups"))},
		{file: "cgroup.max.depth", text: strconv.Itoa(l.Ceiling("cgroup_depth"))}}
}
