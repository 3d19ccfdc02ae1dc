package daemon

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"vserver/guest"
	"vserver/kernel/pidfd"
)

// statusTries and statusPause bound the wait for an exit status that comes only
// once the dead init's parent has taken it: one second.
const (
	statusTries = 100
	statusPause = 10 * time.Millisecond
)

// ended is called when the init of a guest is dead.
func (w *worker) ended(g *watched) {
	w.loop.Drop(g.src)
	status, err := w.status(g)
	if errors.Is(err, errLater) && g.tries < statusTries {
		g.tries++
		w.loop.After(statusPause, func() {
			if w.guests[g.Name] == g {
				w.ended(g)
			}
		})
		return
	}
	g.leave()
	w.consoles.Get(g.Name).Shut()
	w.unkeep(g.keptConsole()) // the next keeper must not be given what has its number then
	exit := exitOf(status, err)
	exit.Time = time.Now()
	kills := w.acts.OOM(g.Name)[0]
	exit.OOM = kills > 0
	w.tellKills(g, kills)
	w.job(func() {
		err := w.acts.Ended(g.Name, exit)
		w.loop.Post(func() { w.tookDown(g, exit, err) })
	})
}

// tookDown goes on when nothing of an ended guest is left.
func (w *worker) tookDown(g *watched, exit guest.Exit, err error) {
	if w.guests[g.Name] != g {
		return // it was started meanwhile, and we were told
	}
	if errors.Is(err, guest.ErrStopped) || errors.Is(err, guest.ErrRunning) {
		exit, err = guest.Exit{Reason: guest.StoppedBy, Time: exit.Time}, nil
	}
	w.say("%s %s", g.Name, describe(exit))
	w.tell(guest.Event{Guest: g.Name, Kind: guest.EventEnded, Text: describe(exit), Exit: &exit})
	if err != nil {
		w.say("%v", err)
	}
	if wantsRestart(g.Restart, exit) {
		w.again(g, exit, exit.Time.Sub(g.since))
	} else {
		w.dropped(g.Name)
	}
	w.name()
	w.forget(g)
	if c := w.consoles.Get(g.Name); w.due[g.Name] == nil {
		c.Notice("%s %s", g.Name, describe(exit))
		w.closeConsole(g.Name)
	} else {
		c.Notice("%s %s; it is started again", g.Name, describe(exit))
	}
	w.rest()
}

// errLater says that a status is not there yet.
var errLater = errors.New("not yet")

// status finds how the init of a guest ended: from the note that the kernel took,
// else from /proc if the init's parent has not taken it yet, else from the pidfd,
// which does not know of reboots.
func (w *worker) status(g *watched) (syscall.WaitStatus, error) {
	if w.notes != nil {
		if status, ok := w.notes.Read(g.InitPID); ok {
			return status, nil
		}
	}
	if status, ok := pidfd.Zombie(g.pidfd); ok {
		return status, nil
	}
	status, err := pidfd.Status(g.pidfd)
	if pid, _ := pidfd.PID(g.pidfd); err != nil && pid > 0 {
		return 0, errLater // it is not even dead for /proc
	}
	return status, err
}

// exitOf says what a wait status means for a guest. Only reboot(2) can end the init
// of a pid namespace by SIGHUP or SIGINT: signals from inside do not kill it, and
// those from outside only if it wants.
func exitOf(status syscall.WaitStatus, err error) guest.Exit {
	switch {
	case err != nil:
		return guest.Exit{Reason: guest.Unknown}
	case status.Exited():
		return guest.Exit{Reason: guest.Exited, Code: status.ExitStatus()}
	case status.Signal() == syscall.SIGHUP:
		return guest.Exit{Reason: guest.Rebooted}
	case status.Signal() == syscall.SIGINT:
		return guest.Exit{Reason: guest.Halted}
	case status.Signaled():
		return guest.Exit{Reason: guest.Signalled, Signal: guest.Signal(status.Signal()).String()}
	}
	return guest.Exit{Reason: guest.Unknown}
}

// describe puts an exit into words, to follow a guest's name.
func describe(e guest.Exit) string {
	var s string
	switch e.Reason {
	case guest.Exited:
		s = fmt.Sprintf("exited with code %d", e.Code)
	case guest.Signalled:
		s = "was ended by " + e.Signal
	case guest.Rebooted:
		s = "reboots"
	case guest.Halted:
		s = "has halted"
	case guest.StoppedBy:
		s = "was stopped"
	default:
		s = "ended, nobody saw how"
	}
	if e.OOM {
		s += " (out of memory)"
	}
	return s
}
