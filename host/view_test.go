package host

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"vserver/daemon/proto"
	"vserver/guest"
	"vserver/internal/need"
)

// viewing makes a guest with limits, and so with a view.
func (w *world) viewing(n guest.Name, memory guest.Bytes, edit func(*guest.Spec)) guest.Name {
	w.t.Helper()
	need.Filesystem(w.t, "fuse")
	return w.guest(n, func(s *guest.Spec) {
		s.Limits.Memory, s.Limits.CPUs = memory, 1
		if edit != nil {
			edit(s)
		}
	})
}

// says fails the test unless what a line of shell prints in a guest matches a pattern.
func (w *world) says(n guest.Name, line, pattern string) {
	w.t.Helper()
	out, code := w.sh(n, line)
	if code != 0 || !regexp.MustCompile(pattern).MatchString(out) {
		w.t.Errorf("%s: %s: code %d, %q; want %s", n, line, code, out, pattern)
	}
}

// Two guests see each its own machine, and not a third's; the kernel's own files are
// left where a flag is taken away, and where there is no limit.
func TestView(t *testing.T) {
	w := newWorld(t)
	a := w.viewing("web1", 64<<20, nil)
	b := w.viewing("web2", 96<<20, func(s *guest.Spec) {
		s.View.Flags = []string{"!virt_load"}
		s.Init.Style, s.Init.StopTimeout = guest.InitPlain, guest.Duration(time.Second)
	})
	c := w.guest("web3", nil)
	for _, n := range []guest.Name{a, b, c} {
		w.start(n)
	}
	w.says(a, "grep MemTotal /proc/meminfo", `\s65536 kB`)
	w.says(b, "grep MemTotal /proc/meminfo", `\s98304 kB`)
	host, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		t.Fatal(err)
	}
	total, _, _ := strings.Cut(string(host), "\n")
	w.says(c, "grep MemTotal /proc/meminfo", regexp.QuoteMeta(total))
	w.says(c, "grep Seccomp_filters /proc/self/status; free", `^Seccomp_filters:\s1\n`)
	w.says(a, "df -k /dev /run | awk '{ print $2 }'", `^1K-blocks\n3276\d\n1310\d\n$`) // a half, a fifth
	w.says(a, "dd if=/dev/zero of=/run/x bs=1M count=20; rm /run/x", `No space left`)
	w.says(a, "free", `Mem:\s+65536 `) // by sysinfo(2), as busybox does
	w.says(c, "! grep fuse /proc/mounts", `^$`)
	for _, n := range []guest.Name{a, b} {
		w.says(n, "grep -c '^cpu[0-9]' /proc/stat", `^1\n`)
		w.says(n, "grep -c '^processor' /proc/cpuinfo || uname -m", `^(1|0\n.*)\n`)
		w.says(n, "cat /sys/devices/system/cpu/online /sys/devices/system/cpu/present", `^0\n0\n$`)
		w.says(n, "ls -d /sys/devices/system/cpu/cpu*", `^/sys/devices/system/cpu/cpu0\n$`)
		w.says(n, "busybox nproc || nproc", `^1\n$`)
		w.says(n, "cat /proc/uptime", `^\d\d?\.\d\d \d\d?\.\d\d\n$`)
		w.says(n, "cat /proc/swaps", `^Filename.*\n(none.*\n)?$`)
		w.says(n, "cat /proc/diskstats; free >/dev/null && top -bn1 >/dev/null && ps", `sleep`)
		w.says(n, "stat -c %u /proc/meminfo; echo x > /proc/meminfo; true", `^0\n.*(Read-only|denied)`)
		w.says(n, "ls -A /sys/devices/system/memory /sys/block", `^/sys/block:\n\n/sys/devices/system/memory:\n$`)
		// One node, with the guest's memory and processors: hwloc aborts where the directory has none.
		w.says(n, "cd /sys/devices/system/node; cat online has_cpu has_memory; ls -d node*; cd node0; cat cpulist cpumap distance", `^0\n0\n0\nnode0\n0\n1\n10\n$`)
		w.says(n, "[ $(awk '/MemTotal/ { print $4 }' /sys/devices/system/node/node0/meminfo) = $(awk '/MemTotal/ { print $2 }' /proc/meminfo) ]", ``)
		w.says(n, "! ls -A /run/.vserver-empty | grep .", `^$`)
	}
	w.says(a, "cat /proc/loadavg", `^0\.\d\d 0\.\d\d 0\.\d\d \d/\d+ 1\n$`)
	w.says(b, "grep -c fuse.*loadavg /proc/mounts; true", `^0\n$`)
	w.stop(a)
	w.stop(b)
	w.nothing(a)
}

