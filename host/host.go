// Package host is the machine and its guests: what can be asked of them, a method for
// each verb. It is the door of the packages below it, which do the work, for commands
// and clients: it brings them in order and says in each error which guest and verb it
// was.
//
//	state     what is known between two commands: lock, note, end, what the kernel says
//	files     a guest's own files as its spec describes them
//	stdio account
//	          a command's standard files; users, as a guest knows them
//	network   the network context over a guest's life
//	inside    a command or a signal for a guest that runs
//	usage     what guests use of the machine
//	config    what is wanted of a guest, read and changed
//	farewell  the init asked to end
//	life      start and stop, one table
//	making    build, clone, rename, delete
//	gallery   images: taken in, shown, written out, changed beneath a guest
//	carry     volumes that outlive guests
//	parcel    guests written as one stream, and made of it
package host

import (
	"vserver/guest"
	"vserver/host/config"
	"vserver/host/farewell"
	"vserver/host/furnish"
	"vserver/host/inside"
	"vserver/host/life"
	"vserver/host/making"
	"vserver/host/usage"
)

// Host is one machine with its guests.
type Host struct {
	Dirs guest.Dirs
}

// Open gives the host whose files are at dirs. It touches nothing.
func Open(dirs guest.Dirs) *Host { return &Host{Dirs: dirs} }

// The words of the verbs, from the packages that do them.
type (
	// StartOptions are the ways to start a guest.
	StartOptions = life.StartOptions
	// ScriptsError is a start whose runlevel scripts failed.
	ScriptsError = life.ScriptsError
	// StopOptions are the ways to stop a guest.
	StopOptions = life.StopOptions
	// Waiting is what a stop waits for at a moment.
	Waiting = farewell.Waiting
	// Command is something to run in a running guest.
	Command = inside.Command
	// Recipe is what Furnish makes of a guest.
	Recipe = furnish.Recipe
	// BuildOptions are the ways to build a guest.
	BuildOptions = making.BuildOptions
	// DeleteOptions are the ways to delete a guest.
	DeleteOptions = making.DeleteOptions
	// Change is what a change of a guest's spec brings about.
	Change = config.Change
	// Usage is what a guest, or the host itself, uses of the machine.
	Usage = usage.Usage
	// Process is a process of a guest.
	Process = usage.Process
	// Seconds is a time span that JSON has in seconds.
	Seconds = usage.Seconds
)
