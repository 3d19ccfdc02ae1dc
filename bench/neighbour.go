package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// hogger is bench/neighbour/neighbour.c in the tree of all guests.
const hogger = "/bench-neighbour"

// window is how long the good guest works each time, settling how long a hog or its end
// is left alone before that.
const (
	window   = 400 * time.Millisecond
	settling = 150 * time.Millisecond
)

// hogs are the kinds, with what the good guest may lose by them.
func hogs() []struct {
	kind string
	most float64
} {
	return []struct {
		kind string
		most float64
	}{
		{"cpu", 0.01}, {"memory", 0.01}, {"fork", 0.01}, {"disk", 0.03}, {"net", 0.05},
		{"fd", 0.01}, {"pipe", 0.01}, {"inotify", 0.01}, {"pty", 0.01}, {"socket", 0.01},
	}
}

// neighbour measures what a guest loses by another that takes all it can get. Both have
// half of the processors, memory and processes of their own, and the hog a bound for the
// disk. The good guest works for a moment beside nobody, beside the hog, and beside
// nobody again: the loss is that of the middle against the mean of the others, and the
// noise how far those are apart. Of all rounds the medians count.
//
// What else runs on the machine moves over to the good guest's processors when the hog
// takes the others: beside other work only "chrt -f 1 go run ./bench -only neighbour" tells
// of the hog. The hog itself is never before others.
func (b *bench) neighbour() (err error) {
	if err := run("gcc", "-O2", "-static", "-o", b.cache+hogger, "bench/neighbour/neighbour.c"); err != nil {
		return err
	}
	if err := b.neighbours(); err != nil {
		return err
	}
	if err := b.must("start", "good"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.must("stop", "good", "--kill")) }()
	fmt.Printf("  %-10s %12s %8s %8s %8s   (%d rounds)\n", "hog", "alone, 1/s", "lost", "noise", "bound", b.rounds)
	for _, h := range hogs() {
		if err := b.must("set", "bad", "init.command=["+hogger+", hog, "+h.kind+"]"); err != nil {
			return err
		}
		var alone, lost, noise []float64
		for range b.rounds {
			before, err1 := b.works(h.kind)
			err2 := run("chrt", append([]string{"-o", "0"}, b.vserver("start", "bad")...)...)
			time.Sleep(settling)
			beside, err3 := b.works(h.kind)
			err4 := b.must("stop", "bad", "--kill")
			time.Sleep(settling)
			after, err5 := b.works(h.kind)
			if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
				return err
			}
			mean := (before + after) / 2
			alone, lost, noise = append(alone, mean), append(lost, 1-beside/mean), append(noise, max(before, after)/min(before, after)-1)
		}
		fmt.Printf("  %-10s %12.0f %7.1f%% %7.1f%% %7.0f%%\n", h.kind, middle(alone), 100*middle(lost), 100*middle(noise), 100*h.most)
	}
	return nil
}

func middle(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}

// works has the good guest do one kind of work, and gives how often that came round in a
// second.
func (b *bench) works(kind string) (float64, error) {
	out, err := said("", b.vserver("exec", "good", hogger, "work", kind, strconv.Itoa(int(window.Milliseconds())))...)()
	if err != nil {
		return 0, fmt.Errorf("work %s: %w", kind, err)
	}
	return strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
}

// neighbours makes both guests.
func (b *bench) neighbours() error {
	device, err := deviceOf(b.work)
	if err != nil {
		return err
	}
	var cpus unix.CPUSet
	if err := unix.SchedGetaffinity(0, &cpus); err != nil {
		return err
	}
	half := max(cpus.Count()/2, 1)
	own := []string{"limits.memory=512M", "limits.pids=256", "limits.rlimits={nofile: 1024:4096}"}
	for name, more := range map[string][]string{
		"good": {fmt.Sprintf("limits.cpuset=0-%d", half-1)},
		"bad":  {fmt.Sprintf("limits.cpuset=%d-%d", half, max(cpus.Count()-1, half)), "limits.io.devices={" + device + ": {wbps: 10M, wiops: 100}}"},
	} {
		if err := b.guest(name, "command", "/bin/sleep", "infinity"); err != nil {
			return err
		}
		for _, s := range append(slices.Clone(own), more...) {
			if err := b.must("set", name, s); err != nil {
				return err
			}
		}
	}
	return nil
}

// deviceOf gives the node of the disk that a file lies on.
func deviceOf(path string) (string, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		return "", err
	}
	link := fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev))
	to, err := filepath.EvalSymlinks(link)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(filepath.Join(to, "partition")); err == nil {
		to = filepath.Dir(to) // what is bounded is whole
	}
	return "/dev/" + filepath.Base(to), nil
}
