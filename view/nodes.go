package view

import (
	"bytes"
	"fmt"
	"strings"
)

// nodesDir is the host's directory of memory nodes. An empty one in its place would end
// programs that take it for granted that there is a node where there is the directory:
// hwloc does, and MPI with it.
const nodesDir = "/sys/devices/system/node"

var nodesFiles = [...]file{
	{nodeNodesOnline, "online", false}, {nodeNodesPossible, "possible", false}, {nodeHasCPU, "has_cpu", false},
	{nodeHasMemory, "has_memory", false}, {nodeHasNormal, "has_normal_memory", false}, {nodeNode0, "node0", true},
}

var node0Files = [...]file{
	{nodeNodeList, "cpulist", false}, {nodeNodeMap, "cpumap", false}, {nodeNodeMemory, "meminfo", false},
	{nodeNodeDistance, "distance", false}, {nodeNodeStat, "numastat", false},
}

// nodes gives a file of the guest's one memory node, which has all its processors and
// all its memory.
func (g *Guest) nodes(n Node) ([]byte, error) {
	switch n {
	case nodeNodeList:
		return []byte(g.CPUs().String() + "\n"), nil
	case nodeNodeMap:
		return []byte(g.CPUs().mask() + "\n"), nil
	case nodeNodeDistance:
		return []byte("10\n"), nil
	case nodeNodeStat:
		return []byte("numa_hit 0\nnuma_miss 0\nnuma_foreign 0\ninterleave_hit 0\nlocal_node 0\nother_node 0\n"), nil
	case nodeNodeMemory:
		all, err := g.memory(nodeMeminfo)
		return NodeMeminfo(all), err
	}
	return []byte("0\n"), nil
}

// mask gives the set in the kernel's other form, "1,00000003".
func (s Set) mask() string {
	words := []uint32{0}
	for _, cpu := range s {
		for len(words) <= cpu/32 {
			words = append(words, 0)
		}
		words[cpu/32] |= 1 << (cpu % 32)
	}
	var b strings.Builder
	for i := len(words) - 1; i >= 0; i-- {
		if b.Len() == 0 {
			fmt.Fprintf(&b, "%x", words[i])
		} else {
			fmt.Fprintf(&b, ",%08x", words[i])
		}
	}
	return b.String()
}

// NodeMeminfo gives the meminfo of the one node of a machine with that /proc/meminfo:
// of its lines those that the kernel has for nodes.
func NodeMeminfo(all []byte) (out []byte) {
	line := func(key string, v int64) {
		out = append(memKey(append(out, "Node 0 "...), []byte(key), v>>10, 8), " kB\n"...)
	}
	total, free := field(all, "MemTotal"), field(all, "MemFree")
	line("MemTotal", total)
	line("MemFree", free)
	line("MemUsed", total-free)
	for text := range bytes.Lines(all) {
		key, v := memLine(text)
		switch name := string(key); {
		case name == "MemTotal", name == "MemFree", name == "MemAvailable", name == "Buffers", name == "SwapTotal", name == "SwapFree", name == "Percpu",
			strings.HasPrefix(name, "Commit"), strings.HasPrefix(name, "Vmalloc"), strings.HasPrefix(name, "Huge"), strings.HasPrefix(name, "Zswap"):
		case name == "Cached":
			line("FilePages", v)
		default:
			line(name, v)
		}
	}
	return append(out, "Node 0 HugePages_Total:     0\nNode 0 HugePages_Free:      0\nNode 0 HugePages_Surp:      0\n"...)
}
