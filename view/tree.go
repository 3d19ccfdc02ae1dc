package view

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"vserver/kernel/fuse"
)

// Node is a file of the tree. Numbers never change their meaning, since the kernel knows
// files by them while one server follows another: add at the end.
type Node uint64

// The nodes at the root of the tree, and those of pressure.
const (
	nodeRoot      Node = fuse.Root
	nodeMeminfo   Node = 2
	nodeStat      Node = 3
	nodeCPUInfo   Node = 4
	nodeUptime    Node = 5
	nodeLoadavg   Node = 6
	nodeSwaps     Node = 7
	nodeDiskstats Node = 8
	nodePressure  Node = 9
	nodePSICPU    Node = 10
	nodePSIMemory Node = 11
	nodePSIIO     Node = 12
	nodePSIIRQ    Node = 13
	nodeVMStat    Node = 14
	nodeBlock     Node = 15
	nodeCPUs      Node = 16
	nodeOnline    Node = 17
	nodePossible  Node = 18
	nodePresent   Node = 19
	nodeOffline   Node = 20
	nodeKernelMax Node = 21

	nodeNodes         Node = 22
	nodeNodesOnline   Node = 23
	nodeNodesPossible Node = 24
	nodeHasCPU        Node = 25
	nodeHasMemory     Node = 26
	nodeHasNormal     Node = 27
	nodeNode0         Node = 28
	nodeNodeList      Node = 29
	nodeNodeMap       Node = 30
	nodeNodeMemory    Node = 31
	nodeNodeDistance  Node = 32
	nodeNodeStat      Node = 33
)

// file is a name in a directory of the tree.
type file struct {
	node Node
	name string
	dir  bool
}

var rootFiles = [...]file{
	{nodeMeminfo, "meminfo", false}, {nodeStat, "stat", false}, {nodeCPUInfo, "cpuinfo", false},
	{nodeUptime, "uptime", false}, {nodeLoadavg, "loadavg", false}, {nodeSwaps, "swaps", false},
	{nodeDiskstats, "diskstats", false}, {nodePressure, "pressure", true}, {nodeCPUs, "cpu", true},
	{nodeVMStat, "vmstat", false}, {nodeBlock, "block", true}, {nodeNodes, "node", true},
}

var pressureFiles = [...]file{
	{nodePSICPU, "cpu", false}, {nodePSIMemory, "memory", false}, {nodePSIIO, "io", false}, {nodePSIIRQ, "irq", false},
}

var cpusFiles = [...]file{
	{nodeOnline, "online", false}, {nodePossible, "possible", false}, {nodePresent, "present", false},
	{nodeOffline, "offline", false}, {nodeKernelMax, "kernel_max", false},
}

// A processor's files are numbered from firstCPU + cpu*perCPU on: its directory, then
// those of perCPUFiles. They show what the host's say.
const (
	firstCPU Node = 1 << 16
	perCPU   Node = 256
)

// perCPUFiles are the files below cpuN; a name that ends in a slash is a directory.
var perCPUFiles = [...]string{
	"topology/", "topology/core_id", "topology/physical_package_id", "topology/die_id", "topology/cluster_id",
	"topology/thread_siblings", "topology/thread_siblings_list", "topology/core_siblings", "topology/core_siblings_list",
	"topology/core_cpus", "topology/core_cpus_list", "topology/package_cpus", "topology/package_cpus_list",
	"topology/die_cpus", "topology/die_cpus_list", "topology/cluster_cpus", "topology/cluster_cpus_list",
	"cache/",
	"cache/index0/", "cache/index0/level", "cache/index0/type", "cache/index0/size", "cache/index0/id",
	"cache/index0/shared_cpu_map", "cache/index0/shared_cpu_list", "cache/index0/coherency_line_size",
	"cache/index0/number_of_sets", "cache/index0/ways_of_associativity", "cache/index0/physical_line_partition",
	"cache/index1/", "cache/index1/level", "cache/index1/type", "cache/index1/size", "cache/index1/id",
	"cache/index1/shared_cpu_map", "cache/index1/shared_cpu_list", "cache/index1/coherency_line_size",
	"cache/index1/number_of_sets", "cache/index1/ways_of_associativity", "cache/index1/physical_line_partition",
	"cache/index2/", "cache/index2/level", "cache/index2/type", "cache/index2/size", "cache/index2/id",
	"cache/index2/shared_cpu_map", "cache/index2/shared_cpu_list", "cache/index2/coherency_line_size",
	"cache/index2/number_of_sets", "cache/index2/ways_of_associativity", "cache/index2/physical_line_partition",
	"cache/index3/", "cache/index3/level", "cache/index3/type", "cache/index3/size", "cache/index3/id",
	"cache/index3/shared_cpu_map", "cache/index3/shared_cpu_list", "cache/index3/coherency_line_size",
	"cache/index3/number_of_sets", "cache/index3/ways_of_associativity", "cache/index3/physical_line_partition",
	"cpu_capacity",
}

