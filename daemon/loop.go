package daemon

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"time"
)

// loop is the worker's heart: one goroutine that waits for all descriptors and
// timers. Everything of the worker happens in it, one thing at a time; what takes
// long runs elsewhere and posts its result.
type loop struct {
	epoll   int
	sources map[int32]*source
	number  int32 // of the last source, to tell a stale event from a new one
	timers  []*timer

	wakeR, wakeW int
	mu           sync.Mutex
	posted       []func() // guarded by mu
}

// source is a descriptor that is waited for.
type source struct {
	fd     int
	number int32
	events uint32
	ready  func(events uint32)
}

// timer is something to do at a time.
type timer struct {
	when time.Time
	do   func()
}

// Events of epoll(7); hang-ups and errors are always told.
const (
	readable = syscall.EPOLLIN
	writable = syscall.EPOLLOUT
	hungUp   = syscall.EPOLLHUP | syscall.EPOLLERR
)

func newLoop() (*loop, error) {
	ep, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	var p [2]int
	if err := syscall.Pipe2(p[:], syscall.O_CLOEXEC|syscall.O_NONBLOCK); err != nil {
		syscall.Close(ep)
		return nil, os.NewSyscallError("pipe2", err)
	}
	l := &loop{epoll: ep, sources: map[int32]*source{}, wakeR: p[0], wakeW: p[1]}
	_, err = l.add(p[0], readable, func(uint32) {
		for buf := make([]byte, 64); ; {
			if n, err := syscall.Read(l.wakeR, buf); n < len(buf) || err != nil {
				break
			}
		}
	})
	if err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *loop) close() {
	syscall.Close(l.epoll)
	syscall.Close(l.wakeR)
	syscall.Close(l.wakeW)
}

// add waits for events on fd, which stays the caller's.
func (l *loop) add(fd int, events uint32, ready func(uint32)) (*source, error) {
	l.number++
	s := &source{fd: fd, number: l.number, events: events, ready: ready}
	ev := syscall.EpollEvent{Events: events, Fd: int32(fd), Pad: s.number}
	if err := syscall.EpollCtl(l.epoll, syscall.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return nil, os.NewSyscallError("epoll_ctl", err)
	}
	l.sources[int32(fd)] = s
	return s, nil
}

// want changes the events that are waited for.
func (l *loop) want(s *source, events uint32) {
	if s == nil || s.events == events || l.sources[int32(s.fd)] != s {
		return
	}
	s.events = events
	ev := syscall.EpollEvent{Events: events, Fd: int32(s.fd), Pad: s.number}
	syscall.EpollCtl(l.epoll, syscall.EPOLL_CTL_MOD, s.fd, &ev)
}

// drop ends the waiting; the caller may close the descriptor afterwards.
func (l *loop) drop(s *source) {
	if s == nil || l.sources[int32(s.fd)] != s {
		return
	}
	delete(l.sources, int32(s.fd))
	syscall.EpollCtl(l.epoll, syscall.EPOLL_CTL_DEL, s.fd, nil)
}

// after does something later.
func (l *loop) after(d time.Duration, do func()) *timer {
	t := &timer{time.Now().Add(d), do}
	l.timers = append(l.timers, t)
	return t
}

// cancel forgets a timer.
func (l *loop) cancel(t *timer) {
	for i, x := range l.timers {
		if x == t {
			last := len(l.timers) - 1
			l.timers[i], l.timers[last] = l.timers[last], nil
			l.timers = l.timers[:last]
			return
		}
	}
}

// post has do called in the loop. It is the only method for other goroutines.
func (l *loop) post(do func()) {
	l.mu.Lock()
	l.posted = append(l.posted, do)
	l.mu.Unlock()
	syscall.Write(l.wakeW, []byte{0}) // a full pipe wakes as well
}

// turn waits once and does what is due.
func (l *loop) turn() error {
	var events [64]syscall.EpollEvent
	n, err := syscall.EpollWait(l.epoll, events[:], l.patience())
	if err != nil && !errors.Is(err, syscall.EINTR) {
		return os.NewSyscallError("epoll_wait", err)
	}
	for _, ev := range events[:max(n, 0)] {
		if s := l.sources[ev.Fd]; s != nil && s.number == ev.Pad {
			s.ready(ev.Events)
		}
	}
	l.mu.Lock()
	posted := l.posted
	l.posted = nil
	l.mu.Unlock()
	for _, do := range posted {
		do()
	}
	l.ring(time.Now())
	return nil
}

// patience is the time to the next timer in milliseconds, -1 for ever.
func (l *loop) patience() int {
	if len(l.timers) == 0 {
		return -1
	}
	next := l.timers[0].when
	for _, t := range l.timers {
		if t.when.Before(next) {
			next = t.when
		}
	}
	return int(max(0, min(time.Until(next)+time.Millisecond-1, time.Hour)) / time.Millisecond)
}

// ring does what is due; what that adds waits for the next turn.
func (l *loop) ring(now time.Time) {
	var due []*timer
	for _, t := range l.timers {
		if !t.when.After(now) {
			due = append(due, t)
		}
	}
	for _, t := range due {
		l.cancel(t)
	}
	for _, t := range due {
		t.do()
	}
}
