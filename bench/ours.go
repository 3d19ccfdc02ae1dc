package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"vserver/spawn/warm"
)

// home is where our guests of this run live.
func (b *bench) home() string { return filepath.Join(b.work, "home") }

// runDir is what /run is on a host, and like it in memory.
func (b *bench) runDir() string { return filepath.Join(b.home(), "run") }

// settle makes a world for our guests.
func (b *bench) settle() error {
	if err := os.Setenv("VSERVER_ROOT", b.home()); err != nil {
		return err
	}
	if err := os.MkdirAll(b.runDir(), 0o755); err != nil {
		return err
	}
	return run("mount", "-t", "tmpfs", "none", b.runDir())
}

// vserver gives the command line of our program. Its world is set in the environment
// once, by guest.
func (b *bench) vserver(args ...string) []string { return append([]string{b.tool}, args...) }

// must runs our program outside of any measurement.
func (b *bench) must(args ...string) error { return run(b.tool, args...) }

// guest makes one of our guests with this init style and init and the common root,
// unless it is there. The first one brings the tree into the pool; the others share it.
func (b *bench) guest(name, style string, init ...string) error {
	spec := filepath.Join(b.home(), "etc/vservers", name+".yaml")
	if _, err := os.Stat(spec); err == nil {
		return nil
	}
	args := []string{"build", name, "--network", "none", "--method", "rsync", "--from", b.cache}
	if name != "first" {
		if err := b.guest("first", "plain", "/bin/true"); err != nil {
			return err
		}
		args = []string{"build", name, "--method", "clone", "--from", "first"}
	}
	if err := b.must(args...); err != nil {
		return err
	}
	console := "log"
	if init[0] == "/sbin/init" {
		console = "tty"
	}
	return b.must("set", name, "init.style="+style, "init.command=["+strings.Join(init, ", ")+"]",
		"console.type="+console, "network.mode=none")
}

// idle makes n guests that sleep, and gives their names.
func (b *bench) idle(n int) ([]string, error) {
	var names []string
	for i := range n {
		name := "idle" + strconv.Itoa(i)
		if err := b.guest(name, "command", "/bin/sleep", "infinity"); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

// warm has vserverd and its warm process run, as they do on a host whose guests come and go: a
// guest was started there, and tables that measure them say so. Options that change nothing have
// a command begin without it. leave stops that guest.
func (b *bench) warm() (leave func() error, err error) {
	if err := b.guest("beside", "command", "/bin/sleep", "infinity"); err != nil {
		return nil, err
	}
	if err := b.must("start", "beside"); err != nil {
		return nil, err
	}
	leave = func() error { return b.must("stop", "beside", "--kill") }
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(warm.Path(filepath.Join(b.runDir(), "vserver"))); err == nil {
			fmt.Println("  vserverd runs, with its warm process")
			return leave, nil
		}
	}
	fmt.Println("  vserverd runs, without a warm process")
	return leave, nil
}

// deleteGuests takes all our guests away, and vserverd of this world.
func (b *bench) deleteGuests() error {
	specs, _ := filepath.Glob(filepath.Join(b.home(), "etc/vservers/*.yaml"))
	var errs []error
	for _, s := range specs {
		errs = append(errs, b.must("delete", strings.TrimSuffix(filepath.Base(s), ".yaml"), "--force"))
	}
	return errors.Join(append(errs, b.endSupervisors())...)
}

// endSupervisors asks them to end, all at once: they start each other again after a
// sudden death.
func (b *bench) endSupervisors() error {
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		pids := b.supervisors()
		if len(pids) == 0 {
			return nil
		}
		for _, pid := range pids {
			syscall.Kill(pid, syscall.SIGTERM)
		}
	}
	return fmt.Errorf("vserverd does not end: %d", b.supervisors())
}

// supervisors gives the processes that the tool left awake for this world: they are
// called vserverd and told its places.
func (b *bench) supervisors() []int {
	var out []int
	procs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range procs {
		line, _ := os.ReadFile(p)
		if strings.HasPrefix(string(line), "vserverd\x00") && strings.Contains(string(line), "="+b.home()+"/") {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(p)))
			out = append(out, pid)
		}
	}
	return out
}

// each times a command for each of the names, and gives the mean.
func each(names []string, args func(name string) []string) (time.Duration, error) {
	begin := time.Now()
	for _, n := range names {
		if _, err := life(args(n)); err != nil {
			return 0, err
		}
	}
	return time.Since(begin) / time.Duration(len(names)), nil
}
