package daemon

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"vserver/daemon/console"
	"vserver/daemon/loop"
	"vserver/daemon/proto"
	"vserver/guest"
	"vserver/kernel/seqpacket"
)

// client is a connection.
type client struct {
	w    *worker
	fd   int
	src  *loop.Source
	view *console.Viewer // once it is attached to a console
	told bool            // of events
}

// accept takes the connections that wait.
func (w *worker) accept(uint32) {
	for range 64 {
		fd, err := seqpacket.Accept(w.listener)
		if err != nil {
			if !errors.Is(err, syscall.EAGAIN) {
				w.say("accept: %v", err)
			}
			return
		}
		// The socket's mode and directory keep others out; this is a second lock.
		if uid, err := seqpacket.PeerUID(fd); err != nil || uid != 0 && int(uid) != os.Geteuid() {
			syscall.Close(fd)
			continue
		}
		cl := &client{w: w, fd: fd}
		if cl.src, err = w.loop.Add(fd, loop.Readable, cl.ready); err != nil {
			w.say("client: %v", err)
			syscall.Close(fd)
			continue
		}
		w.clients[cl] = true
	}
}

// close ends the connection.
func (cl *client) close() {
	if cl.fd < 0 {
		return
	}
	cl.w.loop.Drop(cl.src)
	syscall.Close(cl.fd)
	cl.fd = -1
	if cl.view != nil {
		cl.view.Leave()
	}
	delete(cl.w.clients, cl)
	cl.w.rest()
}

// ready handles a client's message.
func (cl *client) ready(events uint32) {
	if events&loop.Writable != 0 && cl.view != nil {
		cl.view.Roomy()
	}
	if events&(loop.Readable|loop.HungUp) == 0 {
		return
	}
	if cl.view != nil && cl.view.Busy() {
		if events&loop.HungUp != 0 {
			cl.close()
		}
		return
	}
	n, files, err := seqpacket.Recv(cl.fd, cl.w.buf)
	switch {
	case errors.Is(err, syscall.EAGAIN):
	case err != nil:
		cl.close()
	case cl.view != nil:
		closeAll(files)
		cl.view.Type(cl.w.buf[:n])
	case cl.told: // it has nothing more to ask
		closeAll(files)
	default:
		cl.request(cl.w.buf[:n], files)
	}
}

// request does what a client that is not attached asks.
func (cl *client) request(msg []byte, files []int) {
	w := cl.w
	r, err := proto.ParseRequest(msg)
	if err != nil || !r.Files() {
		closeAll(files)
	}
	if err != nil {
		cl.answer(err)
		return
	}
	switch r.Verb {
	case proto.VerbStart:
		err := w.started(r.Start, files)
		w.whenNoted(func() { cl.answer(err) })
		w.warmUp()
	case proto.VerbServes:
		w.sockets.Take(r.Name, files)
	case proto.VerbCalls:
		w.calls.Take(r.Name, files)
		cl.answer(nil)
	case proto.VerbViews:
		cl.answer(w.views.Take(r.Name, r.PID, files))
	case proto.VerbAttach:
		c, err := w.attachable(r.Name)
		cl.answer(err)
		if err == nil {
			cl.view = c.Attach(cl.fd, cl.src, r.Lines)
		}
	case proto.VerbResize:
		if c := w.consoles.Has(r.Name); c != nil {
			c.Resize(r.Rows, r.Cols)
		}
	case proto.VerbEvents:
		cl.answer(nil)
		cl.tell()
	case proto.VerbList:
		w.adopt()
		for _, g := range w.guests {
			c := w.consoles.Get(g.Name)
			seqpacket.Send(cl.fd, proto.Watched{Name: g.Name, InitPID: g.InitPID, Console: g.Console,
				Open: c.IsOpen(), Clients: c.Viewers()}.Append(nil))
		}
		cl.answer(nil)
	case proto.VerbPing:
		cl.answer(nil)
	case proto.VerbRenew:
		cl.answer(nil)
		w.renew = true
	case proto.VerbQuit:
		cl.answer(nil)
		w.quit()
	}
}

func (cl *client) answer(err error) { seqpacket.Send(cl.fd, proto.Answer(err)) }

// attachable gives the console of a guest that a client may attach to.
func (w *worker) attachable(name guest.Name) (*console.Console, error) {
	if w.guests[name] == nil && w.due[name] == nil {
		w.adopt()
	}
	g := w.guests[name]
	switch {
	case w.due[name] != nil:
		return w.consoles.Get(name), nil
	case g == nil:
		return nil, fmt.Errorf("%s: %w", name, guest.ErrStopped)
	case g.Console == guest.ConsoleNone:
		return nil, fmt.Errorf("%s: has no console: %w", name, proto.ErrNoConsole)
	}
	c := w.consoles.Get(name)
	if !c.IsOpen() {
		return nil, fmt.Errorf("%s: its console was lost when vserverd was killed: %w", name, proto.ErrNoConsole)
	}
	return c, nil
}

// closeConsole sends the clients of a console away.
func (w *worker) closeConsole(name guest.Name) {
	c := w.consoles.Has(name)
	if c == nil {
		return
	}
	gone := w.consoles.Close(c)
	for cl := range w.clients {
		for _, v := range gone {
			if cl.view == v {
				cl.close()
			}
		}
	}
}