// Disks are told where iostat looks for them, as the guest used them and by a limit are counted.
func TestViewDisks(t *testing.T) {
	w := newWorld(t)
	disk := deviceOf(t, w.root)
	n := w.viewing("web1", 64<<20, func(s *guest.Spec) {
		s.Limits.IO.Devices = map[string]guest.IODevice{disk: {RIOPS: 100000}}
	})
	w.start(n)
	w.must(n, "dd if=/dev/zero of=/big bs=1M count=4 conv=fsync 2>/dev/null")
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	name, number := filepath.Base(disk), numberOf(t, disk)
	w.must(n, "cat /big >/dev/null; sleep 0.1")
	w.says(n, "cat /sys/block/"+name+"/dev; ls /sys/block/"+name, `^`+number+`\ndev\ndevice\nsize\nstat\n$`)
	w.says(n, "cat /sys/block/"+name+"/stat; grep -c . /proc/diskstats", `^[1-9]\d* 0 8\d\d\d `)
	w.says(n, "sed 's/.* "+name+" //' /proc/diskstats | diff - /sys/block/"+name+"/stat", `^$`)
}

// A limit that is set while the guest runs is seen at once.
func TestViewLive(t *testing.T) {
	w := newWorld(t)
	n := w.viewing("web1", 64<<20, nil)
	w.start(n)
	w.says(n, "grep MemTotal /proc/meminfo", `\s65536 kB`)
	if out, err := w.program("", "set", string(n), "limits.memory=80M"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	w.says(n, "sleep 0.1; grep MemTotal /proc/meminfo", `\s81920 kB`)
}

// vserverd is killed and renewed while a guest reads.
func TestViewOutlivesDaemon(t *testing.T) {
	w := newWorld(t)
	n := w.viewing("web1", 64<<20, nil)
	w.start(n)
	done := make(chan string)
	for _, line := range []string{"cat /proc/meminfo /proc/stat >/dev/null", "free | grep -q 65536", "[ $(nproc) = 1 ]"} {
		go func() {
			out, code := w.sh(n, "while [ ! -e /tmp/end ]; do "+line+" || exit 1; done; echo end")
			done <- out + strconv.Itoa(code)
		}()
	}
	for kills := range 8 {
		time.Sleep(20 * time.Millisecond)
		if kills%4 == 3 {
			if err := proto.Renew(w.Dirs); err != nil {
				t.Error(err)
			}
			continue
		}
		w.killWorker()
	}
	w.says(n, "touch /tmp/end", "^$")
	for range 3 {
		if out := <-done; out != "end\n0" {
			t.Errorf("the guest read %q", out)
		}
	}
	w.says(n, "grep MemTotal /proc/meminfo", `\s65536 kB`)
}

// killWorker kills the worker of the world's vserverd, which its keeper replaces.
func (w *world) killWorker() { w.worker(syscall.SIGKILL) }

// worker sends a signal to the process of vserverd's that works.
func (w *world) worker(sig syscall.Signal) {
	w.t.Helper()
	procs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range procs {
		text, _ := os.ReadFile(path)
		if s := string(text); strings.Contains(s, "--worker") && strings.Contains(s, w.Dirs.Run+"\x00") {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			syscall.Kill(pid, sig)
		}
	}
}

// The programs that people look with tell the guest's machine.
func TestViewPrograms(t *testing.T) {
	for _, name := range []string{"free", "uptime", "vmstat", "lscpu", "top", "ps", "getconf"} {
		need.Command(t, name)
	}
	w := newWorld(t)
	n := w.viewing("web1", 64<<20, func(s *guest.Spec) { s.Root.Shared = []string{"/usr"} })
	for _, dir := range []string{"upper", "work"} {
		if err := os.MkdirAll(filepath.Join(w.Dirs.Guest(n), "shared/usr", dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(filepath.Join(w.Dirs.Guest(n), "upper/attributes"), self, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	links, _ := filepath.Glob("/lib*")
	for _, l := range links {
		if err := os.Symlink("usr"+l, filepath.Join(w.Dirs.Guest(n), "upper", l)); err != nil {
			t.Fatal(err)
		}
	}
	w.start(n)
	at := func(name string) string {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(path, "/usr") {
			path = "/usr" + path
		}
		return path
	}
	w.says(n, at("free")+" -k", `Mem: +65536 `)
	w.says(n, at("uptime"), `up 0 min`)
	w.says(n, at("vmstat"), `(?s)procs.*\n +\d`)
	w.says(n, at("lscpu"), `CPU\(s\): +1\n`)
	w.says(n, at("top")+" -bn1", `(?s)MiB Mem : +64\.0 total`)
	w.says(n, at("ps")+" -eo pid,etimes,args", `1 +\d\d? `)
	w.says(n, at("getconf")+" _NPROCESSORS_CONF", `^1\n`)
	w.says(n, at("getconf")+" _NPROCESSORS_ONLN", `^1\n`) // nginx's worker_processes auto
	w.says(n, at("getconf")+" _PHYS_PAGES", `^16384\n`)
	w.says(n, "/attributes processors", `^1 1\n`)
	if _, err := os.Stat("/usr/bin/python3"); err == nil {
		w.says(n, `/usr/bin/python3 -c "import os; print(os.cpu_count(), len(os.sched_getaffinity(0)))"`, `^1 1\n`)
	}
}
