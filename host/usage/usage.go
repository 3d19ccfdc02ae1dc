// Package usage is what guests, and the host itself, use of the machine, as the kernel
// counts it.
package usage

import (
	"cmp"
	"errors"
	"io/fs"
	"slices"
	"strconv"
	"sync"
	"time"

	"vserver/guest"
	"vserver/host/network"
	"vserver/host/state"
	"vserver/kernel/cgroup"
	"vserver/kernel/proc"
	"vserver/limit/count"
	"vserver/ncontext"
	"vserver/vcontext/alone"
)

// Seconds is a time span that JSON has in seconds.
type Seconds time.Duration

// MarshalJSON writes the seconds, to the microsecond.
func (s Seconds) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, float64(time.Duration(s).Round(time.Microsecond).Microseconds())/1e6, 'f', -1, 64), nil
}

// Usage is what a guest, or the host itself, uses of the machine.
type Usage struct {
	XID       guest.XID  `json:"xid"`  // 0 for the host itself
	Name      guest.Name `json:"name"` // "" for the host itself and contexts without a guest
	Processes int        `json:"processes"`
	VSZ       int64      `json:"vsz"` // bytes of address space of all processes
	RSS       int64      `json:"rss"` // bytes in memory, what processes share counted for each
	// Memory is what the kernel counts against the guest's limit, page cache and kernel
	// memory included; 0 where no controller counts for the guest.
	Memory int64 `json:"memory,omitempty"`
	// Limits are what the guest has of what is limited, with how often it hit the limits.
	Limits []guest.Pool `json:"limits,omitempty"`
	// User and System are processor time: of a guest since its start, its ended
	// processes included; of the host, of those processes that live.
	User   Seconds `json:"user_s"`
	System Seconds `json:"system_s"`
	Uptime Seconds `json:"uptime_s"`
	// Net is what the guest did in the network, if that is its own or watched; nil of
	// the host, and of guests of modes host and none.
	Net *guest.NetStatus `json:"net,omitempty"`
}

// Process is a process of a guest.
type Process struct {
	PID   int        `json:"pid"`       // on the host
	Inner int        `json:"inner_pid"` // in the guest
	XID   guest.XID  `json:"xid"`
	Name  guest.Name `json:"name"` // of the guest, "" in a context without one
}

// scan asks the kernel about the processes of guests.
type scan struct {
	dirs guest.Dirs
	cg   cgroup.Host
	old  []cgroup.Hierarchy // that of the v1 memory controller, if any
	more *more              // nil: only what the processes tell
}

// more is what a scan asks beside the processes.
type more struct {
	net  *ncontext.Usage
	hits *count.Refused
}

// askMore has the scan ask more.
func (s *scan) askMore() error {
	net, err := ncontext.OpenUsage(s.dirs)
	if err == nil {
		s.more = &more{net, count.OpenRefused(s.dirs)}
	}
	return err
}

func (m *more) close() {
	m.net.Close()
	m.hits.Close()
}

func newScan(d guest.Dirs) (*scan, error) {
	cg, err := cgroup.Find()
	if err != nil {
		return nil, err
	}
	old, err := cg.Legacy("memory")
	return &scan{dirs: d, cg: cg, old: old}, err
}

// place is where the processes of a guest are, or those of a context without one.
type place struct {
	name  guest.Name // "" of a context
	xid   guest.XID  // of a context
	group string
}

// places are those of all guests and contexts.
func (s *scan) places() (list []place, err error) {
	names, err := state.AllGrouped(s.dirs, s.cg)
	for _, n := range names {
		list = append(list, place{name: n, group: s.dirs.Group(n)})
	}
	for _, id := range alone.List(s.dirs) {
		x, err := alone.Open(s.dirs, id)
		if err != nil {
			continue // gone
		}
		if path, err := x.Path(); err == nil {
			list = append(list, place{xid: id, group: path})
		}
		x.Close()
	}
	return list, err
}

// each calls look for the group of each guest that runs, in several goroutines, each
// with a /proc of its own. What look gives is collected; a guest that is gone by the
// time it is looked at is passed over.
func each[T any](s *scan, look func(*proc.Dir, *cgroup.Group, place) ([]T, error)) ([]T, error) {
	places, err := s.places()
	if err != nil {
		return nil, err
	}
	const workers = 4
	var all sync.WaitGroup
	found, errs := make([][]T, workers), make([]error, workers)
	for w := range min(workers, len(places)) {
		all.Go(func() {
			d, err := proc.Open()
			if err != nil {
				errs[w] = err
				return
			}
			defer d.Close()
			for i := w; i < len(places); i += workers {
				g, err := s.cg.Open(places[i].group)
				if err != nil {
					continue // gone
				}
				some, err := look(d, g, places[i])
				g.Close()
				if err != nil {
					errs[w] = errors.Join(errs[w], err)
				}
				found[w] = append(found[w], some...)
			}
		})
	}
	all.Wait()
	return slices.Concat(found...), errors.Join(errs...)
}

// known gives the number of a context, or that which a guest was started with, and the note of
// that start, if there is one.
func (s *scan) known(p place) (guest.XID, *state.Note) {
	if p.name == "" {
		return p.xid, nil
	}
	if was, err := state.ReadNote(s.dirs, p.name); err == nil && was != nil {
		return guest.XID(was.XID), was
	}
	if spec, err := state.Load(s.dirs, p.name); err == nil {
		return spec.XID, nil
	}
	return 0, nil
}

// All says what the host itself uses, which comes first, and each running guest and
// context without one, by its xid.
func All(d guest.Dirs) ([]Usage, error) {
	s, err := newScan(d)
	if err == nil {
		err = s.askMore()
	}
	if err != nil {
		return nil, err
	}
	defer s.more.close()
	return s.all()
}