// cpuDir is the host's directory of processors.
const cpuDir = "/sys/devices/system/cpu"

// cpuOf splits the number of a processor's file; i is 0 for its directory.
func (n Node) cpuOf() (cpu, i int, ok bool) {
	if n < firstCPU || n >= firstCPU+maxCPU*perCPU {
		return 0, 0, false
	}
	cpu, i = int((n-firstCPU)/perCPU), int((n-firstCPU)%perCPU)
	return cpu, i, i <= len(perCPUFiles)
}

func cpuNode(cpu, i int) Node { return firstCPU + Node(cpu)*perCPU + Node(i) }

// path gives the name of a processor's file below cpuDir.
func (n Node) path() string {
	cpu, i, _ := n.cpuOf()
	name := "cpu" + strconv.Itoa(cpu)
	if i > 0 {
		name += "/" + strings.TrimSuffix(perCPUFiles[i-1], "/")
	}
	return name
}

// isDir tells whether a node is a directory; there is false for one that nobody was
// told of.
func (n Node) isDir() (dir, there bool) {
	if _, i, ok := n.cpuOf(); ok {
		return i == 0 || strings.HasSuffix(perCPUFiles[i-1], "/"), true
	}
	if _, i, ok := n.disk(); ok {
		return i < 0 || diskFiles[i].dir, true
	}
	switch {
	case n == nodeRoot, n == nodePressure, n == nodeCPUs, n == nodeBlock, n == nodeNodes, n == nodeNode0:
		return true, true
	case n > nodeRoot && n <= nodeNodeStat:
		return false, true
	}
	return false, false
}

// children lists a directory.
func (t *Tree) children(n Node) []file {
	if d, i, ok := n.disk(); ok && i < 0 {
		return d.below()
	}
	switch n {
	case nodeRoot:
		return rootFiles[:]
	case nodePressure:
		return existing(pressureFiles[:], func(f file) string { return "/proc/pressure/" + f.name })
	case nodeNodes:
		return nodesFiles[:]
	case nodeNode0:
		return node0Files[:]
	case nodeBlock:
		if t.Disks == nil {
			return nil
		}
		return blocks(t.Disks())
	case nodeCPUs:
		list := append([]file(nil), cpusFiles[:]...)
		for _, cpu := range t.CPUs() {
			list = append(list, file{cpuNode(cpu, 0), "cpu" + strconv.Itoa(cpu), true})
		}
		return list
	}
	cpu, i, ok := n.cpuOf()
	if !ok || !t.CPUs().Has(cpu) {
		return nil
	}
	above := ""
	if i > 0 {
		above = perCPUFiles[i-1]
	}
	var list []file
	for j, name := range perCPUFiles {
		rest, below := strings.CutPrefix(name, above)
		base, dir := strings.CutSuffix(rest, "/")
		if below && base != "" && !strings.Contains(base, "/") {
			list = append(list, file{cpuNode(cpu, j+1), base, dir})
		}
	}
	return existing(list, func(f file) string { return filepath.Join(cpuDir, f.node.path()) })
}

// existing leaves out files that this host has not.
func existing(list []file, path func(file) string) []file {
	var out []file
	for _, f := range list {
		if _, err := os.Lstat(path(f)); err == nil {
			out = append(out, f)
		}
	}
	return out
}

// Tree answers what the kernel asks of a guest's tree.
type Tree struct {
	UID   uint32                               // owner of all files: the guest's root
	CPUs  func() Set                           // the processors that the guest sees
	Disks func() []Disk                        // the disks that it used; nil is nobody who knows
	Text  func(n Node) ([]byte, syscall.Errno) // what a file says at this moment

	// Same tells how long Text will say of a file what it said just now, as far as that is
	// known; nil is nothing of any.
	Same func(n Node) time.Duration

	// Names says that nobody reads yet: names are told without a look at what is in them.
	Names bool

	// Kept outlives the one who answers; nil is none.
	Kept Kept

	moment map[Node]moment // as the kernel was told last
}

// Kept keeps what the kernel was told last of files, for a server that follows one that
// was killed: a reader who was told a size by the one is given by the other what has it.
type Kept interface {
	// Tell keeps what a file says, and since when, in nanoseconds.
	Tell(n Node, text []byte, since int64)
	// Told gives that back; since is 0 when it was forgotten.
	Told(n Node) (text []byte, since int64)
}

