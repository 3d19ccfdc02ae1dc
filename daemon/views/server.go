package views

import (
	"errors"
	"syscall"
	"time"

	"vserver/daemon/loop"
	"vserver/kernel/fuse"
	"vserver/view"
)

// server answers the requests of all guests, one after the other, in a loop of its own:
// vserverd's other work does not wait for it. All its fields belong to that loop, but
// for loop.Post.
type server struct {
	loop    *loop.Loop
	machine *view.Machine
	slot    *slot
	group   func(*connection) string // path of a guest's control group
	say     func(format string, args ...any)
	gone    func(*connection) // called when a guest's file system is gone
	all     map[*connection]bool
	ended   bool
}

// What a guest may have done for it: part of a processor's time in the long run, and how
// much at once. A guest that asks for more waits.
const (
	costPart  = 4 // a quarter
	costBurst = 500 * time.Millisecond
)

// serve works until stop.
func (s *server) serve() {
	for !s.ended {
		if err := s.loop.Turn(); err != nil {
			s.say("views: %v", err)
			time.Sleep(time.Second)
		}
	}
	s.loop.Close()
	s.machine.Close()
}

// recover answers what the server before left. c are all connections there are.
func (s *server) recover(all []*connection) {
	id, r, hopeless, ok := s.slot.left()
	if !ok {
		return
	}
	for _, c := range all {
		if c.id == id {
			if hopeless {
				s.say("%s: view: request %d: %d servers died over it", c.name, r.Op, tooOften)
			}
			s.open(c)
			s.answer(c, r, hopeless)
		}
	}
	s.slot.done()
}

// open makes ready to answer for a guest.
func (s *server) open(c *connection) {
	if c.guest != nil {
		return
	}
	g, err := s.machine.NewGuest(s.group(c), c.pid)
	if err != nil {
		s.say("%s: view: %v", c.name, err)
		return
	}
	c.guest = g
	g.Tree.Kept = toldOf{s.slot, c.id}
	c.record = s.slot.record(c.id)
	g.Load, _ = saved(c.record)
}

// add begins to answer a guest.
func (s *server) add(c *connection) {
	s.all[c] = true
	s.open(c)
	c.paid = time.Now()
	var err error
	if c.src, err = s.loop.Add(c.fd, loop.Readable, func(uint32) { s.ready(c) }); err != nil {
		s.say("%s: view: %v", c.name, err)
		s.drop(c)
		return
	}
	s.sample(c)
}

// drop ends with a guest.
func (s *server) drop(c *connection) {
	if !s.all[c] {
		return
	}
	delete(s.all, c)
	s.loop.Drop(c.src)
	s.loop.Cancel(c.next)
	s.slot.forget(c.record)
	if c.guest != nil {
		c.guest.Close()
	}
	s.gone(c)
}

// ready takes a request and answers it.
func (s *server) ready(c *connection) {
	began := time.Now()
	s.slot.begin(c.id)
	n, err := fuse.Take(c.fd, s.slot.buffer())
	if errors.Is(err, syscall.EAGAIN) {
		return
	}
	if err != nil {
		if !errors.Is(err, syscall.ENODEV) {
			s.say("%s: view: %v", c.name, err)
		}
		s.drop(c)
		return
	}
	if r, ok := fuse.Parse(s.slot.buffer()[:n]); ok {
		s.loop.Linger = lingers(r.Op)
		s.answer(c, r, false)
	}
	s.slot.done()
	s.charge(c, began, time.Now())
}

// lingers tells how long the next question is waited for in the loop itself. Who asks for a
// size asks for the text next; after that it works.
func lingers(asked fuse.Op) time.Duration {
	if asked == fuse.GetAttr {
		return 100 * time.Microsecond
	}
	return 0
}

// charge counts what a guest costs, and lets it wait when that is too much.
func (s *server) charge(c *connection, began, now time.Time) {
	c.debt = max(0, c.debt-began.Sub(c.paid)/costPart) + now.Sub(began)
	c.paid = now
	if c.debt < costBurst {
		return
	}
	s.loop.Want(c.src, 0)
	s.loop.After(c.debt-costBurst+10*time.Millisecond, func() {
		if s.all[c] {
			s.loop.Want(c.src, loop.Readable)
		}
	})
}

// answer answers one request; one that is hopeless with an error.
func (s *server) answer(c *connection, r fuse.Request, hopeless bool) {
	var data []byte
	e := syscall.EIO
	if s.open(c); c.guest != nil && !hopeless {
		data, e = c.guest.Answer(r)
	}
	if r.Op.Silent() {
		return
	}
	err := fuse.Answer(c.fd, r.Unique, e, data)
	// Nobody waits any more, or another server has answered.
	if err != nil && !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.ENODEV) && !errors.Is(err, syscall.EPERM) {
		s.say("%s: view: request %d: %v", c.name, r.Op, err)
	}
}

// sample takes the guest's load, and goes on to do so.
func (s *server) sample(c *connection) {
	pause := view.LoadEvery
	if c.guest != nil {
		now := time.Now().UnixNano()
		_, at := saved(c.record)
		passed := time.Duration(now - at)
		switch {
		case at == 0 || passed < 0:
			save(c.record, c.guest.Load, now)
		case passed >= view.LoadEvery:
			times := int(passed / view.LoadEvery)
			c.guest.Sample(times) // one that is ending has no load
			at += int64(times) * int64(view.LoadEvery)
			save(c.record, c.guest.Load, at)
			pause -= time.Duration(now - at)
		default:
			pause -= passed
		}
	}
	c.next = s.loop.After(pause, func() {
		if s.all[c] {
			s.sample(c)
		}
	})
}
