package life

import (
	"context"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"vserver/daemon/logtail"
	"vserver/daemon/proto"
	"vserver/fault"
	"vserver/guest"
	"vserver/host/state"
	"vserver/kernel/eventfd"
	"vserver/kernel/file"
	"vserver/reaper"
)

// scripts is what a start has that waits for the guest's runlevel scripts. What these print
// goes where it always does, the guest's log, and is read there: so it is nobody's loss when
// the start is killed meanwhile.
type scripts struct {
	to   io.Writer // nil: nobody waits
	log  *logtail.Tail
	told *os.File // by the reaper
}

// ScriptsError is a start that ran its guest's runlevel scripts, and them failing.
type ScriptsError struct {
	Code  int
	Ended bool // so has the guest, as no process was left
}

// Error says what became of them.
func (e *ScriptsError) Error() string {
	switch {
	case e.Code == 0:
		return "its runlevel scripts left no process, so it has ended"
	case e.Ended:
		return fmt.Sprintf("its runlevel scripts ended with code %d and left no process", e.Code)
	}
	return fmt.Sprintf("it runs, but its runlevel scripts ended with code %d", e.Code)
}

// logPause is between two looks at what scripts have printed, and drainPause while the last of
// it is on its way, for drainWait at most: vserverd takes only so much a second from a guest.
const (
	logPause   = 100 * time.Millisecond
	drainPause = 2 * time.Millisecond
	drainWait  = 2 * time.Second
)

// await has the start wait for scripts that there are.
func (r *Run) await(o *StartOptions) {
	if o.Console != nil && !o.Wait && r.spec.Init.Style == guest.InitSysv {
		r.scripts.to, r.plan.Scripts = logtail.Clean(o.Console), reaper.ScriptsFD
	}
}

func (r *Run) awaits() bool { return r.scripts.to != nil }

// listen makes ready for what the scripts print and for their end, and adds what tells that to
// the files for the guest.
func (r *Run) listen(fds []int) (_ []int, err error) {
	if !r.awaits() {
		return fds, nil
	}
	if r.scripts.told, err = eventfd.New("scripts"); err != nil {
		return nil, err
	}
	if r.told != nil { // then the log has all that its last run printed
		r.complain(r.told.Confirm())
		r.told = nil
	}
	r.scripts.log, err = logtail.End(r.dirs.Console(r.name))
	return append(fds, int(r.scripts.told.Fd())), err
}

func (s *scripts) close() {
	s.told.Close()
	if s.log != nil {
		s.log.Close()
	}
}

// awaitScripts waits until the scripts are done, without the guest's lock: a stop may end them.
// When ctx ends they go on.
func (r *Run) awaitScripts(ctx context.Context) error {
	ended, done := make(chan syscall.WaitStatus, 1), make(chan int, 1)
	go func() {
		ws, _ := r.child.Reap()
		ended <- ws
	}()
	go func() {
		if n, err := eventfd.Wait(r.scripts.told); err == nil {
			done <- int(uint8(n - reaper.ScriptsTold))
		}
	}()
	tick := time.NewTicker(logPause)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return fault.Hint(ctx.Err(), "it runs, and its scripts go on: `vserver "+string(r.name)+" stop` ends them")
		case ws := <-ended:
			r.drain()
			return r.outlived(ws)
		case code := <-done:
			r.drain()
			switch {
			case code != 0 && r.stopped():
				return errStopped()
			case code != 0:
				return fault.Hint(&ScriptsError{Code: code}, "`vserver "+string(r.name)+" logs` has what they printed, `vserver "+string(r.name)+" stop` ends it")
			}
			return r.postStart(ctx)
		case <-tick.C:
			if err := r.scripts.log.Write(r.scripts.to); err != nil {
				return err
			}
		}
	}
}

// drain prints the last of what the scripts printed, when vserverd has it in the log.
func (r *Run) drain() {
	for end := time.Now().Add(drainWait); r.console != nil && time.Now().Before(end); time.Sleep(drainPause) {
		if n, err := file.Unread(r.console); err != nil || n == 0 {
			proto.Listening(r.dirs) // it answers when it has done what it was at
			break
		}
	}
	r.scripts.log.Write(r.scripts.to)
}

// stopped tells whether somebody stops the guest, or has. Whoever did records the end before
// the note of the run goes.
func (r *Run) stopped() bool {
	was, err := state.ReadNote(r.dirs, r.name)
	if err != nil || was != nil {
		return err == nil && was.Stopping
	}
	last, err := state.LastExit(r.dirs, r.name)
	return err == nil && last != nil && last.Reason == guest.StoppedBy
}

func errStopped() error {
	return fmt.Errorf("it was stopped while its runlevel scripts ran: %w", guest.ErrStopped)
}

// outlived says why the guest ended while its scripts were waited for.
func (r *Run) outlived(ws syscall.WaitStatus) error {
	if r.stopped() {
		return errStopped()
	}
	if exit := exitOf(ws); exit.Reason != guest.Exited {
		return fmt.Errorf("it ended while its runlevel scripts ran: %s", exit.Reason)
	}
	return fault.Hint(&ScriptsError{Code: ws.ExitStatus(), Ended: true},
		"`vserver "+string(r.name)+" logs` has what they printed; init.style=sysv wants a service that stays, init.style=plain runs the guest's own init")
}

// postStart runs the last hooks of a start whose lock was let go since.
func (r *Run) postStart(ctx context.Context) error {
	unlock, err := state.Lock(r.dirs, r.name)
	if err != nil {
		return err
	}
	defer unlock()
	pid, err := r.child.Forked()
	if err != nil {
		return err
	}
	was, err := state.ReadNote(r.dirs, r.name)
	if err != nil || was != nil && was.PID != pid { // it was started anew
		return err
	}
	running, err := state.Runs(r.dirs, r.name)
	if err != nil {
		return err
	}
	if !running {
		return r.outlived(0)
	}
	return r.complain(r.hooks().Run(ctx, "post-start"))
}
