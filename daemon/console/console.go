// Package console is the consoles of guests: what they print goes to a log and to
// whoever is attached, what those type goes to the guest.
package console

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"vserver/daemon/logtail"
	"vserver/daemon/loop"
	"vserver/daemon/proto"
	"vserver/guest"
	"vserver/kernel/pty"
)

// Set is the consoles of a host. Its methods, and those of its consoles, are called
// in the loop only.
type Set struct {
	Dirs  guest.Dirs
	Loop  *loop.Loop
	Spill *Spill
	Say   func(format string, args ...any) // to vserverd's own log

	all map[guest.Name]*Console
}

// Console is what a guest prints to and its viewers type to. It belongs to the
// guest's name, so viewers stay attached while the guest reboots.
type Console struct {
	set     *Set
	name    guest.Name
	kind    guest.ConsoleType
	log     *consoleLog
	fd      int // pty master or read end of a pipe, -1 when there is none
	slave   int // kept open so that the master is never hung up, -1 for a pipe
	src     *loop.Source
	viewers map[*Viewer]bool

	credit  int // bytes that may be read now
	counted time.Time
	paused  *loop.Timer
	full    bool // the log could not be written; said once
}

// A guest may print at creditRate bytes a second, and creditBurst at once after a
// pause. One that prints more waits in its write(2), which costs it and nobody else:
// at this rate vserverd uses some hundredths of a processor for it.
const (
	creditRate  = 1 << 20
	creditBurst = 4 << 20
	creditLeast = 32 << 10 // it sleeps until there is so much
)

// Get gives the console of a guest, which is there until Close.
func (s *Set) Get(name guest.Name) *Console {
	if c := s.all[name]; c != nil {
		return c
	}
	if s.all == nil {
		s.all = map[guest.Name]*Console{}
	}
	c := &Console{set: s, name: name, fd: -1, slave: -1, viewers: map[*Viewer]bool{}, log: newLog(s.Dirs, name, 0)}
	s.all[name] = c
	return c
}

// Has gives the console of a guest if it is there, else nil.
func (s *Set) Has(name guest.Name) *Console { return s.all[name] }

// Close sends the viewers of a console away and forgets it. It gives the viewers.
func (s *Set) Close(c *Console) []*Viewer {
	var gone []*Viewer
	for v := range c.viewers {
		gone = append(gone, v)
	}
	clear(c.viewers)
	c.release()
	c.log.close()
	delete(s.all, c.name)
	return gone
}

// Open takes the console of a fresh start; fd is the console's own from now on.
func (c *Console) Open(s proto.Start, fd int) error {
	c.Shut()
	c.kind, c.fd, c.slave = s.Console, fd, -1
	c.credit, c.counted = creditBurst, time.Now()
	if c.log.limit != int64(s.LogSize) {
		c.log.close()
		c.log = newLog(c.set.Dirs, c.name, s.LogSize)
	}
	if fd < 0 {
		return nil
	}
	if err := syscall.SetNonblock(fd, true); err != nil {
		return fmt.Errorf("console of %s: %w", c.name, err)
	}
	if c.kind == guest.ConsoleTTY {
		c.slave, _ = pty.Peer(fd) // without it, hang-ups are waited out: see hung
	}
	var err error
	c.src, err = c.set.Loop.Add(fd, loop.Readable, c.ready)
	return err
}

// IsOpen tells whether there is something to read from.
func (c *Console) IsOpen() bool { return c.fd >= 0 }

// Viewers is how many are attached.
func (c *Console) Viewers() int { return len(c.viewers) }

// Resize tells the guest's terminal its window size.
func (c *Console) Resize(rows, cols uint16) error {
	if c.fd < 0 || c.kind != guest.ConsoleTTY {
		return nil
	}
	return pty.Resize(c.fd, rows, cols)
}

// Shut closes the console of a dead guest, after what is still in it was logged.
func (c *Console) Shut() {
	if c.fd < 0 {
		return
	}
	for range creditBurst / 4096 { // no more than its buffers hold
		if n, err := c.take(); n <= 0 || err != nil {
			break
		}
	}
	c.release()
}

