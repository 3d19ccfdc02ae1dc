package daemon

import (
	"errors"
	"os"
	"syscall"
	"time"

	"vserver/daemon/loop"
	"vserver/daemon/proto"
)

// vserverd ends by itself when there was no guest for a minute, unless systemd or an
// administrator runs it: so nothing of us stays on a host without guests, an upgrade is in use after
// the last guest, and whoever needs it next starts it in a millisecond. It must not
// lose a client that connects at that moment: see retire.

// idleTime is that minute. We look every busyTick, without guests every idleTick.
const (
	idleTime = time.Minute
	idleTick = time.Second
	busyTick = 10 * time.Second
)

// busy tells whether somebody needs us.
func (w *worker) busy() bool {
	return len(w.guests)+len(w.due)+len(w.clients)+w.jobs > 0 || w.views.Busy()
}

// rest notes the time when the last that needed us is gone.
func (w *worker) rest() {
	if !w.busy() {
		w.rested = time.Now()
		w.loop.Cancel(w.next)
		w.tick()
	}
}

// tick looks whether it is time to end, and whether clients still find us.
func (w *worker) tick() {
	if !w.ours {
		return
	}
	pause := busyTick
	if !w.busy() {
		pause = idleTick
	}
	w.next = w.loop.After(pause, w.tick)
	_, err := os.Stat(w.dirs.Socket())
	lost := errors.Is(err, os.ErrNotExist)
	switch {
	case !w.busy() && (lost || !w.stay && time.Since(w.rested) >= idleTime):
		w.retire()
	case lost:
		w.listenAnew()
	}
}

// retire ends vserverd if nobody connects while the socket is taken away.
func (w *worker) retire() {
	unlock, err := proto.Lock(w.dirs)
	if err != nil {
		w.over = true // our directory is gone
		return
	}
	defer unlock()
	os.Remove(w.dirs.Socket()) // from here on, clients wait for the lock and launch another
	w.accept(loop.Readable)
	if len(w.clients) > 0 {
		w.relisten()
		return
	}
	w.over = true
}

// quit ends vserverd now.
func (w *worker) quit() {
	w.over = true
	if !w.ours {
		return
	}
	if unlock, err := proto.Lock(w.dirs); err == nil {
		os.Remove(w.dirs.Socket())
		unlock()
	}
}

// listenAnew makes the socket's file again that somebody removed, unless another
// vserverd has done so.
func (w *worker) listenAnew() {
	if err := proto.MakeRun(w.dirs); err != nil {
		return
	}
	unlock, err := proto.Lock(w.dirs)
	if err != nil {
		return
	}
	defer unlock()
	if _, err := os.Stat(w.dirs.Socket()); errors.Is(err, os.ErrNotExist) {
		w.relisten()
	}
}

// relisten makes a new socket and drops the old one. The caller holds the lock.
func (w *worker) relisten() {
	fd, err := proto.Listen(w.dirs)
	if err != nil {
		w.say("%v", err)
		return
	}
	src, err := w.loop.Add(fd, loop.Readable, w.accept)
	if err != nil {
		w.say("%v", err)
		syscall.Close(fd)
		return
	}
	w.accept(loop.Readable) // whoever connected to the old one
	w.loop.Drop(w.listen)
	syscall.Close(w.listener)
	w.listener, w.listen = fd, src
	if err := w.keep(keptListener, fd); err != nil {
		w.say("%v", err)
	}
}