// moment is what a file said when the kernel asked for its attributes.
type moment struct {
	text  []byte
	since int64     // when it began to say that, in nanoseconds
	until time.Time // it is told again until then
}

// settled is how long what the server before told is told again: those who wait since
// then ask in the first moments.
const settled = 50 * time.Millisecond

// maxMoments bounds the files of a guest that are remembered; of others what is read may
// be of another moment than their size.
const maxMoments = 1024

// known is for how long a reader is given what the kernel has in its cache, without a
// question to anybody.
const known = 20 * time.Millisecond

func (t *Tree) attr(n Node) (fuse.Attr, syscall.Errno) {
	dir, there := n.isDir()
	if !there {
		return fuse.Attr{}, syscall.ENOENT
	}
	a := fuse.Attr{Node: uint64(n), Mode: syscall.S_IFREG | 0o444, UID: t.UID, NameStays: n < firstCPU}
	if dir {
		a.Mode, a.Stays = syscall.S_IFDIR|0o555, true
	}
	return a, 0
}

// sized gives the attributes of a file with those of what it says: the kernel reads so
// much, and once for all readers until they are others.
func (t *Tree) sized(n Node) (fuse.Attr, syscall.Errno) {
	a, e := t.attr(n)
	if e != 0 || a.Stays {
		return a, e
	}
	m, now := t.told(n), time.Now()
	if !now.Before(m.until) {
		text, e := t.Text(n)
		if e != 0 {
			return a, 0 // one that cannot be read can be looked at
		}
		if !bytes.Equal(text, m.text) || m.since == 0 {
			m = moment{text: text, since: now.UnixNano()}
			t.keep(n, m)
			if t.Kept != nil {
				t.Kept.Tell(n, m.text, m.since)
			}
		}
	}
	a.Size, a.Changed, a.For = uint64(len(m.text)), m.since, known
	if t.Same != nil {
		a.For = max(known, t.Same(n))
	}
	return a, 0
}

// told gives what the kernel was told last of a file, by us or by the server before.
func (t *Tree) told(n Node) moment {
	m, ok := t.moment[n]
	if ok || t.Kept == nil {
		return m
	}
	if text, since := t.Kept.Told(n); since != 0 {
		m = moment{text, since, time.Now().Add(settled)}
		t.keep(n, m)
	}
	return m
}

func (t *Tree) keep(n Node, m moment) {
	if t.moment == nil || len(t.moment) >= maxMoments {
		t.moment = map[Node]moment{}
	}
	t.moment[n] = m
}

// Answer answers a request. It must not be told to who asked when r.Op.Silent().
func (t *Tree) Answer(r fuse.Request) ([]byte, syscall.Errno) {
	n := Node(r.Node)
	switch r.Op {
	case fuse.Init:
		return fuse.InitAnswer(r)
	case fuse.Lookup:
		return t.lookup(n, r.Name())
	case fuse.GetAttr:
		a, e := t.sized(n)
		return a.Attributes(), e
	case fuse.Read:
		return t.read(n, r)
	case fuse.ReadDir:
		return t.list(n, r)
	case fuse.StatFS:
		return fuse.Stats(), 0
	case fuse.Destroy:
		return nil, 0
	}
	return nil, syscall.ENOSYS // for Open and Flush: and so for ever
}

func (t *Tree) lookup(dir Node, name string) ([]byte, syscall.Errno) {
	for _, f := range t.children(dir) {
		if f.name == name {
			look := t.sized
			if t.Names {
				look = t.attr
			}
			a, e := look(f.node)
			return a.Entry(), e
		}
	}
	return nil, syscall.ENOENT
}

func (t *Tree) list(dir Node, r fuse.Request) ([]byte, syscall.Errno) {
	offset, size, ok := r.Span()
	if !ok {
		return nil, syscall.EINVAL
	}
	var all []fuse.Dirent
	for _, f := range t.children(dir) {
		a, _ := t.attr(f.node)
		all = append(all, fuse.Dirent{Name: f.name, Attr: a})
	}
	return fuse.Dir(all, offset, size), 0
}

// read gives a piece of a file as it was when the kernel asked for its size.
func (t *Tree) read(n Node, r fuse.Request) ([]byte, syscall.Errno) {
	offset, size, ok := r.Span()
	if !ok {
		return nil, syscall.EINVAL
	}
	m := t.told(n)
	text := m.text
	if m.since == 0 {
		var e syscall.Errno
		if text, e = t.Text(n); e != 0 {
			return nil, e
		}
	}
	if offset >= uint64(len(text)) {
		return nil, 0
	}
	text = text[offset:]
	return text[:min(size, len(text))], 0
}
