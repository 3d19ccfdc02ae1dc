package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"vserver/daemon/logtail"
	"vserver/daemon/proto"
	"vserver/guest"
	"vserver/kernel/pty"
	"vserver/kernel/seqpacket"
)

// console is what a guest prints to and its clients type to. It belongs to the
// guest's name, so clients stay attached while the guest reboots.
type console struct {
	w       *worker
	name    guest.Name
	kind    guest.ConsoleType
	log     *consoleLog
	fd      int // pty master or read end of a pipe, -1 when there is none
	slave   int // kept open so that the master is never hung up, -1 for a pipe
	src     *source
	clients map[*client]bool

	credit  int // bytes that may be read now
	counted time.Time
	paused  *timer
	full    bool // the log could not be written; said once
}

// A guest may print at creditRate bytes a second, and creditBurst at once after a
// pause. One that prints more waits in its write(2), which costs it and nobody else:
// at this rate vserverd uses about one hundredth of a processor for it.
const (
	creditRate  = 1 << 20
	creditBurst = 4 << 20
	creditLeast = 32 << 10 // it sleeps until there is so much
)

// open takes the console of a fresh start; fd is the console's own from now on.
func (c *console) open(s proto.Start, fd int) error {
	c.shut()
	c.kind, c.fd, c.slave = s.Console, fd, -1
	c.credit, c.counted = creditBurst, time.Now()
	if c.log.limit != int64(s.LogSize) {
		c.log.close()
		c.log = newLog(c.w.dirs, c.name, s.LogSize)
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
	c.src, err = c.w.loop.add(fd, readable, c.ready)
	return err
}

// shut closes the console, after what is still in it was logged.
func (c *console) shut() {
	if c.fd < 0 {
		return
	}
	for range creditBurst / 4096 { // the guest is dead: no more than its buffers hold
		if n, err := c.take(); n <= 0 || err != nil {
			break
		}
	}
	c.release()
}

func (c *console) release() {
	c.w.loop.drop(c.src)
	c.w.loop.cancel(c.paused)
	for _, fd := range []int{c.fd, c.slave} {
		if fd >= 0 {
			syscall.Close(fd)
		}
	}
	c.fd, c.slave, c.src, c.paused = -1, -1, nil, nil
}

// ready reads once: other guests' consoles have their turn as well.
func (c *console) ready(events uint32) {
	now := time.Now()
	c.credit = min(creditBurst, c.credit+int(now.Sub(c.counted).Seconds()*creditRate))
	c.counted = now
	if c.credit <= 0 && events&hungUp == 0 {
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
func (c *console) pause(d time.Duration) {
	c.w.loop.want(c.src, 0)
	c.w.loop.cancel(c.paused)
	src := c.src
	c.paused = c.w.loop.after(d, func() { c.w.loop.want(src, readable) })
}

// hung handles the end of the output: nobody has the pipe, or the terminal, open any
// more. A pipe stays so; a terminal may be opened again.
func (c *console) hung() {
	c.w.loop.drop(c.src)
	if c.kind != guest.ConsoleTTY {
		return
	}
	fd := c.fd
	c.w.loop.cancel(c.paused)
	c.paused = c.w.loop.after(time.Second, func() {
		if c.fd == fd {
			c.src, _ = c.w.loop.add(fd, readable, c.ready)
		}
	})
}

// take reads a piece, logs it and shows it to the clients. The order of its parts is
// what makes a kill at any moment harmless: see spill.
func (c *console) take() (n int, err error) {
	at, logErr := c.log.end()
	buf := c.w.spill.begin(c.name, at)
	n, err = syscall.Read(c.fd, buf[:c.log.piece()])
	data := c.w.spill.read(max(n, 0))
	if n > 0 {
		if logErr == nil {
			logErr = c.log.put(data, at)
		}
		for cl := range c.clients {
			cl.show(data)
		}
	}
	c.w.spill.done(max(n, 0))
	if logErr != nil && !c.full {
		c.w.say("%s: console log: %v", c.name, logErr)
	}
	c.full = logErr != nil
	return n, err
}

// typed writes what a client typed, and tells how much of it was taken.
func (c *console) typed(data []byte) int {
	if c.fd < 0 || c.kind != guest.ConsoleTTY {
		return len(data) // nobody can read it
	}
	n, err := syscall.Write(c.fd, data)
	if err != nil && !errors.Is(err, syscall.EAGAIN) {
		return len(data)
	}
	return max(n, 0)
}

// history is the last lines of the log, cleaned, for a client that comes.
func (c *console) history(lines int) []byte {
	const most = 64 << 10 // fits the socket's buffer
	var b bytes.Buffer
	if lines > 0 {
		logtail.Copy(context.Background(), c.log.path, &b, logtail.Options{Lines: min(lines, 1000)})
	}
	text := bytes.ReplaceAll(b.Bytes(), []byte("\n"), []byte("\r\n"))
	return text[max(0, len(text)-most):]
}

// notice tells the clients something that is not the guest's.
func (c *console) notice(format string, args ...any) {
	text := fmt.Appendf(nil, "\r\n["+format+"]\r\n", args...)
	for cl := range c.clients {
		cl.show(text)
	}
}

// client is a connection, attached to a console once it asked for that.
type client struct {
	w       *worker
	fd      int
	src     *source
	con     *console
	unread  []byte // typed, but the guest does not read
	skipped int    // bytes not shown because the client does not read
}

// show sends output. A client that does not read misses what does not fit its
// socket, and is told so.
func (cl *client) show(data []byte) {
	for len(data) > 0 {
		piece := data[:min(len(data), proto.MaxMessage)]
		if cl.skipped > 0 || seqpacket.Send(cl.fd, piece) != nil {
			cl.skipped += len(data)
			cl.w.loop.want(cl.src, cl.src.events|writable)
			return
		}
		data = data[len(piece):]
	}
}

// roomy is called when the client reads again.
func (cl *client) roomy() {
	cl.w.loop.want(cl.src, cl.src.events&^writable)
	if n := cl.skipped; n > 0 {
		cl.skipped = 0
		cl.show(fmt.Appendf(nil, "\r\n[%d bytes not shown]\r\n", n))
	}
}

// type_ passes on what the client typed; what the guest does not take is kept, and
// the client is not read meanwhile.
func (cl *client) typed(data []byte) {
	n := cl.con.typed(data)
	cl.unread = append(cl.unread[:0], data[n:]...)
	if len(cl.unread) == 0 {
		cl.w.loop.want(cl.src, cl.src.events|readable)
		return
	}
	cl.w.loop.want(cl.src, cl.src.events&^readable)
	cl.w.loop.after(typePause, func() {
		if cl.fd >= 0 {
			cl.typed(bytes.Clone(cl.unread))
		}
	})
}

// typePause is between two tries to type to a guest that does not read.
const typePause = 20 * time.Millisecond

// close ends the connection.
func (cl *client) close() {
	if cl.fd < 0 {
		return
	}
	cl.w.loop.drop(cl.src)
	syscall.Close(cl.fd)
	cl.fd = -1
	if cl.con != nil {
		delete(cl.con.clients, cl)
	}
	delete(cl.w.clients, cl)
	cl.w.rest()
}
