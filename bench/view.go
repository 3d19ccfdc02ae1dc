package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"vserver/guest"
	"vserver/kernel/cgroup"
)

// readVariable makes this program time reads of the file that it names: so many as the
// second word says, with a pause of the third between them; "sysinfo" is the call.
const readVariable = "VSERVER_BENCH_READ"

// viewEnd prints the least and the median time in nanoseconds, and ends the process, if
// that is what it was started for.
func viewEnd() {
	words := strings.Fields(os.Getenv(readVariable))
	if len(words) != 3 {
		return
	}
	n, _ := strconv.Atoi(words[1])
	pause, _ := time.ParseDuration(words[2])
	took := make([]time.Duration, n)
	for i := range took {
		time.Sleep(pause)
		begin := time.Now()
		if err := readOnce(words[0]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		took[i] = time.Since(begin)
	}
	fmt.Println(slices.Min(took).Nanoseconds(), quantile(took, 0.5).Nanoseconds())
	os.Exit(0)
}

// readOnce does what a program does that looks: opens, reads to the end, closes. It asks
// the kernel itself, since Go's own files would poll.
func readOnce(path string) error {
	if path == "sysinfo" {
		var info syscall.Sysinfo_t
		return syscall.Sysinfo(&info)
	}
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	var buf [8192]byte
	for {
		if n, err := syscall.Read(fd, buf[:]); n <= 0 {
			return err
		}
	}
}

// watched is a place where reads are timed.
type watched struct{ name, guest, path string }

// view times reads of /proc/meminfo and sysinfo(2): the kernel's, ours, and those of lxcfs
// for a process in a group with a limit and, which is its fastest, for one without.
func (b *bench) view() (err error) {
	rows := []watched{{"host", "", "/proc/meminfo"}, {"vserver", "viewed", "/proc/meminfo"}}
	files := filepath.Join(b.work, "lxcfs")
	stop, err := startLXCFS(files)
	if err != nil {
		fmt.Println("  no lxcfs to compare with:", err)
	} else {
		defer stop()
		rows = append(rows, watched{"lxcfs, group with a limit", "lxcfs", "/mnt/meminfo"}, watched{"lxcfs, group without", "", files + "/proc/meminfo"})
	}
	rows = append(rows, watched{"sysinfo, host", "", "sysinfo"}, watched{"sysinfo, vserver", "viewed", "sysinfo"})
	for _, r := range rows {
		if r.guest == "" {
			continue
		}
		if err := b.reading(r.guest, files); err != nil {
			return err
		}
		defer func() { exec.Command(b.tool, "stop", r.guest, "--kill").Run() }()
	}
	for _, c := range []struct{ title, how string }{{"again and again", "3000 0s"}, {"each 30 ms", "100 30ms"}} {
		if err := b.reads(rows, c.title, c.how); err != nil {
			return err
		}
	}
	return nil
}

// reads makes the table of one way to read.
func (b *bench) reads(rows []watched, title, how string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	least, middle := make([][]time.Duration, len(rows)), make([][]time.Duration, len(rows))
	const processes = 5
	for range processes {
		for i, r := range rows {
			args := []string{"/usr/bin/env", readVariable + "=" + r.path + " " + how, self}
			if r.guest != "" {
				args = b.vserver("exec", r.guest, "env", readVariable+"="+r.path+" "+how, "/bench")
			}
			out, err := exec.Command(args[0], args[1:]...).Output()
			if err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
			var l, m int64
			if _, err := fmt.Sscan(string(out), &l, &m); err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
			least[i], middle[i] = append(least[i], time.Duration(l)), append(middle[i], time.Duration(m))
		}
	}
	fmt.Printf("  %-34s %8s %8s   (µs, medians of %d processes)\n", title, "min", "median", processes)
	for i, r := range rows {
		fmt.Printf("  %-34s %8.2f %8.2f\n", r.name, micro(slices.Min(least[i])), micro(quantile(middle[i], 0.5)))
	}
	return nil
}

// reading starts a guest with a limit and this program in it. That called lxcfs has no
// view of ours, and one of lxcfs.
func (b *bench) reading(name, files string) error {
	if _, err := os.Stat(filepath.Join(b.home(), "etc/vservers", name+".yaml")); err == nil {
		return nil
	}
	if err := b.guest(name, "command", "/bin/sleep", "infinity"); err != nil {
		return err
	}
	settings := []string{"set", name, "limits.memory=256M", "limits.cpus=1"}
	if name == "lxcfs" {
		settings = append(settings, "view.flags=['!virt_mem', '!virt_cpu', '!virt_load', '!virt_uptime']", "mounts+="+files+"/proc /mnt none bind")
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return err
	}
	program := filepath.Join(b.home(), "var/lib/vservers/guests", name, "upper/bench")
	return errors.Join(b.must(settings...), os.WriteFile(program, self, 0o755), b.must("start", name))
}

// startLXCFS serves lxcfs's files in a directory of ours.
func startLXCFS(dir string) (stop func(), err error) {
	path, err := exec.LookPath("lxcfs")
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	c := exec.Command(path, "-f", "-p", dir+".pid", dir)
	if err := c.Start(); err != nil {
		return nil, err
	}
	stop = func() {
		c.Process.Signal(syscall.SIGTERM)
		c.Wait()
	}
	for range 50 {
		if _, err := os.Stat(dir + "/proc/meminfo"); err == nil {
			return stop, nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	stop()
	return nil, fmt.Errorf("%s serves nothing in %s", path, dir)
}

// tops has many guests run top once a second, and tells what answering them costs.
func (b *bench) tops() (err error) {
	const n, long = 200, 20 * time.Second
	var names []string
	defer func() { exec.Command(b.tool, append([]string{"stop", "--kill"}, names...)...).Run() }()
	for i := range n {
		name := "top" + strconv.Itoa(i)
		names = append(names, name)
		args := []string{"build", name, "--method", "host", "--network", "none", "--init", "command", "--command", "/usr/bin/top", "--memory", "64M", "--cpus", "1", "--env", "TERM=dumb"}
		if i > 0 {
			args = []string{"build", name, "--method", "clone", "--from", names[0]}
		}
		if err := b.must(args...); err != nil {
			return err
		}
		if i == 0 {
			if err := b.must("set", name, `init.command=["/usr/bin/top", "-b", "-d", "1"]`, "console.type=none"); err != nil {
				return err
			}
		}
	}
	for _, name := range names {
		if err := b.must("start", name); err != nil {
			return err
		}
	}
	time.Sleep(3 * time.Second)
	before, guests, began := b.daemonTimes(), b.guestsTime(), time.Now()
	time.Sleep(long)
	took := time.Since(began)
	fmt.Printf("  %-34s %8s   (%% of one processor, %d guests, %v)\n", "", "part", n, long)
	fmt.Printf("  %-34s %8.2f\n", "vserverd", 100*float64(since(before, b.daemonTimes()))/float64(took))
	fmt.Printf("  %-34s %8.2f\n", "the guests themselves", 100*float64(b.guestsTime()-guests)/float64(took))
	return nil
}

// since adds up what processes that are still there have used.
func since(before, now map[int]time.Duration) (sum time.Duration) {
	for pid, used := range now {
		sum += used - before[pid]
	}
	return sum
}

// daemonTimes are the processor times of our vserverd and its keeper.
func (b *bench) daemonTimes() map[int]time.Duration {
	times := map[int]time.Duration{}
	for _, pid := range b.supervisors() {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid))
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		if err != nil || len(text) == 0 {
			continue
		}
		for _, t := range tasks {
			text, _ := os.ReadFile(t)
			words := strings.Fields(string(text))
			if len(words) == 3 {
				ns, _ := strconv.ParseInt(words[0], 10, 64)
				times[pid] += time.Duration(ns)
			}
		}
	}
	return times
}

// guestsTime is the processor time of all our guests that run.
func (b *bench) guestsTime() time.Duration {
	cg, err := cgroup.Find()
	if err != nil {
		return 0
	}
	g, err := cg.Open(guest.DefaultDirs(b.home()).Cgroup)
	if err != nil {
		return 0
	}
	defer g.Close()
	user, system, _ := g.CPUTime()
	return user + system
}
