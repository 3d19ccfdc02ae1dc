package usage

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"vserver/guest"
	"vserver/host/state"
	"vserver/internal/need"
	"vserver/kernel/cgroup"
)

// groups makes guests that are nothing but a group with a sleeper in it.
func groups(t testing.TB, names ...guest.Name) (guest.Dirs, map[guest.Name]int) {
	t.Helper()
	need.Root(t)
	need.Cgroup2(t)
	d := need.Dirs(t)
	cg, err := cgroup.Find()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cg.Remove(d.Cgroup); err != nil {
			t.Error(err)
		}
	})
	pids := map[guest.Name]int{}
	for i, n := range names {
		g, err := cg.Create(d.Group(n))
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("sleep", "1000")
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: g.FD(), Cloneflags: syscall.CLONE_NEWPID}
		err = cmd.Start()
		g.Close()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		pids[n] = cmd.Process.Pid
		asleep(t, cmd.Process.Pid)
		if err := os.MkdirAll(d.State(n), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := (&state.Note{PID: cmd.Process.Pid, XID: guest.XID(len(names)-i) + 1}).Write(state.NotePath(d, n)); err != nil {
			t.Fatal(err)
		}
	}
	return d, pids
}

// asleep waits until a sleeper has begun to sleep: its libraries are mapped then.
func asleep(t testing.TB, pid int) {
	t.Helper()
	for range 3000 {
		at, err := os.ReadFile(fmt.Sprintf("/proc/%d/wchan", pid))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(at), "nanosleep") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("it does not sleep")
}

func TestSeconds(t *testing.T) {
	if b, err := Seconds(1610165400).MarshalJSON(); err != nil || string(b) != "1.610165" {
		t.Errorf("%s, %v", b, err)
	}
}

func TestUsage(t *testing.T) {
	d, pids := groups(t, "web1", "db1")
	all, err := All(d)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 3 || all[0].XID != 0 || all[0].Name != "" || all[1].Name != "db1" || all[1].XID != 2 || all[2].Name != "web1" {
		t.Fatalf("usage %+v", all)
	}
	up := all[0].Uptime
	if all[0].Processes < 1 || all[0].RSS <= all[1].RSS || up < Seconds(time.Second) {
		t.Errorf("host %+v", all[0])
	}
	for _, u := range all[1:] {
		// Kernels since 6.2 count pages by processor and add up late: a few can show as none.
		if u.Processes != 1 || u.VSZ < 4096 || u.RSS < 0 || u.VSZ < u.RSS || u.Uptime < 0 || u.Uptime > Seconds(time.Minute) || u.User+u.System > Seconds(time.Second) {
			t.Errorf("guest %+v", u)
		}
	}
	few, err := Brief(d)
	if err != nil || len(few) != 3 {
		t.Fatalf("in brief %+v, %v", few, err)
	}
	for i, u := range few[1:] {
		if w := all[i+1]; u.XID != w.XID || u.Name != w.Name || u.Processes != 1 || u.VSZ != w.VSZ || u.Uptime < w.Uptime || u.Limits != nil {
			t.Errorf("in brief %+v, want %+v", u, w)
		}
	}
	ps, err := Processes(d)
	if err != nil {
		t.Fatal(err)
	}
	want := []Process{{PID: pids["web1"], Inner: 1, XID: 3, Name: "web1"}, {PID: pids["db1"], Inner: 1, XID: 2, Name: "db1"}}
	slices.SortFunc(want, func(a, b Process) int { return a.PID - b.PID })
	if !slices.Equal(ps, want) {
		t.Errorf("processes %+v, want %+v", ps, want)
	}
	if one, err := Processes(d, "db1", "nobody"); err != nil || len(one) != 1 || one[0].Name != "db1" {
		t.Errorf("processes of one %+v, %v", one, err)
	}
}

// Processor time of children that have ended is the guest's all the same, and a group
// left empty is no running guest.
func TestUsageOfEnded(t *testing.T) {
	d, pids := groups(t, "web1", "gone")
	cg, err := cgroup.Find()
	if err != nil {
		t.Fatal(err)
	}
	g, err := cg.Open(d.Group("web1"))
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	cmd := exec.Command("sh", "-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done")
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: g.FD()}
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	syscall.Kill(pids["gone"], syscall.SIGKILL)
	var all []Usage
	for range 100 {
		if all, err = All(d); err != nil {
			t.Fatal(err)
		}
		if len(all) == 2 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if len(all) != 2 || all[1].User+all[1].System < Seconds(10*time.Millisecond) {
		t.Errorf("usage %+v", all)
	}
}

func TestUsageWithoutGuests(t *testing.T) {
	need.Root(t)
	mount := need.Cgroup2(t)
	d := need.Dirs(t)
	all, err := All(d)
	if err != nil || len(all) != 1 || all[0].Processes < 1 {
		t.Errorf("usage %+v, %v", all, err)
	}
	if ps, err := Processes(d); err != nil || len(ps) != 0 {
		t.Errorf("processes %+v, %v", ps, err)
	}
	if _, err := os.Stat(filepath.Join(mount, d.Cgroup)); err == nil {
		t.Error("asking made a group")
	}
}

// The budget: 100 ms for 500 guests.
func BenchmarkUsage500(b *testing.B) {
	names := make([]guest.Name, 500)
	for i := range names {
		names[i] = guest.Name(fmt.Sprintf("g%03d", i))
	}
	d, _ := groups(b, names...)
	for b.Loop() {
		if all, err := All(d); err != nil || len(all) != 501 {
			b.Fatal(len(all), err)
		}
	}
}
