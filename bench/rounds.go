package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// row is one line of a table: something that is timed again and again.
type row struct {
	name string
	once func() (time.Duration, error)
}

// warmUp is how many rounds are run before those that count.
const warmUp = 2

// pause lies between two measurements: what the kernel does late (namespaces that
// die, groups that are freed) should not be charged to the next.
const pause = 20 * time.Millisecond

// interleave runs the rows in turn and prints the table. A row that fails is said
// and left out from then on.
func interleave(out io.Writer, rounds int, rows []row) {
	times := make([][]time.Duration, len(rows))
	broken := make([]error, len(rows))
	for r := range warmUp + rounds {
		for i, row := range rows {
			if broken[i] != nil {
				continue
			}
			d, err := row.once()
			if err != nil {
				broken[i] = err
			} else if r >= warmUp {
				times[i] = append(times[i], d)
			}
			time.Sleep(pause)
		}
	}
	fmt.Fprintf(out, "  %-34s %8s %8s %8s %7s   (ms, %d rounds in turn)\n", "", "min", "median", "p90", "ratio", rounds)
	var floor time.Duration
	for i, row := range rows {
		if broken[i] != nil {
			fmt.Fprintf(out, "  %-34s %v\n", row.name, broken[i])
			continue
		}
		m := quantile(times[i], 0.5)
		if floor == 0 {
			floor = m
		}
		fmt.Fprintf(out, "  %-34s %8s %8s %8s %7.2f\n", row.name, ms(quantile(times[i], 0)), ms(m), ms(quantile(times[i], 0.9)), float64(m)/float64(floor))
	}
}

// quantile gives the value below which the part q of the times lies.
func quantile(times []time.Duration, q float64) time.Duration {
	if len(times) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(times))
	return s[int(q*float64(len(s)-1)+0.5)]
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()*1000) }

// command gives a row's measurement: the life of one process.
func command(args ...string) func() (time.Duration, error) {
	return func() (time.Duration, error) { return life(args) }
}

// life runs a command without input, its output thrown away, and gives the time from
// before the fork until it was reaped.
func life(args []string) (time.Duration, error) {
	files, err := newFiles()
	if err != nil {
		return 0, err
	}
	defer files.close()
	begin := time.Now()
	pid, err := syscall.ForkExec(args[0], args, &syscall.ProcAttr{Env: os.Environ(), Files: files.fds()})
	if err != nil {
		return 0, fmt.Errorf("%s: %w", args[0], err)
	}
	var status syscall.WaitStatus
	for {
		if _, err = syscall.Wait4(pid, &status, 0, nil); err != syscall.EINTR {
			break
		}
	}
	took := time.Since(begin)
	if err != nil || status != 0 {
		return 0, fmt.Errorf("%v: status %#x: %s", args, int(status), strings.TrimSpace(files.said()))
	}
	return took, nil
}

// files are a process's stdin, stdout and stderr.
type files struct{ null, stderr *os.File }

func newFiles() (*files, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate("stderr", unix.MFD_CLOEXEC)
	if err != nil {
		null.Close()
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	return &files{null, os.NewFile(uintptr(fd), "stderr")}, nil
}

func (f *files) fds() []uintptr {
	return []uintptr{f.null.Fd(), f.null.Fd(), f.stderr.Fd()}
}

func (f *files) said() string {
	b := make([]byte, 500)
	n, _ := f.stderr.ReadAt(b, 0)
	return string(b[:n])
}

func (f *files) close() {
	f.null.Close()
	f.stderr.Close()
}

// world is a thread with a mount namespace of its own, in which /sys/fs/cgroup shows
// cgroup v2 alone: some tools refuse hybrid hosts. Processes that it forks are there
// without any detour that would be timed.
type world struct{ jobs chan func() }

func newWorld() (*world, error) {
	w := &world{jobs: make(chan func())}
	ready := make(chan error)
	go w.live(ready)
	return w, <-ready
}

// live makes the world, and does the jobs there.
func (w *world) live(ready chan<- error) {
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	if unix.Gettid() == os.Getpid() {
		// /proc/self is of the main thread, and shall stay where it is.
		defer runtime.UnlockOSThread()
		elsewhere := make(chan error)
		go w.live(elsewhere)
		ready <- <-elsewhere
		return
	}
	err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS)
	if err == nil {
		err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, "")
	}
	if err == nil {
		err = unix.Mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, "")
	}
	ready <- err
	for job := range w.jobs {
		job()
	}
}

// command is command in this world.
func (w *world) command(args ...string) func() (time.Duration, error) {
	return func() (d time.Duration, err error) {
		done := make(chan struct{})
		w.jobs <- func() {
			d, err = life(args)
			close(done)
		}
		<-done
		return d, err
	}
}
