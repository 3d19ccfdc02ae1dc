// Package host is the machine and its guests: what can be asked of them, one
// function for each verb. It puts the concept packages together and is the only
// package that knows all of them.
//
//house:allow one file a verb, as in cli; they share the guest's lock, note and tables
package host

import (
	"io"
	"os"
	"time"

	"vserver/guest"
)

// Host is one machine with its guests.
//
//house:allow a method for each verb, as commands and supervisor ask for them
type Host struct {
	Dirs guest.Dirs
}

// Open gives the host whose files are at dirs. It touches nothing.
func Open(dirs guest.Dirs) *Host { return &Host{Dirs: dirs} }

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
}

// StopOptions are the ways to stop a guest.
type StopOptions struct {
	// Timeout bounds the guest's own way of ending; 0 takes it from the spec.
	Timeout time.Duration
	// Kill leaves the guest no time at all.
	Kill   bool
	Output io.Writer
	// Waiting, when not nil, is told once a second what a stop waits for.
	Waiting func(Waiting)
}

// Command is something to run in a running guest.
type Command struct {
	Args []string // none: the login shell of the user
	Env  []string // NAME=VALUE, added to the guest's environment
	Dir  string   // in the guest; "" is the user's home for a login, else "/"
	User string   // name, or uid[:gid], as the guest knows it; "" is root
	// TTY gives the command a terminal of the guest's own, joined to Stdin and
	// Stdout, which should be a terminal here.
	TTY                   bool
	Stdin, Stdout, Stderr *os.File

	begun func() // called once it is executed
}
