// Package reaper holds the smallest pid 1: what stands above a guest's command
// (style command) or its runlevel scripts (style sysv).
//
// It is a program of its own of some 500 bytes, written in the Go assembler's
// language for each architecture (program_*.s) and linked into our binary as a piece
// of text that never runs there. [Open] puts those bytes behind an ELF header into a
// sealed memfd, which the first process of a guest executes with execveat(2) after
// it has left the host's file system. So no file of the host is seen or needed in
// the guest, /proc/1/exe there cannot be written, and an idle reaper has two pages
// of its own: the text and the stack. On amd64 it even moves the one next to the
// other to save page tables. With them, its kernel stack and what the kernel keeps
// of a process it takes 58 KiB, where sleep(1) takes 180.
//
// # Protocol
//
// The arguments are
//
//	vserver-init MODE [CANDIDATE ...] -- CMD [ARG ...]
//
// MODE is "command" or "sysv". CMD and its ARGs become the argv of the main child,
// which has the reaper's environment. Without candidates CMD must be a path. With
// candidates these paths are tried in order, in the manner of execvp(3): one that is
// missing (ENOENT, ENOTDIR) or refused (EACCES) is passed over. [Args] makes the list
// from a PATH.
//
// File 3, when it is open, is the report: when the command cannot be executed eight
// bytes are written to it, in the machine's order: 0xffffffff (see [ReportEntry]) and
// the errno. It is closed in the reaper and by the command's execution, so that a
// starter that reads end-of-file knows that the command runs. The reaper then ends
// with 127 (not found) or 126. Files 0, 1 and 2 stay open in the reaper as long as it
// lives; there should be no others.
//
// File 4, in mode sysv and when it is open, is an eventfd: once the main child has ended
// and others are left, its code and 1 are added there, and the file is closed. When nobody
// is left the reaper's own end tells the code.
//
// The main child begins a session; when file 0 is a terminal that nobody controls it
// becomes the child's controlling terminal. The starter must therefore not take it
// for pid 1.
//
// All signals are blocked in the reaper and none in the child; SIGCHLD is set to its
// default. Other dispositions are inherited: the starter resets those it has
// ignored. SIGCHLD reaps every ended child, adopted ones as well. Any other signal
// that reaches the reaper is sent to the main child's process group; once that child
// has ended (sysv), to every process of the pid namespace, kill(-1).
//
// Mode command ends with the main child. Mode sysv ends when no child is left. Both
// exit with the main child's code, or 128 and the number of the signal that ended it.
// As pid 1 of a namespace that kills whatever is left there.
//
// Mode "hold" (see [Hold]) makes no child either: what runs in the namespace has come in
// from outside, and ends with the reaper, at end-of-file on file 0. So it ends with
// whoever has the pipe's other end, however that comes.
//
// Another mode, "exec" (see [Exec]), makes no child: the process executes the command
// itself, in the session that it is in.
//
// Decided 2026-11: assembly instead of a Go program (a runtime of 2 MiB and four
// threads in each guest), instead of C (no compiler at build time), and instead of a
// binary blob in the repository (which nobody can read).
package reaper
