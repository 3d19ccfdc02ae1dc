package host

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"vserver/fault"
	"vserver/guest"
	"vserver/kernel/cgroup"
	"vserver/kernel/pidfd"
	"vserver/kernel/proc"
	"vserver/ncontext"
	"vserver/store"
)

// Names gives the guests of this host, sorted: those that have a spec.
func (h *Host) Names() ([]guest.Name, error) { return store.Names(h.Dirs.Config) }

// Load reads a guest's spec, defaults filled in.
func (h *Host) Load(n guest.Name) (*guest.Spec, error) {
	spec, err := store.Load(h.Dirs.Spec(n))
	if err != nil {
		return nil, err
	}
	full := spec.WithDefaults(n)
	return &full, nil
}

// Status says how a guest is. The error is guest.ErrNotFound when there is none; a
// guest whose spec cannot be read is guest.Broken.
func (h *Host) Status(n guest.Name) (guest.Status, error) {
	cg, err := cgroup.Find()
	if err != nil {
		return guest.Status{}, fault.New(string(n), "status", err)
	}
	st := h.status(cg, n)
	if errors.Is(st.err, guest.ErrNotFound) && st.State == guest.Broken {
		return guest.Status{}, fault.New(string(n), "status", guest.ErrNotFound)
	}
	return st.Status, nil
}

// List says how all guests are, sorted by name.
func (h *Host) List() ([]guest.Status, error) {
	names, err := h.Names()
	if err != nil {
		return nil, err
	}
	cg, err := cgroup.Find()
	if err != nil {
		return nil, err
	}
	out := make([]guest.Status, len(names))
	var all sync.WaitGroup
	const workers = 4
	for w := range workers {
		all.Go(func() {
			for i := w; i < len(names); i += workers {
				out[i] = h.status(cg, names[i]).Status
			}
		})
	}
	all.Wait()
	// One that went meanwhile is no guest any more.
	return slices.DeleteFunc(out, func(s guest.Status) bool { return s.State == "" }), nil
}

// condition is a status with the error that made the guest broken.
type condition struct {
	guest.Status
	err error
}

func (h *Host) status(cg cgroup.Host, n guest.Name) condition {
	st := condition{Status: guest.Status{Name: n, State: guest.Stopped}}
	spec, err := h.Load(n)
	if err != nil {
		st.err, st.State, st.Problem = err, guest.Broken, err.Error()
	} else {
		st.XID, st.Hostname = spec.XID, spec.Hostname
		st.Mode, st.Addresses = spec.Network.Mode, spec.Network.Prefixes()
	}
	h.life(cg, &st)
	if st.State != guest.Stopped && st.Problem == "" && spec != nil {
		st.Problem = h.unfiltered(n, spec)
	}
	if st.LastExit, err = h.lastEnd(n, st.State == guest.Running || st.State == guest.Frozen); err != nil && st.Problem == "" {
		st.Problem = err.Error()
	}
	return st
}

// life fills in what the kernel says of the guest.
func (h *Host) life(cg cgroup.Host, st *condition) {
	g, err := cg.Open(h.group(st.Name))
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		st.Problem = err.Error()
		return
	}
	defer g.Close()
	if full, err := g.Populated(); err != nil || !full {
		return
	}
	st.State, st.Cgroup = guest.Running, filepath.Join(cg.Unified.Mount, h.group(st.Name))
	if frozen, err := g.Frozen(); err == nil && frozen {
		st.State = guest.Frozen
	}
	if pids, err := g.Procs(); err == nil {
		st.Processes = len(pids)
	}
	was, err := h.readNote(st.Name)
	if err != nil || was == nil {
		st.Problem = "runs, but nothing is noted of its init"
		return
	}
	st.InitPID, st.Started = was.PID, was.Started
	switch was.Mode {
	case guest.NetShared:
		h.sharedStatus(st, was)
	case guest.NetPrivate:
		st.Net = h.privateStatus(g, was)
	}
	if was.Hidden {
		hiddenStatus(st, g)
	}
	st.UptimeS = time.Since(was.Started).Seconds()
}

// privateStatus is what a guest of mode private did in the network.
func (h *Host) privateStatus(g *cgroup.Group, was *note) *guest.NetStatus {
	from, err := ncontext.OpenUsage(h.Dirs)
	if err != nil {
		return nil
	}
	defer from.Close()
	d, err := proc.Open()
	if err != nil {
		return nil
	}
	defer d.Close()
	return netUsage(from, d, g, was)
}

// Wait waits until a guest no longer runs.
func (h *Host) Wait(ctx context.Context, n guest.Name) error {
	cg, err := cgroup.Find()
	if err != nil {
		return fault.New(string(n), "wait", err)
	}
	g, err := cg.Open(h.group(n))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fault.New(string(n), "wait", err)
	}
	defer g.Close()
	return fault.New(string(n), "wait", g.WaitEmpty(ctx))
}

// Kill sends a signal to processes of a guest, by their numbers in the guest; to its
// init when there are none. SIGKILL without numbers ends the whole guest at once.
func (h *Host) Kill(n guest.Name, sig guest.Signal, pids ...int) error {
	return fault.New(string(n), "kill", h.kill(n, sig, pids))
}

func (h *Host) kill(n guest.Name, sig guest.Signal, pids []int) error {
	cg, err := cgroup.Find()
	if err != nil {
		return err
	}
	g, err := cg.Open(h.group(n))
	if errors.Is(err, fs.ErrNotExist) {
		return h.absent(n)
	}
	if err != nil {
		return err
	}
	defer g.Close()
	if len(pids) == 0 {
		if syscall.Signal(sig) == syscall.SIGKILL {
			return g.Kill()
		}
		in, err := h.enter(n)
		if err != nil {
			return err
		}
		defer in.close()
		// A dead init that nobody has waited for yet takes signals, and heeds none.
		if dead, err := pidfd.Ended(in.pidfd); err != nil || dead {
			return errors.Join(err, guest.ErrStopped)
		}
		return in.signal(syscall.Signal(sig))
	}
	members, err := g.Procs()
	if err != nil {
		return err
	}
	return signalInside(members, pids, syscall.Signal(sig))
}

// absent tells a guest that is stopped from one that does not exist.
func (h *Host) absent(n guest.Name) error {
	if _, err := os.Stat(h.Dirs.Spec(n)); err != nil {
		return guest.ErrNotFound
	}
	return guest.ErrStopped
}
