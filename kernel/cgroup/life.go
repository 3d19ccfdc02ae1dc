package cgroup

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"vserver/guest"
)

// FreezeWait is how long Freeze waits for the last process to stand still. One that
// sleeps uninterruptibly in the kernel may keep it longer.
const FreezeWait = 2 * time.Second

// Frozen says whether every process of the group stands still.
func (g *Group) Frozen() (bool, error) { return g.event("frozen") }

// Kill sends SIGKILL to every process in the group and below it, at once, so that a
// process that forks cannot get away. It does not wait: WaitEmpty does.
func (g *Group) Kill() error { return g.Write("cgroup.kill", "1") }

// Freeze makes the group's processes stand still, or run again, and waits until they
// do. The error is guest.ErrBusy when they do not within FreezeWait.
func (g *Group) Freeze(on bool) error {
	text, want := "0", "0"
	if on {
		text, want = "1", "1"
	}
	if err := g.Write("cgroup.freeze", text); err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(context.Background(), FreezeWait)
	defer stop()
	err := g.await(ctx, "frozen", want)
	if ctx.Err() != nil {
		return fmt.Errorf("freeze %s: %w after %v", g.path, guest.ErrBusy, FreezeWait)
	}
	return err
}

// WaitEmpty waits until no process lives in the group or below it; a group that was
// removed is empty. The error is ctx.Err() when ctx ends first. The end of one of the
// processes behind pidfds, as the init of a guest, is worth a look at once.
func (g *Group) WaitEmpty(ctx context.Context, pidfds ...int) error {
	return g.await(ctx, "populated", "0", pidfds...)
}

// CPUTime is the processor time that all processes of the group have used, those that
// have ended included, in user mode and in the kernel. It needs no controller.
func (g *Group) CPUTime() (user, system time.Duration, err error) {
	text, err := readAt(g.fd, "cpu.stat")
	if err != nil {
		return 0, 0, g.fail("read", "cpu.stat", gone(err))
	}
	user, system = ParseCPUTime(text)
	return user, system, nil
}

// ParseCPUTime reads what CPUTime tells in the text of cpu.stat; zero is what it does not
// say.
func ParseCPUTime(text []byte) (user, system time.Duration) {
	return micros(text, "user_usec"), micros(text, "system_usec")
}

// micros gives the value of a key in microseconds; zero when it is not there.
func micros(text []byte, key string) time.Duration {
	v, _ := value(text, key)
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/1000 {
		return 0
	}
	return time.Duration(n) * time.Microsecond
}

func (g *Group) event(key string) (bool, error) {
	text, err := readAt(g.fd, "cgroup.events")
	if err == unix.ENODEV || err == unix.ENOENT {
		return false, nil // the group was removed
	}
	v, ok := value(text, key)
	if err == nil && !ok {
		err = fmt.Errorf("%s: %w", key, guest.ErrUnsupported)
	}
	return string(v) == "1", g.fail("read", "cgroup.events", err)
}

// await waits until cgroup.events has the wanted value for key.
//
// The kernel tells of changes by POLLPRI, at most once in 10 ms for a file
// (CGROUP_FILE_NOTIFY_MIN_INTV): the end of a guest that has just begun comes late. So
// it is looked at without being told, more and more seldom, for the first 20 ms.
func (g *Group) await(ctx context.Context, key, want string, pidfds ...int) error {
	fd, err := openat(g.fd, "cgroup.events", unix.O_RDONLY)
	if err == unix.ENODEV || err == unix.ENOENT {
		return nil
	}
	if err != nil {
		return g.fail("open", "cgroup.events", err)
	}
	defer unix.Close(fd)
	wake, stop, err := wakeup(ctx)
	if err != nil {
		return err
	}
	defer stop()

	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLPRI}, {Fd: int32(wake), Events: unix.POLLIN}}
	for _, p := range pidfds {
		fds = append(fds, unix.PollFd{Fd: int32(p), Events: unix.POLLIN})
	}
	const soon = 100 * time.Microsecond
	buf := make([]byte, 256)
	for look := soon; ; look *= 2 {
		n, err := unix.Pread(fd, buf, 0)
		if err == unix.ENODEV {
			return nil
		}
		if err != nil && err != unix.EINTR {
			return g.fail("read", "cgroup.events", err)
		}
		if v, _ := value(buf[:max(n, 0)], key); string(v) == want {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		var bound *unix.Timespec
		if look < 20*time.Millisecond {
			t := unix.NsecToTimespec(int64(look))
			bound = &t
		}
		if _, err := unix.Ppoll(fds, bound, nil); err != nil && err != unix.EINTR {
			return g.fail("poll", "cgroup.events", err)
		}
		for i := range fds[2:] {
			if p := &fds[2+i]; p.Fd >= 0 && p.Revents != 0 {
				p.Fd, look = -1, soon/2 // told; it leaves the group in a moment, if not yet
			}
		}
	}
}

// wakeup gives a descriptor that becomes readable when ctx ends; -1, which poll(2)
// ignores, when it never does.
func wakeup(ctx context.Context) (fd int, stop func(), err error) {
	if ctx.Done() == nil {
		return -1, func() {}, nil
	}
	fd, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return -1, nil, fmt.Errorf("eventfd: %w", err)
	}
	done := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		defer close(done)
		unix.Write(fd, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	})
	return fd, func() {
		if !cancel() {
			<-done // it runs: the descriptor must not be another's when it writes
		}
		unix.Close(fd)
	}, nil
}
