package host

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"vserver/fault"
	"vserver/guest"
	"vserver/host/disk"
	"vserver/host/network"
	"vserver/host/reclaim"
	"vserver/host/state"
	"vserver/host/usage"
	"vserver/kernel/cgroup"
	"vserver/limit/count"
	"vserver/store"
)

// Names gives the guests of this host, sorted: those that have a spec.
func (h *Host) Names() ([]guest.Name, error) { return store.Names(h.Dirs.Config) }

// Load reads a guest's spec, defaults filled in.
func (h *Host) Load(n guest.Name) (*guest.Spec, error) { return state.Load(h.Dirs, n) }

// Status says how a guest is. The error is guest.ErrNotFound when there is none; a
// guest whose spec cannot be read is guest.Broken.
func (h *Host) Status(n guest.Name) (guest.Status, error) {
	cg, err := cgroup.Find()
	if err != nil {
		return guest.Status{}, fault.New(string(n), "status", err)
	}
	hits := count.OpenRefused(h.Dirs)
	defer hits.Close()
	st := h.status(asked{cg, hits, true}, n)
	if errors.Is(st.err, guest.ErrNotFound) && st.State == guest.Broken {
		return guest.Status{}, fault.New(string(n), "status", guest.ErrNotFound)
	}
	if v, err := state.Mounted(h.Dirs, n); v != nil {
		st.Mounted = &guest.RootMount{Dir: v.Dir, Writable: v.Writable, Process: v.Process, Lost: v.Lost}
	} else if err != nil && st.Problem == "" {
		st.Problem = err.Error()
	}
	if spec, err := h.Load(n); err == nil {
		if st.Disk, err = disk.Status(h.Dirs, n, spec); err != nil && st.Problem == "" {
			st.Problem = err.Error()
		}
	}
	return st.Status, nil
}

// List says how all guests are, sorted by name. Unless it is the whole that is wanted, it
// leaves out what takes more than half of its time: how much of its limits a guest uses,
// how often it was killed for want of memory, its processes, network and last end, and
// whether something is the matter with one that runs.
func (h *Host) List(whole bool) ([]guest.Status, error) {
	names, err := h.Names()
	if err != nil {
		return nil, err
	}
	cg, err := cgroup.Find()
	if err != nil {
		return nil, err
	}
	by := asked{cg: cg, whole: whole}
	if whole {
		by.hits = count.OpenRefused(h.Dirs)
		defer by.hits.Close()
	}
	out := make([]guest.Status, len(names))
	var all sync.WaitGroup
	const workers = 4
	for w := range workers {
		all.Go(func() {
			for i := w; i < len(names); i += workers {
				out[i] = h.status(by, names[i]).Status
			}
		})
	}
	all.Wait()
	// One that went meanwhile is no guest any more.
	return slices.DeleteFunc(out, func(s guest.Status) bool { return s.State == "" }), nil
}

// asked is what is asked for a status.
type asked struct {
	cg    cgroup.Host
	hits  *count.Refused
	whole bool // see List
}

// condition is a status with the error that made the guest broken.
type condition struct {
	guest.Status
	err error
}

func (h *Host) status(by asked, n guest.Name) condition {
	st := condition{Status: guest.Status{Name: n, State: guest.Stopped}}
	spec, err := h.Load(n)
	if err != nil {
		st.err, st.State, st.Problem = err, guest.Broken, err.Error()
	} else {
		st.XID, st.Hostname = spec.XID, spec.Hostname
		st.Mode, st.Addresses = spec.Network.Mode, spec.Network.Prefixes()
	}
	h.life(by, &st)
	if !by.whole {
		return st
	}
	if st.State != guest.Stopped && st.Problem == "" && spec != nil {
		st.Problem = network.Unfiltered(h.Dirs, n, spec)
	}
	if st.LastExit, err = state.LastEnd(h.Dirs, n, st.State == guest.Running || st.State == guest.Frozen); err != nil && st.Problem == "" {
		st.Problem = err.Error()
	}
	if st.State == guest.Stopped {
		if st.Again, _, err = state.Again(h.Dirs, n); err != nil && st.Problem == "" {
			st.Problem = err.Error()
		}
	}
	return st
}

// life fills in what the kernel says of the guest.
func (h *Host) life(by asked, st *condition) {
	g, err := by.cg.Open(h.Dirs.Group(st.Name))
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
	st.State, st.Cgroup = guest.Running, filepath.Join(by.cg.Unified.Mount, h.Dirs.Group(st.Name))
	if frozen, err := g.Frozen(); err == nil && frozen {
		st.State = guest.Frozen
	}
	if by.whole {
		h.use(by.cg, g, st)
	}
	was, err := state.ReadNote(h.Dirs, st.Name)
	if err != nil || was == nil {
		st.Problem = "runs, but nothing is noted of its init"
		return
	}
	st.XID, st.InitPID, st.Started = was.XID, was.PID, was.Started
	st.UptimeS = time.Since(was.Started).Seconds()
	st.Addresses = (&guest.Network{Addresses: was.Addrs}).Prefixes()
	leased, problem := network.Lease(h.Dirs, st.Name, was)
	st.Addresses = append(st.Addresses, leased...)
	if by.whole {
		h.network(st, g, was, problem)
		st.Limits = by.hits.Ceilings(g, was.Userns, was.Rights.Nesting, was.Ceilings, st.Limits)
	}
}

// use fills in what a guest that runs uses.
func (h *Host) use(cg cgroup.Host, g *cgroup.Group, st *condition) {
	st.Limits = count.Pools(cg, h.Dirs.Group(st.Name))
	if pids, err := g.Procs(); err == nil {
		st.Processes = len(pids)
		st.Limits = append(st.Limits, usage.Held(pids)...)
	}
	st.OOMKills = cgroup.OOMKills(h.Dirs.Group(st.Name))[0]
	st.Reclaimed = reclaim.Taken(h.Dirs, st.Name)
}

// network fills in what is told of the network of a guest that runs, and what is the matter with its lease.
func (h *Host) network(st *condition, g *cgroup.Group, was *state.Note, lease string) {
	var err error
	if st.Net, err = network.Status(h.Dirs, g, st.Cgroup, was); err != nil {
		st.Problem = "network: " + err.Error()
	}
	if lease != "" && st.Problem == "" {
		st.Problem = "network: " + lease
	}
	if st.Net != nil {
		st.Limits = append(st.Limits, st.Net.Limits...)
	}
	if !was.Hidden {
		return
	}
	if pids, err := g.Servers(); err == nil && len(pids) == 0 && st.Problem == "" {
		st.Problem = "nobody hands sockets to it; vserverd or a restart of the guest mends that"
	}
}

// Wait waits until a guest no longer runs.
func (h *Host) Wait(ctx context.Context, n guest.Name) error {
	cg, err := cgroup.Find()
	if err != nil {
		return fault.New(string(n), "wait", err)
	}
	g, err := cg.Open(h.Dirs.Group(n))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fault.New(string(n), "wait", err)
	}
	defer g.Close()
	return fault.New(string(n), "wait", g.WaitEmpty(ctx))
}
