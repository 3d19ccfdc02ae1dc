// Package hoard ends what takes of the host's memory what no limit of the kernel holds: locks
// on files. The kernel counts them for nobody (RLIMIT_LOCKS is not heeded since Linux 2.6, and their
// memory is no control group's), and a process can have as many as it finds the time to take.
package hoard

import (
	"cmp"
	"errors"
	"io/fs"
	"slices"
	"syscall"
	"time"

	"vserver/guest"
	"vserver/kernel/cgroup"
	"vserver/kernel/pidfd"
	"vserver/kernel/proc"
)

// Pause is the time between two looks; Rest is that after one at all processes, which found nobody
// to end: the locks are the host's own, or everybody's.
const (
	Pause = 2 * time.Second
	Rest  = 10 * time.Second
)

// Most is how many locks a guest may have: 96 MiB, at 192 bytes each. What is known to take many, file
// servers and databases, has some ten thousand.
const Most = 1 << 19

// Ended is a guest that had more, of whose processes some were killed.
type Ended struct {
	Guest  guest.Name
	Locks  int
	Killed int
}

// Look kills, in each guest that has more than most locks, those processes that have most of them, until
// half of that is left. As long as the whole machine has fewer it reads one file. Where the kernel does not
// tell how many there are, nobody looks. all tells that it has looked at all processes of the guests.
func Look(d guest.Dirs, names []guest.Name, most int) (list []Ended, all bool, err error) {
	p, err := proc.Open()
	if err != nil {
		return nil, false, err
	}
	defer p.Close()
	n, err := p.LockCount()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil || n <= most {
		return nil, false, err
	}
	cg, err := cgroup.Find()
	if err != nil {
		return nil, false, err
	}
	for _, n := range names {
		g, err := cg.Open(d.Group(n))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return list, false, err
		}
		e, err := end(p, g, most)
		g.Close()
		if err != nil {
			return list, false, err
		}
		if e.Guest = n; e.Killed > 0 {
			list = append(list, e)
		}
	}
	return list, true, nil
}

// holder is a process and its locks.
type holder struct{ pid, locks int }

func end(p *proc.Dir, g *cgroup.Group, most int) (e Ended, err error) {
	pids, err := g.Procs()
	if err != nil {
		return e, err
	}
	var all []holder
	for _, pid := range pids {
		n, _ := p.LocksOf(pid) // none of one that has ended
		all = append(all, holder{pid, n})
		e.Locks += n
	}
	if e.Locks <= most {
		return e, nil
	}
	slices.SortFunc(all, func(a, b holder) int { return cmp.Compare(b.locks, a.locks) })
	left := e.Locks
	for _, h := range all {
		if left <= most/2 {
			break
		}
		left -= h.locks
		if err := kill(g, h.pid); err != nil {
			return e, err
		}
		e.Killed++
	}
	return e, nil
}

// kill kills a process of the group, and no other that got its number.
func kill(g *cgroup.Group, pid int) error {
	fd, err := pidfd.Open(pid)
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	if pids, err := g.Procs(); err != nil || !slices.Contains(pids, pid) {
		return err
	}
	if err := pidfd.Signal(fd, syscall.SIGKILL); !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}