// Limits says what each guest that runs has of what is limited.
func Limits(d guest.Dirs) (map[guest.Name][]guest.Pool, error) {
	s, err := newScan(d)
	if err == nil {
		err = s.askMore()
	}
	if err != nil {
		return nil, err
	}
	defer s.more.close()
	all, err := each(s, func(d *proc.Dir, g *cgroup.Group, at place) ([]Usage, error) {
		if at.name == "" {
			return nil, nil
		}
		_, was := s.known(at)
		list, _ := s.limits(d, g, at, was)
		return []Usage{{Name: at.name, Limits: list}}, nil
	})
	limits := map[guest.Name][]guest.Pool{}
	for _, u := range all {
		limits[u.Name] = u.Limits
	}
	return limits, err
}

// Brief is All without Memory, Limits and Net, which are two thirds of the work.
func Brief(d guest.Dirs) ([]Usage, error) {
	s, err := newScan(d)
	if err != nil {
		return nil, err
	}
	return s.all()
}

func (s *scan) all() ([]Usage, error) {
	here, err := proc.Open()
	if err != nil {
		return nil, err
	}
	defer here.Close()
	up, err := here.Uptime()
	if err != nil {
		return nil, err
	}
	mine := make(map[int]bool) // processes of guests
	var lock sync.Mutex
	all, err := each(s, func(d *proc.Dir, g *cgroup.Group, at place) ([]Usage, error) {
		pids, err := g.Procs()
		if err != nil || len(pids) == 0 {
			return nil, err
		}
		lock.Lock()
		for _, pid := range pids {
			mine[pid] = true
		}
		lock.Unlock()
		u, err := s.usage(d, g, at, pids, up)
		return []Usage{u}, err
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b Usage) int {
		return cmp.Or(cmp.Compare(a.XID, b.XID), cmp.Compare(a.Name, b.Name))
	})
	host, err := hostUsage(here, mine, up)
	return slices.Insert(all, 0, host), err
}

// usage adds up what the processes of a guest use.
func (s *scan) usage(d *proc.Dir, g *cgroup.Group, at place, pids []int, up time.Duration) (Usage, error) {
	xid, was := s.known(at)
	u := Usage{XID: xid, Name: at.name}
	stats, err := d.Stats(pids)
	if err != nil {
		return u, err
	}
	first := u.add(stats, up)
	u.Uptime = Seconds(up - first)
	user, system, err := g.CPUTime()
	u.User, u.System = Seconds(user), Seconds(system)
	if err != nil || s.more == nil {
		return u, err
	}
	u.Memory = s.memory(g, at.group)
	u.Limits, u.Net = s.limits(d, g, at, was)
	return u, nil
}

// limits gives what a guest has of what is limited, and what it did in the network.
func (s *scan) limits(d *proc.Dir, g *cgroup.Group, at place, was *state.Note) ([]guest.Pool, *guest.NetStatus) {
	list := count.Pools(s.cg, at.group)
	if was == nil {
		return list, nil
	}
	net := network.Used(s.more.net, d, g, was)
	if net != nil {
		list = append(list, net.Limits...)
	}
	return s.more.hits.Ceilings(g, was.Userns, was.Rights.Nesting, was.Ceilings, list), net
}

// add counts the processes in, and gives when the first of them began.
func (u *Usage) add(stats []proc.Stat, up time.Duration) time.Duration {
	for _, st := range stats {
		u.Processes++
		u.VSZ += st.VSize
		u.RSS += st.RSS
		u.User += Seconds(st.User)
		u.System += Seconds(st.System)
		up = min(up, st.Start)
	}
	return up
}

// memory is what is counted against the guest's limit.
func (s *scan) memory(g *cgroup.Group, group string) int64 {
	text, err := g.Read("memory.current")
	for _, tree := range s.old {
		if old, openErr := tree.Open(group); openErr == nil {
			text, err = old.Read("memory.usage_in_bytes")
			old.Close()
		}
	}
	if err != nil {
		return 0 // no limit was ever asked for
	}
	used, _ := strconv.ParseInt(text, 10, 64)
	return used
}

// hostUsage adds up all processes but those of guests.
func hostUsage(d *proc.Dir, guests map[int]bool, up time.Duration) (Usage, error) {
	u := Usage{Uptime: Seconds(up)}
	pids, err := d.PIDs()
	if err != nil {
		return u, err
	}
	pids = slices.DeleteFunc(pids, func(pid int) bool { return guests[pid] })
	stats, err := d.Stats(pids)
	u.add(stats, up)
	return u, err
}

// Processes gives the processes of the named guests, or of all that run, by their
// numbers on the host.
func Processes(d guest.Dirs, names ...guest.Name) ([]Process, error) {
	s, err := newScan(d)
	if err != nil {
		return nil, err
	}
	all, err := each(s, func(d *proc.Dir, g *cgroup.Group, at place) ([]Process, error) {
		if len(names) > 0 && !slices.Contains(names, at.name) {
			return nil, nil
		}
		pids, err := g.Procs()
		if err != nil || len(pids) == 0 {
			return nil, err
		}
		xid, _ := s.known(at)
		found := make([]Process, 0, len(pids))
		for _, pid := range pids {
			st, err := d.Status(pid)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, err
			}
			p := Process{PID: pid, XID: xid, Name: at.name}
			if len(st.NSPIDs) > 1 { // below the host's: the guest's, then those in it
				p.Inner = st.NSPIDs[1]
			}
			found = append(found, p)
		}
		return found, nil
	})
	slices.SortFunc(all, func(a, b Process) int { return cmp.Compare(a.PID, b.PID) })
	return all, err
}
