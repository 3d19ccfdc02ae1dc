package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// version times the start of the program itself.
func (b *bench) version() error {
	interleave(os.Stdout, b.rounds, []row{
		{"/bin/true", command("/bin/true")},
		{"a Go program that says hello", command(b.hello)},
		{"vserver --version", command(b.vserver("--version")...)},
	})
	return nil
}

// start times whole lives of guests.
func (b *bench) start() (err error) {
	if err := b.guest("true", "plain", "/bin/true"); err != nil {
		return err
	}
	if err := b.guest("reaped", "command", "/bin/true"); err != nil {
		return err
	}
	leave, err := b.warm()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, leave()) }()
	group := filepath.Join(cgroup2(), "vserver-bench")
	rows := []row{
		{"floor", command(b.floor, "start", b.cache, "/bin/true")},
		{"vserver start --wait", command(b.vserver("start", "true", "--wait")...)},
		{"the same without a warm process", command(b.vserver("start", "true", "--wait=true")...)},
		{"vserver start --wait, with reaper", command(b.vserver("start", "reaped", "--wait")...)},
		{"floor + user namespace", command(b.floor, "start", "-u", b.cache, "/bin/true")},
		{"floor + user namespace + cgroup", command(b.floor, "start", "-u", "-c", group, b.cache, "/bin/true")},
		{"fork and exec of /bin/true", command("/bin/true")},
	}
	for _, p := range b.peers() {
		if err := p.prepare("a"); err != nil {
			return err
		}
		rows = append(rows, row{p.name, p.true("a")})
	}
	interleave(os.Stdout, b.rounds, rows)
	return nil
}

// exec times commands in running guests.
func (b *bench) exec() (err error) {
	if err := b.guest("idle0", "command", "/bin/sleep", "infinity"); err != nil {
		return err
	}
	if err := b.must("start", "idle0"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.must("stop", "idle0", "--kill")) }()
	out, err := exec.Command(b.floor, "start", "-b", b.cache, "/bin/sleep", "infinity").Output()
	if err != nil {
		return fmt.Errorf("floor start: %w", err)
	}
	pid := string(bytes.TrimSpace(out))
	defer run(b.floor, "end", pid)
	rows := []row{
		{"floor", command(b.floor, "enter", pid, "/bin/true")},
		{"vserver exec", command(b.vserver("exec", "idle0", "/bin/true")...)},
		{"nsenter", command(find("nsenter"), "-t", pid, "-a", "--", "/bin/true")},
	}
	for _, p := range b.peers() {
		if p.exec == nil {
			continue
		}
		if err := p.prepare("b"); err != nil {
			return err
		}
		if _, err := p.up("b")(); err != nil {
			fmt.Printf("  %-34s %v\n", p.name, err)
			continue
		}
		defer p.down("b")()
		rows = append(rows, row{p.name, p.exec("b")})
	}
	interleave(os.Stdout, b.rounds, rows)
	return nil
}

// sequence starts guests one after the other and stops them so.
func (b *bench) sequence() (err error) {
	names, err := b.idle(b.few)
	if err != nil {
		return err
	}
	fmt.Printf("  %-34s %8s %8s   (ms each, %d guests)\n", "", "start", "stop", b.few)
	show := func(name string, up, down func(id string) func() (time.Duration, error)) {
		started, stopped, err := upAndDown(names, up, down)
		if err != nil {
			fmt.Printf("  %-34s %v\n", name, err)
			return
		}
		fmt.Printf("  %-34s %8s %8s\n", name, ms(started), ms(stopped))
	}
	leave, err := b.warm()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, leave()) }()
	pids := map[string]string{}
	show("floor", func(id string) func() (time.Duration, error) {
		return func() (time.Duration, error) {
			out, err := exec.Command(b.floor, "start", "-b", b.cache, "/bin/sleep", "infinity").Output()
			pids[id] = string(bytes.TrimSpace(out))
			return 0, err
		}
	}, func(id string) func() (time.Duration, error) { return command(b.floor, "end", pids[id]) })
	show("vserver", func(id string) func() (time.Duration, error) { return command(b.vserver("start", id)...) },
		func(id string) func() (time.Duration, error) { return command(b.vserver("stop", id)...) })
	show("the same without a warm process", func(id string) func() (time.Duration, error) {
		return command(b.vserver("start", id, "--wait=false")...)
	},
		func(id string) func() (time.Duration, error) {
			return command(b.vserver("stop", id, "--kill=false")...)
		})
	for _, p := range b.peers() {
		if p.up == nil {
			continue
		}
		for _, id := range names {
			if err := p.prepare(id); err != nil {
				return err
			}
		}
		show(p.name, p.up, p.down)
	}
	return nil
}

