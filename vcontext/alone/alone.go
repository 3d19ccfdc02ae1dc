// Package alone is the security context without a guest: any command of the host apart
// from the other processes, as chcontext and vcontext do it.
//
// A context has a number and is a control group .xid-N, beside those of the guests or
// below that of the network context which its maker was in: a process of both keeps both.
// Its processes have the host's files and network, but see and signal only each other,
// and have a host name and SysV IPC of their own. The first process is the reaper, or
// with Config.Init the command itself; the context ends when the last process has ended
// that was not brought in by [Context.Join], for the kernel lets no pid namespace outlive
// its first process. Which group is whose stands in Run/xids/N; whether there is a
// context, the kernel knows.
package alone

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"vserver/guest"
	"vserver/kernel/cgroup"
	"vserver/kernel/file"
	"vserver/kernel/proc"
	"vserver/limit"
)

// prefix begins the names of the groups; no guest's name begins with a dot.
const prefix = ".xid-"

// lockWait bounds the wait for other tools that make or end contexts.
const lockWait = time.Minute

// Context is a context, open.
type Context struct {
	ID    guest.XID
	dirs  guest.Dirs
	cg    cgroup.Host
	group *cgroup.Group
}

// Create makes a context that nobody is in; with the number 0 one is chosen. The error
// is guest.ErrExists when the number has one. Close and, unless a process runs in it,
// End must follow.
func Create(d guest.Dirs, id guest.XID) (*Context, error) {
	unlock, err := lock(d)
	if err != nil {
		return nil, err
	}
	defer unlock()
	cg, err := cgroup.Find()
	if err != nil {
		return nil, err
	}
	if err := sweepAll(d, cg); err != nil {
		return nil, err
	}
	if id == 0 {
		if id, err = free(d); err != nil {
			return nil, err
		}
	}
	if id < guest.MinXID || id > guest.LastXID {
		return nil, fmt.Errorf("security context %d: want %d to %d: %w", id, guest.MinXID, guest.LastXID, guest.ErrInvalid)
	}
	if err := sweep(d, cg, id); err != nil {
		return nil, err
	}
	x := &Context{ID: id, dirs: d, cg: cg}
	path := filepath.Join(above(d), prefix+strconv.Itoa(int(id)))
	if err := file.Replace(x.note(), []byte(path+"\n"), 0o600); err != nil {
		return nil, err
	}
	if x.group, err = cg.Create(path); err != nil {
		return nil, errors.Join(err, os.Remove(x.note()))
	}
	if err := x.group.Share(); err != nil { // from who ends what is empty
		return nil, errors.Join(err, x.Close())
	}
	return x, nil
}

// Open opens a context. The error is guest.ErrNotFound when there is none.
func Open(d guest.Dirs, id guest.XID) (*Context, error) {
	x := &Context{ID: id, dirs: d}
	path, err := x.path()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("security context %d: %w", id, guest.NoSuch("context"))
	}
	if err != nil {
		return nil, err
	}
	if x.cg, err = cgroup.Find(); err != nil {
		return nil, err
	}
	if x.group, err = x.cg.Open(path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("security context %d: %w", id, guest.NoSuch("context"))
	}
	return x, err
}

// List gives the numbers of the contexts that there are, with some that have just ended.
func List(d guest.Dirs) (ids []guest.XID) {
	entries, _ := os.ReadDir(filepath.Join(d.Run, "xids"))
	for _, e := range entries {
		if id, err := strconv.ParseUint(e.Name(), 10, 16); err == nil {
			ids = append(ids, guest.XID(id))
		}
	}
	return ids
}

// Close closes the context, which stays.
func (x *Context) Close() error { return x.group.Close() }

// End ends the context if no process is in it any more. What stands for all guests and
// contexts stays.
func (x *Context) End() error {
	unlock, err := lock(x.dirs)
	if err != nil {
		return err
	}
	defer unlock()
	return errors.Join(cgroup.Unshare(x.group), sweepAll(x.dirs, x.cg))
}

// Signal sends a signal to processes of the context, by their pids on the host; without
// any to all of them. The error is syscall.ESRCH for a process that is not of it.
func (x *Context) Signal(sig syscall.Signal, pids ...int) error {
	all, err := x.group.Procs()
	if err != nil {
		return err
	}
	if len(pids) == 0 {
		if sig == syscall.SIGKILL {
			return x.group.Kill()
		}
		pids = all
	}
	in := make(map[int]bool, len(all))
	for _, pid := range all {
		in[pid] = true
	}
	var errs []error
	for _, pid := range pids {
		err := error(syscall.ESRCH)
		if in[pid] {
			err = syscall.Kill(pid, sig)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("process %d: %w", pid, err))
		}
	}
	return errors.Join(errs...)
}

