package life

import (
	"fmt"
	"io"
	"os"
	"time"

	"vserver/guest"
)

// StartOptions are the ways to start a guest.
type StartOptions struct {
	// Wait keeps Start in the foreground until the guest has ended, takes down what
	// is left of it, and gives the init's exit in the result.
	Wait bool
	// Stdout and Stderr, with Wait, get what a guest with a console of type log prints,
	// which is then not logged; nil is the log.
	Stdout, Stderr *os.File
	// Output gets what hooks print; nil discards it.
	Output io.Writer
	// Console, unless nil, gets what a guest of style sysv prints while its runlevel scripts
	// run, which the start then waits for.
	Console io.Writer
	// Patience is how long to wait for another operation on the guest, if longer than usual.
	Patience time.Duration
	// Rescue, when not empty, is a command that the guest runs in the place of its init,
	// by which it is stopped as well: below a process 1 of ours or, with RescueInit, as
	// process 1. It is not started again when it ends.
	Rescue     []string
	RescueInit bool
	// Again is for who starts a guest that ended by itself: with guest.ErrStopped that is
	// left alone when a stop has said no to it meanwhile.
	Again bool

	visitor *os.File // see Visit
}

// late tells output that another operation on the guest takes long.
func late(n guest.Name, output io.Writer) func() {
	return func() {
		if output != nil {
			fmt.Fprintf(output, "%s: another vserver is at work on it, waiting\n", n)
		}
	}
}

// rescued is a spec with the command in the place of its init.
func (o *StartOptions) rescued(spec *guest.Spec) {
	command := o.Rescue
	if o.visitor != nil {
		command = []string{"/"}
		spec.Console.Type = guest.ConsoleNone
	}
	if len(command) == 0 {
		return
	}
	spec.Init = guest.Init{Style: guest.InitCommand, Command: command, Environment: spec.Init.Environment, StopTimeout: spec.Init.StopTimeout}
	if o.RescueInit {
		spec.Init.Style = guest.InitPlain
	}
	spec.Restart = guest.RestartNever
}