// upAndDown starts all and stops all, also those started before one that failed. The disk is at
// rest before: what was made for them is no part of it.
func upAndDown(names []string, up, down func(id string) func() (time.Duration, error)) (started, stopped time.Duration, err error) {
	unix.Sync()
	began := 0
	t := time.Now()
	for _, id := range names {
		if _, err = up(id)(); err != nil {
			break
		}
		began++
	}
	started = time.Since(t)
	t = time.Now()
	for _, id := range names[:began] {
		if _, downErr := down(id)(); downErr != nil {
			err = errors.Join(err, downErr)
		}
	}
	stopped = time.Since(t)
	n := time.Duration(max(began, 1))
	return started / n, stopped / n, err
}

// list times the list of many guests, stopped and running.
func (b *bench) list() (err error) {
	names, err := b.idle(b.many)
	if err != nil {
		return err
	}
	stopped := fmt.Sprintf("vserver list, %d stopped", b.many)
	interleave(os.Stdout, b.rounds, []row{{stopped, command(b.vserver("list")...)}})
	if _, err := each(names, func(n string) []string { return b.vserver("start", n) }); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.must("stop", "--all", "--kill")) }()
	running := fmt.Sprintf("vserver list, %d running", b.many)
	interleave(os.Stdout, b.rounds, []row{{running, command(b.vserver("list")...)}})
	return nil
}

// density times starts with none and with many guests running.
func (b *bench) density() (err error) {
	names, err := b.idle(b.many)
	if err != nil {
		return err
	}
	if err := b.guest("true", "plain", "/bin/true"); err != nil {
		return err
	}
	life := []row{{"vserver start --wait, none beside", command(b.vserver("start", "true", "--wait")...)}}
	interleave(os.Stdout, b.rounds, life)
	if _, err := each(names, func(n string) []string { return b.vserver("start", n) }); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.must("stop", "--all", "--kill")) }()
	life[0].name = fmt.Sprintf("vserver start --wait, %d beside", b.many)
	interleave(os.Stdout, b.rounds, life)
	return nil
}

// cgroup2 gives where cgroup v2 is mounted.
func cgroup2() string {
	b, _ := os.ReadFile("/proc/self/mounts")
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "cgroup2" {
			return f[1]
		}
	}
	return "/sys/fs/cgroup"
}

// boot times a distribution's own init.
func (b *bench) boot() error {
	if err := b.guest("debian", "plain", "/sbin/init"); err != nil {
		return err
	}
	rows := []row{{"vserver", func() (time.Duration, error) {
		ready := filepath.Join(b.home(), "var/lib/vservers/guests/debian/upper/bench-ready")
		return b.bootOnce(ready, b.vserver("start", "debian"), func() error { return b.must("stop", "debian", "--kill") })
	}}}
	ready := filepath.Join(b.cache, "bench-ready")
	if err := b.writeLXC(filepath.Join(b.work, "lxc", "boot"), "boot", "/sbin/init"); err == nil {
		rows = append(rows, row{"lxc", func() (time.Duration, error) {
			args := []string{find("lxc-start"), "-P", filepath.Join(b.work, "lxc"), "-n", "boot", "-d"}
			return b.bootOnce(ready, args, func() error { return run("lxc-stop", "-P", args[2], "-n", "boot", "-k") })
		}})
	}
	if _, err := exec.LookPath("systemd-nspawn"); err == nil {
		rows = append(rows, row{"systemd-nspawn", func() (time.Duration, error) { return b.bootNspawn(ready) }})
	}
	interleave(os.Stdout, max(b.rounds/4, 3), rows)
	return nil
}

// bootOnce runs a command that starts a guest, waits for the file that its last unit
// makes, and takes the guest down.
func (b *bench) bootOnce(ready string, start []string, stop func() error) (time.Duration, error) {
	os.Remove(ready)
	begin := time.Now()
	if _, err := life(start); err != nil {
		return 0, err
	}
	took, err := appears(ready, begin)
	return took, errors.Join(err, stop())
}

// bootNspawn is bootOnce for a tool that stays in the foreground.
func (b *bench) bootNspawn(ready string) (time.Duration, error) {
	os.Remove(ready)
	args := b.nspawnArgs("--console=pipe", "-b")
	begin := time.Now()
	c := exec.Command(args[0], args[1:]...)
	if err := c.Start(); err != nil {
		return 0, err
	}
	took, err := appears(ready, begin)
	for _, pid := range children(c.Process.Pid) {
		err = errors.Join(err, run(b.floor, "end", strconv.Itoa(pid)))
	}
	c.Process.Kill()
	c.Wait()
	return took, err
}

// appears waits for a file, looking every half millisecond.
func appears(path string, begin time.Time) (time.Duration, error) {
	for time.Since(begin) < 30*time.Second {
		if _, err := os.Stat(path); err == nil {
			return time.Since(begin), nil
		}
		time.Sleep(500 * time.Microsecond)
	}
	return 0, fmt.Errorf("%s did not appear in 30 s", path)
}

// children gives the children of a process.
func children(pid int) []int {
	var out []int
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, l := range lists {
		b, _ := os.ReadFile(l)
		for f := range strings.FieldsSeq(string(b)) {
			n, _ := strconv.Atoi(f)
			out = append(out, n)
		}
	}
	return out
}
