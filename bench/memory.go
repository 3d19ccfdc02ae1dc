package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"vserver/spawn/warm"
)

// settleTime is how long memory is left alone before it is read.
const settleTime = 2 * time.Second

// memory measures what idle guests cost: what our own processes keep resident, and
// what the kernel and the guests' sleeps take, beside the floor's guests.
func (b *bench) memory() (err error) {
	names, err := b.idle(b.few)
	if err != nil {
		return err
	}
	fmt.Printf("  %-34s %8s %8s   (KiB, %d guests, each with its sleep)\n", "", "kernel", "all", b.few)
	var pids []string
	err = b.growth("floor (no user namespace)", func() error {
		for range b.few {
			out, err := exec.Command(b.floor, "start", "-b", b.cache, "/bin/sleep", "infinity").Output()
			if err != nil {
				return fmt.Errorf("floor start: %w", err)
			}
			pids = append(pids, string(bytes.TrimSpace(out)))
		}
		return nil
	})
	err = errors.Join(err, run(b.floor, append([]string{"end"}, pids...)...))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.must("stop", "--all", "--kill")) }()
	for _, style := range []string{"plain", "command"} {
		for _, n := range names {
			if err := b.must("set", n, "init.style="+style); err != nil {
				return err
			}
		}
		err = b.growth("vserver, style "+style, func() error {
			_, err := each(names, func(n string) []string { return b.vserver("start", n) })
			return err
		})
		if err != nil {
			return err
		}
		if style == "plain" {
			if err := b.must("stop", "--all", "--kill"); err != nil {
				return err
			}
		}
	}
	time.Sleep(warm.Idle + settleTime)
	total := 0
	supervisors := b.supervisors()
	for _, pid := range supervisors {
		total += pss(pid)
	}
	fmt.Printf("  %d process of ours, resident %d KiB in all, %.1f KiB a guest\n", len(supervisors), total, float64(total)/float64(b.few))
	return nil
}

// growth prints how much memory making the guests took, each.
func (b *bench) growth(name string, fill func() error) error {
	time.Sleep(settleTime)
	kernel, all := meminfo()
	if err := fill(); err != nil {
		return err
	}
	time.Sleep(settleTime)
	kernelThen, allThen := meminfo()
	n := float64(b.few)
	fmt.Printf("  %-34s %8.0f %8.0f\n", name, float64(kernelThen-kernel)/n, float64(allThen-all)/n)
	return nil
}

// meminfo gives the kernel's own memory, and all that is not available, in KiB.
func meminfo() (kernel, used int) {
	b, _ := os.ReadFile("/proc/meminfo")
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		n, _ := strconv.Atoi(f[1])
		switch f[0] {
		case "Slab:", "KernelStack:", "PageTables:", "SecPageTables:", "Percpu:":
			kernel += n
		case "MemAvailable:":
			used = -n
		}
	}
	return kernel, used
}

// pss gives a process's share of memory, in KiB.
func pss(pid int) int {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "Pss:" {
			n, _ := strconv.Atoi(f[1])
			return n
		}
	}
	return 0
}
