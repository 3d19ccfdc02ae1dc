// Package ready runs a command in a guest before Go's runtime has begun.
//
// Most of what `vserver web1 exec true` takes is not the guest's: the runtime starts, packages
// are initialised, words are parsed, the note is read, a plan is made, and it is the same
// plan as last time. So the first such command leaves it in the guest's state directory, as
// an image of the table that its process follows (spawn.Image), with all that it was made
// from. The next one finds it at the very beginning of the program, sees that all of that is
// what it was, and follows the table: some thirty system calls. In whatever it is not sure of,
// and when anything fails, it lets the program begin as ever, which does it all anew and has
// words for what is wrong.
//
// What holds, is asked of the kernel each time: the guest's init by the number that pidfs
// gives each process (6.9; nothing is kept on older kernels), the note, the program itself,
// and the guest's users by device, inode, size and time of change. A guest's limits need no
// such look: its process is born in its group, and joins those of cgroup v1 that are there.
//
// Early code (early_amd64.go) is entered by begin_*.s, where package spawn/warm has it go on. It may not allocate, grow a stack, panic or call what is not
// nosplit; it has one room for what would not fit a stack of that kind. On other
// architectures nothing is ready.
package ready

import (
	"path/filepath"
	"syscall"
	"time"

	"vserver/spawn"
)

// begin is where the program goes on after that of package warm.
func begin()

var _ = begin // the linker looks for it

// name of the file in a guest's state directory.
const name = "ready"

// Passed are the signals that are meant for a command in a guest, not for us.
func Passed() [8]syscall.Signal {
	return [8]syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT,
		syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM, syscall.SIGCONT}
}

// Path is the file that a guest with this state directory has.
func Path(state string) string { return filepath.Join(state, name) }

// Source is what is to be ready for the next command in a guest, and what it stands on.
type Source struct {
	State string // directory
	Note  string // its file
	Init  int
	Pidfd int    // of the init
	Group string // directory of the control group that a command is born in
	// Server is the socket that a filter's listener is handed to, and Patience how long each
	// word with it may take; heeded if the table has SeccompServed.
	Server   string
	Patience time.Duration
	// Table appends what the command's process does. The pidfd is Given first, the program
	// is that of ExecNamed. It is called after the look at everything else.
	Table func(t *spawn.Table) error
}

// Keep makes a command ready. That it cannot be on this kernel or architecture is no error.
func Keep(s Source) error { return keep(s) }