// Wait waits until no process is in the context.
func (x *Context) Wait(ctx context.Context) error { return x.group.WaitEmpty(ctx) }

// Path is the place of the context's control group, as guest.Dirs.Group gives a guest's.
func (x *Context) Path() (string, error) { return x.path() }

// First is the host's pid of the first process, with which the context ends.
func (x *Context) First() (int, error) {
	pids, err := x.group.Procs()
	if err != nil {
		return 0, err
	}
	p, err := proc.Open()
	if err != nil {
		return 0, err
	}
	defer p.Close()
	for _, pid := range pids {
		st, err := p.Status(pid)
		if n := len(st.NSPIDs); err == nil && n > 1 && st.NSPIDs[n-1] == 1 {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("security context %d: %w", x.ID, guest.NoSuch("context"))
}

func (x *Context) note() string {
	return filepath.Join(x.dirs.Run, "xids", strconv.Itoa(int(x.ID)))
}

// path reads the place of the context's group.
func (x *Context) path() (string, error) {
	text, err := os.ReadFile(x.note())
	path := strings.TrimSpace(string(text))
	if err == nil && (!filepath.IsLocal(path) || !strings.HasPrefix(filepath.Base(path), prefix)) {
		err = fmt.Errorf("%s: %w", x.note(), guest.ErrInvalid)
	}
	return path, err
}

// Own tells the number of the context that this process is in, 0 when it is in none.
func Own(d guest.Dirs) guest.XID {
	text, _ := os.ReadFile("/proc/self/cgroup")
	return Of(d, string(text))
}

// Of is Own for the process of whose /proc/PID/cgroup that is the text.
func Of(d guest.Dirs, groups string) guest.XID {
	for line := range strings.Lines(groups) {
		path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::/"+d.Cgroup+"/")
		i := strings.LastIndex("/"+path, "/"+prefix)
		if !ok || i < 0 {
			continue
		}
		word, _, _ := strings.Cut(path[i+len(prefix):], "/")
		if id, err := strconv.ParseUint(word, 10, 16); err == nil {
			return guest.XID(id)
		}
	}
	return 0
}

// above is the group in which those of new contexts are made.
func above(d guest.Dirs) string {
	text, _ := os.ReadFile("/proc/self/cgroup")
	for line := range strings.Lines(string(text)) {
		path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::/"+d.Cgroup+"/.nid-")
		if ok {
			nid, _, _ := strings.Cut(path, "/")
			return d.Cgroup + "/.nid-" + nid
		}
	}
	return d.Cgroup
}

// sweep takes away what is left of a context that has ended. The error is
// guest.ErrExists when it has not.
func sweep(d guest.Dirs, cg cgroup.Host, id guest.XID) error {
	x := &Context{ID: id, dirs: d, cg: cg}
	path, err := x.path()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	switch gone, err := prune(cg, path); {
	case err != nil:
		return err
	case !gone:
		return fmt.Errorf("security context %d: %w", id, guest.ErrExists)
	}
	if err := limit.Remove(cg, path); err != nil {
		return err
	}
	return os.Remove(x.note())
}

// prune removes a group that nobody is in, or about to be in, and tells whether there is
// none now.
func prune(cg cgroup.Host, path string) (gone bool, err error) {
	g, err := cg.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer g.Close()
	if err := g.Seize(); err != nil {
		if errors.Is(err, guest.ErrBusy) {
			err = nil
		}
		return false, err
	}
	if err := cg.Unified.Prune(path); err != nil {
		return false, err
	}
	there, err := file.Exists(filepath.Join(cg.Unified.Mount, path))
	return !there, err
}

// sweepAll takes away what is left of all contexts that have ended.
func sweepAll(d guest.Dirs, cg cgroup.Host) error {
	var errs []error
	for _, id := range List(d) {
		if err := sweep(d, cg, id); err != nil && !errors.Is(err, guest.ErrExists) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// free gives the lowest number that has no context.
func free(d guest.Dirs) (guest.XID, error) {
	for id := guest.DynamicXID; id <= guest.LastXID; id++ {
		if _, err := os.Stat((&Context{ID: id, dirs: d}).note()); errors.Is(err, fs.ErrNotExist) {
			return id, nil
		}
	}
	return 0, fmt.Errorf("security contexts: all numbers are taken: %w", guest.ErrBusy)
}

func lock(d guest.Dirs) (unlock func(), err error) {
	l, err := file.LockDir(filepath.Join(d.Run, "xids"), lockWait)
	if err != nil {
		return nil, err
	}
	return func() { l.Unlock() }, nil
}
