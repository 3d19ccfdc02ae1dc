package proc

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"vserver/internal/need"
)

func TestMain(m *testing.M) { need.Main(m) }

func TestParseStat(t *testing.T) {
	const rest = " S 7 3 3 0 -1 4194560 100 0 0 0 250 31 0 0 20 0 4 0 12345 10000384 200 18446744073709551615 1 1 0\n"
	want := Stat{PID: 12, State: 'S', PPID: 7, User: 2500 * time.Millisecond, System: 310 * time.Millisecond,
		Threads: 4, Start: 123450 * time.Millisecond, VSize: 10000384, RSS: 200 * int64(os.Getpagesize())}
	for _, comm := range []string{"sh", "a b", ") S 1 (", "x\ny", "", "((sd-pam))"} {
		want.Comm = comm
		got, err := ParseStat([]byte("12 (" + comm + ")" + rest))
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", comm, got, err)
		}
	}
	for _, text := range []string{"", "12", "12 (a", "12 (a)", "12 (a) S 1 2", "x (a)" + rest, "0 (a)" + rest, "12(a)" + rest,
		"12 (a) S x" + rest, ")12 (", "12 (a)" + strings.Replace(rest, "200", "-200", 1)} {
		if got, err := ParseStat([]byte(text)); err == nil {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

func TestParseStatus(t *testing.T) {
	got := ParseStatus([]byte(`Name:	a\nUid:	1 1
Umask:	0022
State:	Z (zombie)
Tgid:	40
Pid:	41
PPid:	2
Uid:	524288	524300	524288	524288
Gid:	524288	524301	524288	524288
NStgid:	40	7
NSpid:	41	8	1
VmSize:	    2500 kB
VmRSS:	     100 kB
Threads:	3
nonsense
Pid:	`))
	want := Status{Name: `a\nUid:	1 1`, State: 'Z', PID: 0, PPID: 2, UID: 524300, GID: 524301,
		NSPIDs: []int{41, 8, 1}, Threads: 3, VSize: 2500 << 10, RSS: 100 << 10}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}

func TestParseMachine(t *testing.T) {
	long := "intr " + strings.Repeat("0 ", 200000)
	at, err := ParseBootTime(strings.NewReader("cpu  1 2\n" + long + "\nbtime 1700000000\nprocesses 9\n"))
	if err != nil || at.Unix() != 1700000000 {
		t.Errorf("boot time %v, %v", at, err)
	}
	if at, err := ParseBootTime(strings.NewReader("cpu 1\nbtimes 3\n")); err == nil {
		t.Errorf("no boot time: %v", at)
	}
	up, err := ParseUptime(strings.NewReader("12.25 3.00\n"))
	if err != nil || up != 12250*time.Millisecond {
		t.Errorf("uptime %v, %v", up, err)
	}
	for _, text := range []string{"", "x", "-1 2", "NaN", "1e300"} {
		if up, err := ParseUptime(strings.NewReader(text)); err == nil {
			t.Errorf("%q: %v", text, up)
		}
	}
}

func open(t testing.TB) *Dir {
	t.Helper()
	d, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestOwnProcess(t *testing.T) {
	d := open(t)
	pid := os.Getpid()
	st, err := d.Stat(pid)
	if err != nil {
		t.Fatal(err)
	}
	status, err := d.Status(pid)
	if err != nil {
		t.Fatal(err)
	}
	if st.PID != pid || st.PPID != os.Getppid() || st.VSize <= 0 || st.RSS <= 0 || st.Threads < 1 {
		t.Errorf("stat %+v", st)
	}
	if status.PID != pid || status.Name != st.Comm || status.UID != os.Geteuid() || status.VSize <= 0 ||
		len(status.NSPIDs) == 0 || status.NSPIDs[0] != pid {
		t.Errorf("status %+v", status)
	}
	boot, err := d.BootTime()
	if err != nil {
		t.Fatal(err)
	}
	up, err := d.Uptime()
	if err != nil {
		t.Fatal(err)
	}
	if off := time.Since(boot) - up; off < -5*time.Second || off > 5*time.Second {
		t.Errorf("booted %v, up %v: %v apart", boot, up, off)
	}
	if age := up - st.Start; age < 0 || age > time.Hour {
		t.Errorf("started %v after boot, now %v", st.Start, up)
	}
	pids, err := d.PIDs()
	if err != nil || !slices.Contains(pids, pid) || !slices.Contains(pids, 1) {
		t.Errorf("pids %v, %v", pids, err)
	}
}

func TestEndedProcess(t *testing.T) {
	d := open(t)
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	gone := cmd.Process.Pid
	if _, err := d.Stat(gone); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("stat: %v", err)
	}
	all, err := d.Stats([]int{gone, os.Getpid(), gone})
	if err != nil || len(all) != 1 || all[0].PID != os.Getpid() {
		t.Errorf("stats: %v, %v", all, err)
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("12 (a) b) S 7 3 3 0 -1 4194560 100 0 0 0 250 31 0 0 20 0 4 0 12345 10000384 200 1\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		st, err := ParseStat(text)
		if err == nil && (st.PID <= 0 || st.PPID < 0) {
			t.Errorf("%+v", st)
		}
	})
}

func FuzzParseStatus(f *testing.F) {
	f.Add([]byte("Name:\ta\nState:\tS (sleeping)\nNSpid:\t3\t1\nUid:\t1\t2\t3\t4\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if st := ParseStatus(text); st.PID < 0 || st.UID < 0 {
			t.Errorf("%+v", st)
		}
	})
}

func FuzzParseMachine(f *testing.F) {
	f.Add("12.25 3.00\nbtime 4\n")
	f.Fuzz(func(t *testing.T, text string) {
		if up, err := ParseUptime(strings.NewReader(text)); err == nil && up < 0 {
			t.Errorf("uptime %v", up)
		}
		ParseBootTime(strings.NewReader(text))
	})
}

func BenchmarkStat(b *testing.B) {
	d := open(b)
	for b.Loop() {
		if _, err := d.Stat(os.Getpid()); err != nil {
			b.Fatal(err)
		}
	}
}
