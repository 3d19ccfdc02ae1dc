package cli

import (
	"errors"
	"os"
	"os/signal"
	"syscall"

	"vserver/guest"
	"vserver/kernel/proc"
)

// What the commands for contexts without a guest have in common: chbind and ncontext,
// chcontext and vcontext.

// The exit codes of Linux-VServer's tools for contexts.
const (
	exitContext       = 255
	exitContextExists = 254
)

// inContext gives the failures of the old tools their exit code.
func (t *tool) inContext(err error) error {
	var c code
	var u usage
	var own coded
	if err == nil || errors.As(err, &c) || errors.As(err, &u) || errors.As(err, &own) {
		return err
	}
	t.say(err)
	if errors.Is(err, guest.ErrExists) {
		return code(exitContextExists)
	}
	return code(exitContext)
}

// one tells whether exactly one option of several was given.
func one(given ...bool) bool {
	n := 0
	for _, on := range given {
		if on {
			n++
		}
	}
	return n == 1
}

// heard gives the signals that a command shall hear which runs in our place, until stop.
func heard() (signals <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 8)
	signal.Notify(c, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	return c, func() { signal.Stop(c) }
}

// ended is the end of such a command as an error.
func ended(ws syscall.WaitStatus) error {
	if n := proc.ExitCode(ws); n != 0 {
		return code(n)
	}
	return nil
}
