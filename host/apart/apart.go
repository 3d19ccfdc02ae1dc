// Package apart bounds programs that read what strangers made: they run in a control group
// of their own, within the limits of the guest that it is for.
package apart

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"vserver/fault"
	"vserver/guest"
	"vserver/kernel/cgroup"
	"vserver/kernel/ns"
	"vserver/limit"
)

// Group is where they run. Nil is no bound.
type Group struct {
	cg   cgroup.Host
	path string
	own  *cgroup.Group
}

// prefix begins the name of such a group, which is no guest's; the process that made it comes
// next.
const prefix = ".apart."

// least is the least memory, in bytes, that they are left, however little the guest is to have:
// that and some page cache is what it takes to unpack.
const least = 128 << 20

// bounds are those of a guest's limits that are for them too, and that every host can hold.
func bounds(l guest.Limits) guest.Limits {
	own := guest.Limits{CPUs: l.CPUs, CPUBurst: l.CPUBurst, TokenBucket: l.TokenBucket, CPUShares: l.CPUShares, CPUIdle: l.CPUIdle,
		CPUSet: l.CPUSet, Mems: l.Mems, Memory: l.Memory, Pids: 128}
	if own.Memory > 0 {
		own.Memory = max(own.Memory, least)
	}
	return own
}

// Make makes a group for a guest with these limits, and sweeps those whose makers are dead.
// Nobody but root has one, and none where no guest could have one either: without cgroup v2, or where
// that cannot be written, as in most containers.
func Make(d guest.Dirs, l guest.Limits) (*Group, error) {
	cg, err := cgroup.Find()
	if os.Geteuid() != 0 || errors.Is(err, guest.ErrUnsupported) {
		return nil, nil
	}
	if err == nil {
		_, err = Sweep(d)
	}
	if err != nil {
		return nil, err
	}
	g := &Group{cg: cg, path: filepath.Join(d.Cgroup, fmt.Sprintf("%s%d.%s", prefix, os.Getpid(), rand.Text()[:8]))}
	g.own, err = cg.Create(g.path)
	if errors.Is(err, syscall.EROFS) || errors.Is(err, fs.ErrPermission) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if err := g.Bound(l); err != nil {
		return nil, errors.Join(err, g.Leave())
	}
	return g, nil
}

// Bound has them held by the limits of another guest.
func (g *Group) Bound(l guest.Limits) error {
	if g == nil {
		return nil
	}
	return limit.Change(g.cg, g.path, bounds(l))
}

// Start starts a program in the group.
func (g *Group) Start(cmd *exec.Cmd) error {
	if g == nil {
		return cmd.Start()
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, g.own.FD()
	files, err := limit.Joins(g.cg, g.path)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return cmd.Start()
	}
	// A child is born into the v1 groups of the thread that makes it, and a thread that moves
	// itself waits for nobody.
	return ns.Aside(func() error {
		for _, f := range files {
			if err := join(f); err != nil && !errors.Is(err, fs.ErrNotExist) { // no limit of ours is there
				return err
			}
		}
		return cmd.Start()
	})
}

// join moves the calling thread into a group of v1.
func join(tasks string) error {
	f, err := os.OpenFile(tasks, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString("0")
	return err
}

// Leave removes the group. Who is still in it is killed.
func (g *Group) Leave() error {
	if g == nil {
		return nil
	}
	err := g.own.Kill()
	g.own.Close()
	return errors.Join(err, remove(g.cg, g.path))
}

// Explain says of an error if memory was what they lacked.
func (g *Group) Explain(err error) error {
	if err == nil || g == nil || cgroup.OOMKills(g.path)[0] == 0 {
		return err
	}
	return fault.Hint(fmt.Errorf("%w: what reads it was killed for want of memory", err), "limits.memory of the guest is its limit too, from 128M on")
}

// kill kills who is in a group that is to be swept: who waits for a registry hears nothing of the end of
// its maker.
func kill(cg cgroup.Host, path string) error {
	g, err := cg.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // another has swept it
	}
	if err != nil {
		return err
	}
	defer g.Close()
	return g.Kill()
}

func remove(cg cgroup.Host, path string) error {
	return errors.Join(limit.Remove(cg, path), cg.Remove(path))
}

// Sweep removes the groups whose makers are dead, with who is in them, and tells whether there were any.
func Sweep(d guest.Dirs) (swept bool, err error) {
	cg, err := cgroup.Find()
	if errors.Is(err, guest.ErrUnsupported) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	list, err := os.ReadDir(filepath.Join(cg.Unified.Mount, d.Cgroup))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	for _, entry := range list {
		rest, ours := strings.CutPrefix(entry.Name(), prefix)
		maker, _, _ := strings.Cut(rest, ".")
		pid, perr := strconv.Atoi(maker)
		if !ours || perr != nil || syscall.Kill(pid, 0) != syscall.ESRCH {
			continue
		}
		swept = true
		path := filepath.Join(d.Cgroup, entry.Name())
		err = errors.Join(err, kill(cg, path), remove(cg, path))
	}
	return swept, err
}
