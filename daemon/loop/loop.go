// Package loop is the heart of vserverd: one goroutine that waits for all descriptors
// and timers, with epoll(7). A hundred guests cost it no goroutines, and everything
// happens one thing at a time.
package loop

import (
	"errors"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"vserver/kernel/epoll"
)

// Loop waits and calls. What takes long runs elsewhere and posts its result; Post is
// the only method for other goroutines.
type Loop struct {
	// Linger is for who is asked one question after the other: how long the next event is
	// waited for, after one, without a word to the Go runtime, less than a millisecond. It saves
	// for each that the runtime finds other work for the processor and wakes its monitor.
	Linger time.Duration

	epoll   int
	sources map[int32]*Source
	number  int32     // of the last source, to tell a stale event from a new one
	next    time.Time // when the first of the timers is due; zero when that is not known
	timers  []*Timer
	asked   bool // something came the last time

	wakeR, wakeW int
	mu           sync.Mutex
	posted       []func() // guarded by mu
}

// Source is a descriptor that is waited for.
type Source struct {
	// FD is the descriptor.
	FD     int
	number int32
	events uint32
	ready  func(events uint32)
}

// Timer is something to do at a time.
type Timer struct {
	when time.Time
	do   func()
}

// Events of epoll(7); hang-ups and errors are always told.
const (
	Readable = syscall.EPOLLIN
	Writable = syscall.EPOLLOUT
	HungUp   = syscall.EPOLLHUP | syscall.EPOLLERR
)

// New gives a loop that waits for nothing yet.
func New() (*Loop, error) {
	ep, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	var p [2]int
	if err := syscall.Pipe2(p[:], syscall.O_CLOEXEC|syscall.O_NONBLOCK); err != nil {
		syscall.Close(ep)
		return nil, os.NewSyscallError("pipe2", err)
	}
	l := &Loop{epoll: ep, sources: map[int32]*Source{}, wakeR: p[0], wakeW: p[1]}
	_, err = l.Add(p[0], Readable, func(uint32) {
		for buf := make([]byte, 64); ; {
			if n, err := syscall.Read(l.wakeR, buf); n < len(buf) || err != nil {
				break
			}
		}
	})
	if err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// Close ends the loop; the descriptors stay their owners'.
func (l *Loop) Close() {
	syscall.Close(l.epoll)
	syscall.Close(l.wakeR)
	syscall.Close(l.wakeW)
}

// Add waits for events on fd, which stays the caller's, and calls ready with those
// that came.
func (l *Loop) Add(fd int, events uint32, ready func(uint32)) (*Source, error) {
	l.number++
	s := &Source{FD: fd, number: l.number, events: events, ready: ready}
	ev := syscall.EpollEvent{Events: events, Fd: int32(fd), Pad: s.number}
	if err := syscall.EpollCtl(l.epoll, syscall.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return nil, os.NewSyscallError("epoll_ctl", err)
	}
	l.sources[int32(fd)] = s
	return s, nil
}

// Events are those that s waits for.
func (s *Source) Events() uint32 { return s.events }

// Want changes the events that are waited for. s may be nil or dropped.
func (l *Loop) Want(s *Source, events uint32) {
	if s == nil || s.events == events || l.sources[int32(s.FD)] != s {
		return
	}
	s.events = events
	ev := syscall.EpollEvent{Events: events, Fd: int32(s.FD), Pad: s.number}
	syscall.EpollCtl(l.epoll, syscall.EPOLL_CTL_MOD, s.FD, &ev)
}

// Drop ends the waiting; the caller may close the descriptor afterwards. s may be nil
// or dropped.
func (l *Loop) Drop(s *Source) {
	if s == nil || l.sources[int32(s.FD)] != s {
		return
	}
	delete(l.sources, int32(s.FD))
	syscall.EpollCtl(l.epoll, syscall.EPOLL_CTL_DEL, s.FD, nil)
}

// After does something later.
func (l *Loop) After(d time.Duration, do func()) *Timer {
	t := &Timer{time.Now().Add(d), do}
	l.timers = append(l.timers, t)
	if t.when.Before(l.next) {
		l.next = t.when
	}
	return t
}

// Cancel forgets a timer, which may be nil or over.
func (l *Loop) Cancel(t *Timer) {
	for i, x := range l.timers {
		if x == t {
			l.next = time.Time{}
			last := len(l.timers) - 1
			l.timers[i], l.timers[last] = l.timers[last], nil
			l.timers = l.timers[:last]
			return
		}
	}
}

// Post has do called in the loop.
func (l *Loop) Post(do func()) {
	l.mu.Lock()
	l.posted = append(l.posted, do)
	l.mu.Unlock()
	syscall.Write(l.wakeW, []byte{0}) // a full pipe wakes as well
}

// Turn waits once and does what is due.
func (l *Loop) Turn() error {
	var events [64]syscall.EpollEvent
	n := l.linger(&events)
	if n == 0 {
		var err error
		if n, err = syscall.EpollWait(l.epoll, events[:], l.patience()); err != nil && !errors.Is(err, syscall.EINTR) {
			return os.NewSyscallError("epoll_wait", err)
		}
	}
	l.asked = n > 0
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

// linger waits for Linger if something came the last time, and gives what came now.
func (l *Loop) linger(events *[64]syscall.EpollEvent) int {
	if l.Linger == 0 || !l.asked || len(l.timers) > 0 && time.Until(l.first()) < l.Linger {
		return 0
	}
	return epoll.Linger(l.epoll, events[:], l.Linger)
}

// patience is the time to the next timer in milliseconds, -1 for ever.
func (l *Loop) patience() int {
	if len(l.timers) == 0 {
		return -1
	}
	return int(max(0, min(time.Until(l.first())+time.Millisecond-1, time.Hour)) / time.Millisecond)
}

// first is when the first timer is due; zero when there is none.
func (l *Loop) first() time.Time {
	if len(l.timers) == 0 {
		return time.Time{}
	}
	if l.next.IsZero() {
		l.next = l.timers[0].when
		for _, t := range l.timers {
			if t.when.Before(l.next) {
				l.next = t.when
			}
		}
	}
	return l.next
}

// ring does what is due; what that adds waits for the next turn.
func (l *Loop) ring(now time.Time) {
	if now.Before(l.next) {
		return
	}
	var due []*Timer
	for _, t := range l.timers {
		if !t.when.After(now) {
			due = append(due, t)
		}
	}
	// Late as they may be, they go in their order.
	slices.SortFunc(due, func(a, b *Timer) int { return a.when.Compare(b.when) })
	for _, t := range due {
		l.Cancel(t)
	}
	for _, t := range due {
		t.do()
	}
}
