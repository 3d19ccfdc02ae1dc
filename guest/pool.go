package guest

// Pool is what a guest has of something that is limited.
type Pool struct {
	Name string `json:"name"` // pids, memory, memory_soft, swap, cpu, hugepages.2M, sockets, connections, files, those of CeilingNames
	Used int64  `json:"used"` // now; bytes or pieces, 0 for cpu and for ceilings but cgroups, where the kernel does not tell
	Max  int64  `json:"max"`  // 0: not limited
	// Hits is how often the limit was run against since the guest started, as the kernel
	// counts it; nil where it does not.
	Hits *uint64 `json:"hits,omitempty"`
}

// Hits adds up those of all pools.
func Hits(list []Pool) (sum uint64) {
	for _, p := range list {
		if p.Hits != nil {
			sum += *p.Hits
		}
	}
	return sum
}
