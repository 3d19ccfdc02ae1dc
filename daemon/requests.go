package daemon

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"vserver/daemon/proto"
	"vserver/guest"
	"vserver/kernel/pty"
	"vserver/kernel/seqpacket"
)

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
		if cl.src, err = w.loop.add(fd, readable, cl.ready); err != nil {
			w.say("client: %v", err)
			syscall.Close(fd)
			continue
		}
		w.clients[cl] = true
	}
}

// ready handles a client's message.
func (cl *client) ready(events uint32) {
	if events&writable != 0 {
		cl.roomy()
	}
	if events&(readable|hungUp) == 0 {
		return
	}
	if len(cl.unread) > 0 {
		if events&hungUp != 0 {
			cl.close()
		}
		return
	}
	n, files, err := seqpacket.Recv(cl.fd, cl.w.buf)
	switch {
	case errors.Is(err, syscall.EAGAIN):
	case err != nil:
		cl.close()
	case cl.con != nil:
		closeAll(files)
		cl.typed(cl.w.buf[:n])
	default:
		cl.request(cl.w.buf[:n], files)
	}
}

// request does what a client that is not attached asks.
func (cl *client) request(msg []byte, files []int) {
	w := cl.w
	r, err := proto.ParseRequest(msg)
	if err != nil || r.Verb != proto.VerbStart {
		closeAll(files)
	}
	if err != nil {
		cl.answer(err)
		return
	}
	switch r.Verb {
	case proto.VerbStart:
		cl.answer(w.started(r.Start, files))
	case proto.VerbAttach:
		c, err := w.attachable(r.Name)
		cl.answer(err)
		if err == nil {
			cl.show(c.history(r.Lines))
			c.clients[cl] = true
			cl.con = c
		}
	case proto.VerbResize:
		if c := w.consoles[r.Name]; c != nil && c.fd >= 0 && c.kind == guest.ConsoleTTY {
			pty.Resize(c.fd, r.Rows, r.Cols)
		}
	case proto.VerbList:
		for _, g := range w.guests {
			c := w.console(g.Name)
			seqpacket.Send(cl.fd, proto.Watched{Name: g.Name, InitPID: g.InitPID, Console: g.Console,
				Open: c.fd >= 0, Clients: len(c.clients)}.Append(nil))
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
func (w *worker) attachable(name guest.Name) (*console, error) {
	if w.guests[name] == nil && w.due[name] == nil {
		w.adopt()
	}
	g, c := w.guests[name], w.console(name)
	switch {
	case w.due[name] != nil:
		return c, nil
	case g == nil:
		w.closeConsole(c)
		return nil, fmt.Errorf("%s: %w", name, guest.ErrStopped)
	case g.Console == guest.ConsoleNone:
		return nil, fmt.Errorf("%s: has no console: %w", name, proto.ErrNoConsole)
	case c.fd < 0:
		return nil, fmt.Errorf("%s: its console was lost when vserverd was killed: %w", name, proto.ErrNoConsole)
	}
	return c, nil
}
