package daemon

import (
	"errors"
	"io/fs"
	"strconv"
	"syscall"
	"time"

	"vserver/daemon/loop"
	"vserver/daemon/proto"
	"vserver/guest"
)

// due is a restart that waits for its time.
type due struct {
	proto.Start
	pidfd int  // of the dead init: what the keeper holds of it
	fails int  // restarts without a long life between them
	going bool // we are about to start it
	timer *loop.Timer
}

func (d *due) kept() string {
	return keptAgain + string(d.Append(nil)) + " " + strconv.Itoa(d.fails)
}

// wantsRestart tells whether a guest that ended so is started again. A reboot from
// inside always is, a halt never. Nobody knowing how it ended counts as failure.
func wantsRestart(policy guest.Restart, e guest.Exit) bool {
	switch e.Reason {
	case guest.Rebooted:
		return true
	case guest.Halted, guest.StoppedBy:
		return false
	}
	switch policy {
	case guest.RestartAlways:
		return true
	case guest.RestartOnFailure:
		return e.Reason != guest.Exited || e.Code != 0
	}
	return false
}

// The waits before restarts double from leastWait to mostWait. A life of longLife
// begins them anew, for a reboot one of rebootLife.
const (
	leastWait  = time.Second
	mostWait   = 5 * time.Minute
	longLife   = 10 * time.Minute
	rebootLife = time.Minute
)

// waitFor gives the wait before the restart that follows so many in a row. The first
// reboot has none.
func waitFor(fails int, reboot bool) time.Duration {
	if reboot {
		if fails == 0 {
			return 0
		}
		fails--
	}
	if fails > 16 {
		return mostWait
	}
	return min(leastWait<<fails, mostWait)
}

// again plans the restart of an ended guest.
func (w *worker) again(g *watched, e guest.Exit, lived time.Duration) {
	reboot := e.Reason == guest.Rebooted
	fails := w.fails[g.Name]
	if lived >= longLife || reboot && lived >= rebootLife {
		fails = 0
	}
	fd, err := syscall.Dup(g.pidfd)
	if err != nil {
		w.say("%s: %v", g.Name, err)
		return
	}
	syscall.CloseOnExec(fd)
	w.plan(&due{Start: g.Start, pidfd: fd, fails: fails}, waitFor(fails, reboot), true)
}

// plan has a restart happen after a wait, unless somebody has stopped the guest meanwhile.
func (w *worker) plan(d *due, wait time.Duration, fresh bool) {
	w.forgetAgain(d.Name)
	w.due[d.Name] = d
	if w.acts.Planned != nil {
		switch err := w.acts.Planned(d.Name, time.Now().Add(wait)); {
		case errors.Is(err, fs.ErrNotExist):
			w.drop(d)
			return
		case err != nil:
			w.say("%s: %v", d.Name, err)
		}
	}
	w.fails[d.Name] = d.fails + 1
	w.tell(guest.Event{Guest: d.Name, Kind: guest.EventRestart, Text: "starts again in " + wait.String(), Start: time.Now().Add(wait)})
	if fresh {
		if err := w.keep(d.kept(), d.pidfd); err != nil {
			w.say("%s: %v", d.Name, err)
		}
	}
	if wait > 0 {
		w.say("%s: starts again in %v", d.Name, wait)
	}
	d.timer = w.loop.After(wait, func() { w.restart(d) })
}

// restart starts the guest in a process of its own. When that worked, its message
// comes first or the result does; both end the plan.
func (w *worker) restart(d *due) {
	d.going = true
	w.job(func() {
		err := w.acts.Start(d.Name)
		w.loop.Post(func() { w.restarted(d, err) })
	})
}

func (w *worker) restarted(d *due, err error) {
	if w.due[d.Name] != d {
		return // the guest was started, by us or by another
	}
	switch {
	case err == nil: // the guest's own message is on its way
		w.loop.After(tellTime, func() { w.drop(d) })
		return
	case errors.Is(err, guest.ErrRunning), errors.Is(err, guest.ErrNotFound):
		w.drop(d)
		return
	}
	w.tell(guest.Event{Guest: d.Name, Kind: guest.EventFailed, Text: "does not start: " + err.Error()})
	if d.Restart == guest.RestartNever && d.fails >= rebootTries {
		w.say("%s: does not come up from its reboot", d.Name)
		w.drop(d)
		return
	}
	next := &due{Start: d.Start, pidfd: d.pidfd, fails: d.fails + 1}
	d.pidfd = -1 // the next one's
	w.plan(next, waitFor(next.fails, false), true)
}

// tellTime is how long the message of a started guest may take to get here.
const tellTime = 5 * time.Second

// drop ends a plan that nothing came of, and the wait of the clients.
func (w *worker) drop(d *due) {
	if w.due[d.Name] != d {
		return
	}
	w.forgetAgain(d.Name)
	if w.guests[d.Name] == nil {
		w.dropped(d.Name)
		w.closeConsole(d.Name)
	}
	w.rest()
}

// dropped says that a guest is not started again by us.
func (w *worker) dropped(name guest.Name) {
	if w.acts.Dropped == nil {
		return
	}
	if err := w.acts.Dropped(name); err != nil {
		w.say("%s: %v", name, err)
	}
}

// rebootTries is how often the start after a reboot is tried when the policy asks
// for no restarts.
const rebootTries = 5

// forgetAgain drops a planned restart.
func (w *worker) forgetAgain(name guest.Name) {
	d := w.due[name]
	if d == nil {
		return
	}
	delete(w.due, name)
	w.loop.Cancel(d.timer)
	w.unkeep(d.kept())
	if d.pidfd >= 0 {
		syscall.Close(d.pidfd)
	}
}

// inheritAgain plans anew what the worker before had planned; the wait begins again.
func (w *worker) inheritAgain(words string, fd int) {
	head, tail, _ := cutLast(words)
	s, err := proto.ParseStart([]byte(head))
	fails, err2 := strconv.Atoi(tail)
	if err != nil || err2 != nil || fails < 0 {
		w.unkeep(keptAgain + words)
		syscall.Close(fd)
		return
	}
	w.plan(&due{Start: s, pidfd: fd, fails: fails}, waitFor(fails, false), false)
}
