package count

import (
	"os/exec"
	"syscall"
	"testing"

	"vserver/guest"
	"vserver/internal/need"
	"vserver/kernel/cgroup"
	"vserver/limit"
)

func TestMain(m *testing.M) { need.Main(m) }

// A limit of processes that is run against is told, with how often.
func TestPools(t *testing.T) {
	need.Root(t)
	need.Cgroup2(t)
	host, err := cgroup.Find()
	if err != nil {
		t.Fatal(err)
	}
	top := need.Dirs(t).Cgroup
	path := top + "/web1"
	g, err := host.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		g.Kill()
		g.WaitEmpty(t.Context())
		g.Close()
		if err := limit.Remove(host, path); err != nil {
			t.Error(err)
		}
		if err := host.Remove(top); err != nil {
			t.Error(err)
		}
	})
	if err := limit.Change(host, path, guest.Limits{Pids: 3}); err != nil {
		t.Fatal(err)
	}
	pools := func() map[string]guest.Pool {
		out := map[string]guest.Pool{}
		for _, p := range Pools(host, path) {
			out[p.Name] = p
		}
		return out
	}
	cmd := exec.Command("sh", "-c", "read go; for i in 1 2 3 4 5 6; do sleep 0.2 & done; wait")
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: g.FD()}
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err == nil {
		err = limit.Change(host, path, guest.Limits{Pids: 3}) // v1: takes it in
	}
	if err != nil {
		t.Fatal(err)
	}
	if p := pools()["pids"]; p.Max != 3 || p.Used < 1 || p.Hits == nil {
		t.Errorf("pids: %+v", p)
	}
	if p := pools()["cgroups"]; p.Max != 2048 || p.Hits != nil {
		t.Errorf("cgroups: %+v", p)
	}
	if l := Now(host, path); l.Pids != 3 || l.Memory != 0 {
		t.Errorf("now: %+v", l)
	}
	in.Write([]byte("go\n"))
	cmd.Wait() // the shell gives up, or has children that are fewer
	if p := pools()["pids"]; p.Hits == nil || *p.Hits == 0 {
		t.Errorf("pids was not hit: %+v", p)
	}
	if guest.Hits(Pools(host, path)) == 0 {
		t.Error("no hits in all")
	}
}
