package reaper

import (
	"path"
	"slices"
	"strings"

	"vserver/kernel/memfd"
)

// ReportEntry is the first word of what the reaper writes to its report, where
// spawn's own reports have the number of an entry.
const ReportEntry = 0xffffffff

// ReportFD is the number of the file that the report goes to.
const ReportFD = 3

// ScriptsFD is the number of the eventfd by which the end of runlevel scripts is told, and
// ScriptsTold what is added to their code there: adding 0 would tell nothing.
const (
	ScriptsFD   = 4
	ScriptsTold = 1
)

// The modes.
const (
	Command = "command"
	Sysv    = "sysv"
)

// execMode is the mode of Exec.
const execMode = "exec"

// Exec gives the arguments with which the reaper is none: the process itself executes the
// first of the paths that is there, with these arguments. What a script of a guest's finds
// at /proc/self/exe is then sealed memory and not the program of the host's that came in,
// which root without a user namespace could write to (CVE-2019-5736).
func Exec(paths, argv []string) []string {
	return slices.Concat([]string{Name, execMode}, paths, []string{"--"}, argv)
}

// Hold gives the arguments with which the reaper waits for the end of its standard input.
func Hold() []string { return []string{Name, "hold", "--", "hold"} }

// Name is argv[0] of the reaper and the name of its process.
const Name = "vserver-init"

// Open gives a file to execute: the reaper for this machine, in memory, sealed,
// close-on-exec.
func Open() (fd int, err error) { return memfd.Executable(Name, ELF()) }

// Args gives the arguments of the reaper for a mode and a command. A command without
// a slash is looked for, by the reaper, in the directories of search, which has the
// form of PATH.
func Args(mode, search string, command []string) []string {
	args := []string{Name, mode}
	if len(command) > 0 && !strings.Contains(command[0], "/") {
		for dir := range strings.SplitSeq(search, ":") {
			// An empty entry means the current directory to a shell. Not here: nobody
			// asks for that knowingly.
			if path.IsAbs(dir) {
				args = append(args, path.Join(dir, command[0]))
			}
		}
	}
	return append(append(args, "--"), command...)
}

// word gives a 32-bit word of the program's text.
func word(i int) uint32

// ELF gives the reaper's file. It is position independent: the kernel then puts it
// near the stack, where it needs fewer page tables than at an address of its own.
func ELF() []byte { return memfd.ELF(memfd.Text(word)) }
