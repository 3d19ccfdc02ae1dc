package main

import (
	"errors"
	"os"
	"strings"
	"time"

	"vserver/guest"
	"vserver/kernel/cgroup"
)

// set times changes of a running guest's limits, as whole commands, and how long it takes
// from the fork of one until the kernel says the new limit.
func (b *bench) set() (err error) {
	if err := b.guest("changed", "command", "/bin/sleep", "infinity"); err != nil {
		return err
	}
	first := []string{"set", "changed", "limits.memory=256M", "limits.cpus=1", "limits.cpu_shares=100", "limits.pids=500"}
	if err := errors.Join(b.must(first...), b.must("start", "changed")); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.must("stop", "changed", "--kill")) }()
	turn := 0
	change := func(values [2]string) func() (time.Duration, error) {
		return func() (time.Duration, error) {
			turn++
			return life(b.vserver("set", "changed", "limits."+values[turn%2]))
		}
	}
	rows := []row{
		{"vserver --version", command(b.vserver("--version")...)},
		{"vserver set, memory in force", func() (time.Duration, error) {
			return b.inForce(change([2]string{"memory=280M", "memory=290M"}))
		}},
	}
	for _, c := range [][2]string{{"memory=256M", "memory=300M"}, {"cpus=1", "cpus=1.5"}, {"cpu_shares=100", "cpu_shares=300"}, {"pids=500", "pids=600"}} {
		rows = append(rows, row{"vserver set limits." + c[0], change(c)})
	}
	interleave(os.Stdout, b.rounds, rows)
	return nil
}

// inForce gives the time from the beginning of a change until the guest's limit of memory
// is another.
func (b *bench) inForce(change func() (time.Duration, error)) (time.Duration, error) {
	cg, err := cgroup.Find()
	if err != nil {
		return 0, err
	}
	path := guest.DefaultDirs(b.home()).Group("changed")
	g, file := (*cgroup.Group)(nil), "memory.max"
	trees, err := cg.Legacy("memory")
	switch {
	case err != nil:
		return 0, err
	case len(trees) > 0:
		g, err = trees[0].Open(path)
		file = "memory.limit_in_bytes"
	default:
		g, err = cg.Open(path)
	}
	if err != nil {
		return 0, err
	}
	defer g.Close()
	was, err := g.Read(file)
	if err != nil {
		return 0, err
	}
	done := make(chan error, 1)
	begin := time.Now()
	go func() {
		_, err := change()
		done <- err
	}()
	for {
		now, err := g.Read(file)
		if err != nil {
			return 0, err
		}
		// A limit that is lowered may be lifted on the way.
		if now != was && !strings.HasPrefix(now, "9223372") && now != "max" {
			took := time.Since(begin)
			return took, <-done
		}
		if time.Since(begin) > 5*time.Second {
			return 0, errors.Join(errors.New("nothing changed"), <-done)
		}
		time.Sleep(20 * time.Microsecond)
	}
}
