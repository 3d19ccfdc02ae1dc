package view

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"vserver/kernel/cgroup"
	"vserver/kernel/fuse"
	"vserver/kernel/proc"
)

// Fresh is how long a text is given to further readers.
const Fresh = 25 * time.Millisecond

// tasksFresh is how long a count of tasks is good for readers. Each task takes 8 µs, and
// they are counted for the load anyhow.
const tasksFresh = LoadEvery + time.Second

// Machine is the host, as far as its guests' views need it. It is not for use by several
// goroutines at once.
type Machine struct {
	trees  map[string]cgroup.Root // of v1 by controller, "" is v2
	procs  *proc.Dir
	boot   time.Time
	online Set
	looked time.Time     // when online was read
	mem    text          // /proc/meminfo
	memory int           // the same, open: that is most of what reading it costs
	room   [8 << 10]byte // for what is read of groups
}

// OpenMachine looks where the host has its control groups. Close gives back what it
// holds.
func OpenMachine() (*Machine, error) {
	cg, err := cgroup.Find()
	if err != nil {
		return nil, err
	}
	m := &Machine{trees: map[string]cgroup.Root{}, memory: -1}
	if err = m.hold("", cg.Unified); err != nil {
		return nil, err
	}
	for _, c := range []string{"memory", "cpu", "cpuset", "blkio"} {
		trees, err := cg.Legacy(c)
		if err == nil && len(trees) > 0 {
			err = m.hold(c, trees[0])
		}
		if err != nil {
			m.Close()
			return nil, err
		}
	}
	if m.memory, err = syscall.Open("/proc/meminfo", syscall.O_RDONLY|syscall.O_CLOEXEC, 0); err != nil {
		err = &os.PathError{Op: "open", Path: "/proc/meminfo", Err: err}
	} else if m.procs, err = proc.Open(); err == nil {
		m.boot, err = m.procs.BootTime()
	}
	if err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

func (m *Machine) hold(name string, h cgroup.Hierarchy) (err error) {
	root, err := h.Hold()
	if err == nil {
		m.trees[name] = root
	}
	return err
}

// Close gives back what the machine holds.
func (m *Machine) Close() {
	for _, root := range m.trees {
		root.Close()
	}
	if m.procs != nil {
		m.procs.Close()
	}
	if m.memory >= 0 {
		syscall.Close(m.memory)
	}
}

// Guest is a guest whose view is served. It belongs to its Machine, and like that to one
// goroutine.
type Guest struct {
	Load  Load
	Tree  Tree
	m     *Machine
	group string        // path of its control group
	began time.Duration // after the host's boot
	idle  time.Duration // that was told last

	fresh   map[Node]text
	groups  map[string]held
	tasks   proc.Tasks
	counted time.Time
	timed   Times
	timedAt time.Time
	shown   Set
	cpusAt  time.Time
}

// text is what a file said at a moment.
type text struct {
	is []byte
	at time.Time
}

// NewGuest begins to serve the guest with that init, whose control group is at path.
func (m *Machine) NewGuest(path string, init int) (*Guest, error) {
	g := &Guest{m: m, group: path, fresh: map[Node]text{}, groups: map[string]held{}}
	st, err := m.procs.Stat(init)
	if err != nil {
		return nil, err
	}
	g.began = bootOf(init, st.Start)
	h, err := g.open("")
	if err != nil {
		return nil, err
	}
	var owner syscall.Stat_t
	if err := syscall.Fstat(h.group.FD(), &owner); err != nil {
		g.Close()
		return nil, fmt.Errorf("%s: %w", h.group.Path(), err)
	}
	g.Tree = Tree{UID: owner.Uid, CPUs: g.CPUs, Disks: g.Disks, Text: g.Text, Same: g.same}
	return g, nil
}

// bootOf says when a guest's clock that counts from its boot was 0, on that of the host:
// by its time namespace, else by the start of its init.
func bootOf(init int, start time.Duration) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/timens_offsets", init))
	if err != nil {
		return start
	}
	for line := range strings.Lines(string(b)) {
		w := strings.Fields(line)
		if len(w) != 3 || w[0] != "boottime" {
			continue
		}
		s, err1 := strconv.ParseInt(w[1], 10, 64)
		ns, err2 := strconv.ParseInt(w[2], 10, 64)
		if off := time.Duration(s)*time.Second + time.Duration(ns); err1 == nil && err2 == nil && off < 0 {
			return -off
		}
	}
	return start
}