func (c *Console) release() {
	c.set.Loop.Drop(c.src)
	c.set.Loop.Cancel(c.paused)
	for _, fd := range []int{c.fd, c.slave} {
		if fd >= 0 {
			syscall.Close(fd)
		}
	}
	c.fd, c.slave, c.src, c.paused = -1, -1, nil, nil
}

// ready reads once: other guests' consoles have their turn as well.
func (c *Console) ready(events uint32) {
	now := time.Now()
	c.credit = min(creditBurst, c.credit+int(now.Sub(c.counted).Seconds()*creditRate))
	c.counted = now
	if c.credit <= 0 && events&loop.HungUp == 0 {
		c.pause((creditLeast - time.Duration(c.credit)) * time.Second / creditRate)
		return
	}
	n, err := c.take()
	c.credit -= max(n, 0)
	switch {
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EINTR):
	case err != nil || n == 0:
		c.hung()
	}
}

// pause reads nothing for a while.
func (c *Console) pause(d time.Duration) {
	c.set.Loop.Want(c.src, 0)
	c.set.Loop.Cancel(c.paused)
	src := c.src
	c.paused = c.set.Loop.After(d, func() { c.set.Loop.Want(src, loop.Readable) })
}

// hung handles the end of the output: nobody has the pipe, or the terminal, open any
// more. A pipe stays so; a terminal may be opened again.
func (c *Console) hung() {
	c.set.Loop.Drop(c.src)
	if c.kind != guest.ConsoleTTY {
		return
	}
	fd := c.fd
	c.set.Loop.Cancel(c.paused)
	c.paused = c.set.Loop.After(time.Second, func() {
		if c.fd == fd {
			c.src, _ = c.set.Loop.Add(fd, loop.Readable, c.ready)
		}
	})
}

// take reads a piece, logs it and shows it to the viewers. The order of its parts is
// what makes a kill at any moment harmless: see Spill.
func (c *Console) take() (n int, err error) {
	at, logErr := c.log.end()
	buf := c.set.Spill.begin(c.name, at)
	n, err = syscall.Read(c.fd, buf[:c.log.piece()])
	data := c.set.Spill.read(max(n, 0))
	if n > 0 {
		if logErr == nil {
			logErr = c.log.put(data, at)
		}
		for v := range c.viewers {
			v.Show(data)
		}
	}
	c.set.Spill.done(max(n, 0))
	if errors.Is(logErr, guest.ErrNotFound) {
		logErr = nil // deleted, with its log
	}
	if logErr != nil && !c.full {
		c.set.Say("%s: console log: %v", c.name, logErr)
	}
	c.full = logErr != nil
	return n, err
}

// typed writes what a viewer typed, and tells how much of it was taken.
func (c *Console) typed(data []byte) int {
	if c.fd < 0 || c.kind != guest.ConsoleTTY {
		return len(data) // nobody can read it
	}
	n, err := syscall.Write(c.fd, data)
	if err != nil && !errors.Is(err, syscall.EAGAIN) {
		return len(data)
	}
	return max(n, 0)
}

// history is the last lines of the log, cleaned, for a viewer that comes.
func (c *Console) history(lines int) []byte {
	const most = 64 << 10 // fits the socket's buffer
	var b bytes.Buffer
	if lines > 0 {
		logtail.Copy(context.Background(), c.log.path, &b, logtail.Options{Lines: min(lines, 1000)})
	}
	text := bytes.ReplaceAll(b.Bytes(), []byte("\n"), []byte("\r\n"))
	return text[max(0, len(text)-most):]
}

// Remark puts a line that is not the guest's into its log, and tells it the viewers.
func (c *Console) Remark(format string, args ...any) {
	if c.IsOpen() {
		at, err := c.log.end()
		if err == nil {
			err = c.log.put(fmt.Appendf(nil, "\n[vserver: "+format+"]\n", args...), at)
		}
		if err != nil {
			c.set.Say("%s: console log: %v", c.name, err)
		}
	}
	c.Notice(format, args...)
}

// Notice tells the viewers something that is not the guest's.
func (c *Console) Notice(format string, args ...any) {
	text := fmt.Appendf(nil, "\r\n["+format+"]\r\n", args...)
	for v := range c.viewers {
		v.Show(text)
	}
}
