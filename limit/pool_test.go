package limit

import (
	"testing"

	"vserver/guest"
)

// A limit of processes that is run against is told, with how often.
func TestPools(t *testing.T) {
	g := newGround(t)
	cmd, open := g.start("for i in 1 2 3 4 5 6; do sleep 0.2 & done; wait")
	g.apply(guest.Limits{Pids: 3}, cmd.Process.Pid)
	pools := func() map[string]guest.Pool {
		out := map[string]guest.Pool{}
		for _, p := range Pools(g.host, g.path) {
			out[p.Name] = p
		}
		return out
	}
	if p := pools()["pids"]; p.Max != 3 || p.Used < 1 || p.Hits == nil {
		t.Errorf("pids: %+v", p)
	}
	if p := pools()["cgroups"]; p.Max != 2048 || p.Hits != nil {
		t.Errorf("cgroups: %+v", p)
	}
	open()
	<-g.ended // the shell gives up, or has children that are fewer
	if p := pools()["pids"]; p.Hits == nil || *p.Hits == 0 {
		t.Errorf("pids was not hit: %+v", p)
	}
	if guest.Hits(Pools(g.host, g.path)) == 0 {
		t.Error("no hits in all")
	}
}