// Text gives what a file says, not older than Fresh.
func (g *Guest) Text(n Node) ([]byte, syscall.Errno) {
	now := time.Now()
	if t, ok := g.fresh[n]; ok && now.Sub(t.at) < Fresh && now.After(t.at) {
		return t.is, 0
	}
	is, err := g.text(n)
	if err != nil {
		return nil, syscall.EIO
	}
	if len(g.fresh) > 64 {
		g.fresh = map[Node]text{}
	}
	g.fresh[n] = text{is, now}
	return is, 0
}

// same tells that the load stays as it is until tasks are counted for it again.
func (g *Guest) same(n Node) time.Duration {
	if n != nodeLoadavg {
		return 0
	}
	return LoadEvery - time.Since(g.counted)
}

func (g *Guest) text(n Node) ([]byte, error) {
	switch n {
	case nodeMeminfo, nodeSwaps, nodeVMStat:
		return g.memory(n)
	case nodeStat:
		t, err := g.times()
		if err != nil {
			return nil, err
		}
		tasks, err := g.count(tasksFresh)
		return Stat(g.CPUs(), t, g.m.boot.Add(g.began), tasks), err
	case nodeUptime:
		t, err := g.times()
		return Uptime(t), err
	case nodeLoadavg:
		tasks, err := g.count(tasksFresh)
		return Loadavg(g.Load, tasks), err
	case nodeCPUInfo:
		host, err := os.ReadFile("/proc/cpuinfo")
		return CPUInfo(host, g.CPUs()), err
	case nodeDiskstats:
		return g.disks()
	case nodePSICPU, nodePSIMemory, nodePSIIO, nodePSIIRQ:
		return g.pressure(n)
	}
	if d, i, ok := n.disk(); ok {
		return g.disk(d, i)
	}
	if n > nodeNodes && n <= nodeNodeStat {
		return g.nodes(n)
	}
	return g.processors(n)
}

// processors gives a file of /sys/devices/system/cpu.
func (g *Guest) processors(n Node) ([]byte, error) {
	shown := g.CPUs()
	switch n {
	case nodeOnline, nodePossible, nodePresent:
		return []byte(shown.String() + "\n"), nil
	case nodeOffline:
		return []byte("\n"), nil
	case nodeKernelMax:
		return os.ReadFile(filepath.Join(cpuDir, "kernel_max"))
	}
	path := n.path()
	host, err := os.ReadFile(filepath.Join(cpuDir, path))
	if err != nil {
		return nil, err
	}
	switch base := filepath.Base(path); {
	case strings.HasSuffix(base, "_list"):
		return []byte(maskOf(string(host), shown, true)), nil
	case strings.HasSuffix(base, "_map") || strings.HasSuffix(base, "_siblings") || strings.HasSuffix(base, "_cpus"):
		return []byte(maskOf(string(host), shown, false)), nil
	}
	return host, nil
}

func (g *Guest) pressure(n Node) ([]byte, error) {
	name := ""
	for _, f := range pressureFiles {
		if f.node == n {
			name = f.name
		}
	}
	text, err := g.read("", name+".pressure")
	if err != nil {
		return nil, err
	}
	return append(bytes.Clone(text), '\n'), nil
}

// times gives a guest's times by now.
func (g *Guest) times() (t Times, err error) {
	if now := time.Now(); now.Sub(g.timedAt) < Fresh && now.After(g.timedAt) {
		return g.timed, nil
	}
	text, err := g.read("", "cpu.stat")
	if err != nil {
		return t, err
	}
	t.User, t.System = cgroup.ParseCPUTime(text)
	t.Up = max(0, uptime()-g.began)
	t.Idle = t.idle(len(g.CPUs()), g.idle)
	g.idle = t.Idle
	g.timed, g.timedAt = t, time.Now()
	return t, nil
}

// count counts the guest's tasks, or gives a count that is not older than fresh.
func (g *Guest) count(fresh time.Duration) (proc.Tasks, error) {
	if now := time.Now(); now.Sub(g.counted) < fresh && now.After(g.counted) {
		return g.tasks, nil
	}
	pids, err := g.pids()
	if err != nil {
		return g.tasks, err
	}
	if g.tasks, err = g.m.procs.Tasks(pids); err == nil {
		g.counted = time.Now()
	}
	return g.tasks, err
}

// Sample takes the guest's tasks into its load, for as many times LoadEvery as have
// passed.
func (g *Guest) Sample(times int) error {
	tasks, err := g.count(LoadEvery / 2)
	for range min(times, maxSamples) {
		g.Load = g.Load.Next(tasks.Running + tasks.Blocked)
	}
	return err
}

// maxSamples is after how many all three averages have forgotten what was before: an hour.
const maxSamples = 720

// Answer answers a request of the guest's.
func (g *Guest) Answer(r fuse.Request) ([]byte, syscall.Errno) { return g.Tree.Answer(r) }
