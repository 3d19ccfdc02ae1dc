// Package warm has a plain start, stop or restart, a clone, a snapshot and what else is as
// short done by a process that has begun already.
//
// A third of what `vserver web1 start` takes is no work of its own: the kernel maps the
// program, Go's runtime starts, packages are initialised, all of it on pages that are touched
// for the first time. So vserverd keeps a second process of the same program, the warm one,
// from the first start on until nobody has asked it for ten seconds. The program connects to its
// socket before its own runtime has begun (ahead_amd64.go), sends its words and its standard
// files, and ends as it is told. The warm process does what the program would have done, by
// the same code: it is the command line's Run, on those words and files.
//
// Whenever anything is out of the ordinary the program begins as ever: nobody listens, or is
// at work for somebody else, or does not answer; there are other options than a few, or settings in the
// environment; the caller is in other namespaces, another root or control groups of cgroup v1
// than the warm process, has other rights, scheduling or limits that would bind it, or runs
// another version of the program. Should the warm process die at work, the program begins too,
// and finds what a command finds after one that was killed.
//
// A guest inherits from the warm process what it inherits from a start: the limits of
// setrlimit(2) are taken over from the caller for the time of its command, and what cannot be
// has to be equal. The one difference is the login that auditing notes (loginuid), which is
// vserverd's, as it is of guests that are started at boot.
package warm

import "path/filepath"

// Role is the word by which vserverd becomes the warm process; the directory of notes follows.
const Role = "--warm"

// socket is the name in the directory of notes.
const socket = "warm.sock"

// Path is where the warm process of an installation listens.
func Path(run string) string { return filepath.Join(run, socket) }

// begin is where the kernel enters the program.
func begin()

var _ = begin // the linker looks for it

// The answers: one byte that says which, and one for an exit code.
const (
	refused = 'n'
	taken   = 'a'
	done    = 'd'
)

// The verbs of such a command.
const (
	start    = "start"
	stop     = "stop"
	restart  = "restart"
	clone    = "clone"
	snapshot = "snapshot"
	rollback = "rollback"
	remove   = "delete"
	build    = "build"
	create   = "create"
)

func verbs() []string {
	return []string{start, stop, restart, clone, snapshot, rollback, remove, build, create}
}

// maxWords is how many words are sent: what VSERVER_ROOT is, the program's name and the rest.
const maxWords = 24

// maxMessage is the longest message to the warm process.
const maxMessage = 4096
