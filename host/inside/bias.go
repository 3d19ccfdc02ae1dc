package inside

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"vserver/fault"
	"vserver/kernel/cgroup"
	"vserver/kernel/ns"
)

// Bias gives a process that has executed its program, and what that began meanwhile in its
// group, a bias for when the host runs out of memory; 0 leaves it as ours. Not before: until
// then it has the memory of ours, and the kernel gives all that share a memory one bias.
func Bias(g *cgroup.Group, pid, adj int) error {
	const file, rounds = "oom_score_adj", 100
	if adj == 0 {
		return nil
	}
	if err := ns.Write(pid, file, strconv.Itoa(adj)); errors.Is(err, fs.ErrPermission) {
		return fault.Hint(err, "root of this host lacks CAP_SYS_RESOURCE, as in a container: limits.oom_score_adj of 0 or more")
	} else if err != nil {
		return err
	}
	ours, err := os.ReadFile("/proc/self/" + file)
	if err != nil || strings.TrimSpace(string(ours)) == strconv.Itoa(adj) {
		return err
	}
	for again, round := true, 0; again && round < rounds; round++ {
		again = false
		pids, err := g.Procs()
		if err != nil {
			return err
		}
		for _, pid := range pids {
			its, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/" + file)
			if err == nil && string(its) == string(ours) && ns.Write(pid, file, strconv.Itoa(adj)) == nil {
				again = true
			}
		}
	}
	return nil
}
