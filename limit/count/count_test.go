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

// ground is a guest's group with these limits, and a way to run a line of shell in it.
func ground(t *testing.T, l guest.Limits) (host cgroup.Host, path string, run func(line string) (begin, end func())) {
	need.Root(t)
	need.Cgroup2(t)
	host, err := cgroup.Find()
	if err != nil {
		t.Fatal(err)
	}
	top := need.Dirs(t).Cgroup
	path = top + "/web1"
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
	return host, path, func(line string) (begin, end func()) {
		cmd := exec.Command("sh", "-c", "read go; "+line)
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: g.FD()}
		in, err := cmd.StdinPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err == nil {
			err = limit.Change(host, path, l) // v1: takes it in
		}
		if err != nil {
			t.Fatal(err)
		}
		return func() { in.Write([]byte("go\n")) }, func() { cmd.Wait() }
	}
}

// pool is what is told of one.
func pool(host cgroup.Host, path, name string) guest.Pool {
	for _, p := range Pools(host, path) {
		if p.Name == name {
			return p
		}
	}
	return guest.Pool{}
}

// A limit of processes that is run against is told, with how often.
func TestPools(t *testing.T) {
	host, path, run := ground(t, guest.Limits{Pids: 3})
	begin, end := run("for i in 1 2 3 4 5 6; do sleep 0.2 & done; wait")
	if p := pool(host, path, "pids"); p.Max != 3 || p.Used < 1 || p.Hits == nil {
		t.Errorf("pids: %+v", p)
	}
	if p := pool(host, path, "cgroups"); p.Max != 2048 || p.Hits != nil {
		t.Errorf("cgroups: %+v", p)
	}
	if l := Now(host, path); l.Pids != 3 || l.Memory != 0 {
		t.Errorf("now: %+v", l)
	}
	begin()
	end() // the shell gives up, or has children that are fewer
	if p := pool(host, path, "pids"); p.Hits == nil || *p.Hits == 0 {
		t.Errorf("pids was not hit: %+v", p)
	}
	if guest.Hits(Pools(host, path)) == 0 {
		t.Error("no hits in all")
	}
}

// Who was killed for want of memory has hit its limit, on every kernel.
func TestMemoryHit(t *testing.T) {
	host, path, run := ground(t, guest.Limits{Memory: 32 << 20})
	begin, end := run("exec tail /dev/zero")
	if p := pool(host, path, "memory"); p.Max != 32<<20 || p.Hits == nil || *p.Hits != 0 {
		t.Errorf("memory: %+v", p)
	}
	begin()
	end()
	if p := pool(host, path, "memory"); p.Hits == nil || *p.Hits == 0 {
		t.Errorf("memory was not hit: %+v", p)
	}
}
