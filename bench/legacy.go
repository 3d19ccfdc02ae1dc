package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// legacy times what a host of Linux-VServer's was known for: vserver-stat beside many
// guests, and directories of the old tools taken over and started by one command.
func (b *bench) legacy() (err error) {
	const guests = 200
	names, err := b.idle(guests)
	if err != nil {
		return err
	}
	stat := filepath.Join(filepath.Dir(b.tool), "vserver-stat")
	if err := os.Symlink(b.tool, stat); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if _, err := each(names, func(n string) []string { return b.vserver("start", n) }); err != nil {
		return err
	}
	interleave(os.Stdout, b.rounds, []row{
		{"ps -e -o pid,vsz,rss,time", command(b.shell("exec ps -e -o pid,vsz,rss,time")...)},
		{fmt.Sprintf("vserver-stat, %d running", guests), command(stat)},
	})
	if err := b.must("stop", "--all", "--kill"); err != nil {
		return err
	}
	return b.directories()
}

// directories times the start of guests that are directories of the old tools.
func (b *bench) directories() (err error) {
	const guests = 20
	box, err := exec.LookPath("busybox")
	if err != nil {
		return err
	}
	defer func() {
		for i := range guests {
			err = errors.Join(err, b.must("delete", "old"+strconv.Itoa(i), "--force"))
		}
	}()
	for i := range guests {
		if err := b.directory("old"+strconv.Itoa(i), 1000+i, box); err != nil {
			return err
		}
	}
	stop := b.vserver("start-vservers", "--mark", "old", "--stop", "--all")
	interleave(os.Stdout, max(b.rounds/10, 1), []row{
		{fmt.Sprintf("start-vservers, %d old directories", guests), func() (time.Duration, error) {
			took, err := life(b.vserver("start-vservers", "--mark", "old", "--start", "--all"))
			return took, errors.Join(err, run(stop[0], stop[1:]...))
		}},
	})
	return nil
}

// directory makes a guest as the old tools had it: some files, and a tree.
func (b *bench) directory(name string, context int, box string) error {
	tree := filepath.Join(b.home(), "vservers", name)
	dir := filepath.Join(b.home(), "etc/vservers", name)
	program, err := os.ReadFile(box)
	if err != nil {
		return err
	}
	for _, d := range []string{"bin", "etc", "dev", "proc", "sys", "run", "root", "tmp"} {
		if err := os.MkdirAll(filepath.Join(tree, d), 0o755); err != nil {
			return err
		}
	}
	for _, d := range []string{"apps/init", "interfaces/0", "rlimits", "uts"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	errs := []error{
		os.Chmod(filepath.Dir(tree), 0o700),
		os.WriteFile(filepath.Join(tree, "bin/sh"), program, 0o755),
		os.Symlink("sh", filepath.Join(tree, "bin/sleep")),
		os.Symlink(tree, filepath.Join(dir, "vdir")),
	}
	for file, text := range map[string]string{
		"context": strconv.Itoa(context), "apps/init/mark": "old", "apps/init/cmd.start": "/bin/sh\n-c\n/bin/sleep 100000 &", "apps/init/cmd.stop": "/bin/sh\n-c\nkill -TERM -1",
		"interfaces/0/ip": fmt.Sprintf("192.0.2.%d", 100+context-1000), "interfaces/0/dev": "lo", "interfaces/0/prefix": "32",
		"rlimits/nproc": "200", "uts/nodename": name + ".example.org", "flags": "virt_uptime", "fstab": "none /tmp tmpfs size=16m 0 0",
	} {
		errs = append(errs, os.WriteFile(filepath.Join(dir, file), []byte(text+"\n"), 0o644))
	}
	return errors.Join(errs...)
}
