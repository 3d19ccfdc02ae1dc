package probe

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"vserver/kernel/cgroup"
	"vserver/kernel/ns"
)

// ground is what several probes stand on, made when the first of them asks.
type ground struct {
	dir   string // where guests' files lie
	cg    cgroup.Host
	group *cgroup.Group // of our own
	path  string        // of the group
}

// cgroups gives the host's hierarchies and a group that is removed at the end.
func (g *ground) cgroups() (*cgroup.Group, error) {
	if g.group != nil {
		return g.group, nil
	}
	if os.Geteuid() != 0 {
		return nil, errRoot
	}
	var err error
	if g.cg, err = cgroup.Find(); err != nil {
		return nil, err
	}
	g.path = fmt.Sprintf("vserver-probe-%d", os.Getpid())
	g.group, err = g.cg.Create(g.path)
	return g.group, err
}

func (g *ground) close() {
	if g.group != nil {
		g.group.Close()
		g.cg.Remove(g.path)
	}
}

// clones says whether a process can be cloned in this way. The child finds that the
// root directory is no program, and is gone; when the kernel refuses the clone
// itself, its reason is another.
func clones(attr *syscall.SysProcAttr) error {
	p, err := os.StartProcess("/", []string{"/"}, &os.ProcAttr{Sys: attr})
	if err == nil {
		p.Kill()
		p.Wait()
		return nil
	}
	if errors.Is(err, syscall.EACCES) {
		return nil
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

// held starts this very program in a new user namespace in which it is the user 0 of a
// guest, and calls do with its pid. It is held before its first instruction, by
// ptrace(2), and killed afterwards.
func held(do func(pid int) error) error {
	if os.Geteuid() != 0 {
		return errRoot
	}
	runtime.LockOSThread() // the tracer is a thread
	defer runtime.UnlockOSThread()
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}, {ContainerID: 1, HostID: probeID, Size: 1}}
	p, err := os.StartProcess("/proc/self/exe", []string{"held"}, &os.ProcAttr{Sys: &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids, Ptrace: true, Pdeathsig: syscall.SIGKILL,
	}})
	if err != nil {
		return err
	}
	defer func() {
		p.Kill()
		p.Wait()
	}()
	return do(p.Pid)
}

// probeID is a user id of the host that stands for one of a guest.
const probeID = 524288

// apart is ns.Apart for those who may.
func apart(flags int, do func() error) error {
	if os.Geteuid() != 0 {
		return errRoot
	}
	return ns.Apart(flags, do)
}

// call makes a system call for its error only.
func call(nr, a, b, c uintptr) error {
	for {
		_, _, errno := unix.Syscall(nr, a, b, c)
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return errno
		}
	}
}
