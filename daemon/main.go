// Package daemon is vserverd: the one process of a host (two, with its keeper, and for a
// while after a start a third, see package spawn/warm) that is awake for all guests. It reads their consoles and logs them, lets clients
// attach, sees how guests end, starts them again when they reboot or when their
// policy says so.
//
// Guests do not need it. It may be killed at any time, as a whole or in part, and
// finds everything again: what the keeper holds, and else what the kernel says. It is
// started by the first command that has something to tell it.
//
//house:allow one process for all of a host; what can stand alone is below it
package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"vserver/daemon/keeper"
	"vserver/daemon/proto"
	"vserver/fault"
	"vserver/guest"
	"vserver/kernel/clock"
	"vserver/spawn/warm"
)

// Main is vserverd with the command line args, for the guests at dirs unless args
// name other places. It gives the exit code.
//
//	vserverd                starts it in the background
//	vserverd --foreground   runs in the foreground, as under systemd
//	vserverd --renew        has the newest version of the program take over
//
// The other roles (--keeper, --worker, --adopt, --start, --after, --warm) are given by vserverd to
// its own processes. command runs a command line; without it there is no warm process.
func Main(args []string, dirs guest.Dirs, command Command) int {
	return run(args, dirs, func(d guest.Dirs) acts {
		a := hostActs(d)
		if command != nil {
			a.Warm = func() (func() bool, error) { return warmAside(d) }
		}
		return a
	}, command)
}

// Command does what the words of a command line say and gives the exit code.
type Command = func(ctx context.Context, words []string) int

// process is one process of vserverd.
type process struct {
	dirs guest.Dirs
	acts func(guest.Dirs) acts
	say  func(format string, args ...any)
	stay bool // also without guests
}

// run is Main with other acts, for tests.
func run(args []string, dirs guest.Dirs, a func(guest.Dirs) acts, command Command) int {
	role, words, stay := "", []string(nil), false
	for _, arg := range args[1:] {
		key, value, _ := strings.Cut(arg, "=")
		switch key {
		case "--config":
			dirs.Config = value
		case "--data":
			dirs.Data = value
		case "--run":
			dirs.Run = value
		case "--cgroup":
			dirs.Cgroup = value
		case "--stay":
			stay = true
		default:
			if role == "" {
				role = arg
			} else {
				words = append(words, arg)
			}
		}
	}
	p := process{dirs, a, logger(role), stay}
	var err error
	code := 0
	switch {
	case role == "--start" && len(words) == 1:
		return startHere(dirs, guest.Name(words[0]), p.say)
	case role == "--after" && len(words) == 2:
		return afterHere(dirs, guest.Name(words[0]), guest.Reason(words[1]), p.say)
	case role == warm.Role && len(words) == 0 && command != nil:
		return warmHere(dirs, command)
	case len(words) > 0:
		err = fmt.Errorf("%s: one word too many: %w", words[0], guest.ErrInvalid)
	case role == "":
		err = proto.Launch(dirs)
	case role == "--renew":
		err = proto.Renew(dirs)
	case role == "--foreground":
		code, err = p.foreground()
	case role == "--keeper":
		err = p.keep(keeper.Inherited, -1)
	case role == "--adopt":
		err = p.keep(-1, keeper.Inherited)
	case role == "--worker":
		code, err = p.work()
	default:
		err = fmt.Errorf("%s: not an option: %w", role, guest.ErrInvalid)
		code = 2
	}
	if err != nil {
		p.say("%v", err)
		code = max(code, 1)
	}
	return code
}

// maxLog is where vserverd.log begins anew.
const maxLog = 1 << 20

// logger gives the function that writes a line to stderr: a terminal, systemd's
// journal, or the file vserverd.log.
func logger(role string) func(string, ...any) {
	return func(format string, args ...any) {
		stamp := ""
		if st, err := os.Stderr.Stat(); err == nil && st.Mode().IsRegular() && role != "--foreground" {
			stamp = time.Now().Format("2006-01-02 15:04:05 ")
			if st.Size() > maxLog {
				os.Stderr.Truncate(0)
			}
		}
		fmt.Fprintln(os.Stderr, stamp+proto.Program+": "+fault.PlainLines(fmt.Sprintf(format, args...)))
	}
}

// keep is the keeper's role, with the listening socket at birth, or a worker.
func (p process) keep(listener, worker int) error {
	frugal()
	protect()
	k := keeper.New(p.child("--worker"), p.say)
	if listener >= 0 {
		syscall.CloseOnExec(listener)
		k.Hold(keptListener, listener)
	}
	if worker >= 0 {
		syscall.CloseOnExec(worker)
		k.Adopt(worker)
	}
	return k.Run()
}

// child gives the function that starts a process of vserverd with a socket.
func (p process) child(role string) func(*os.File) (*os.Process, error) {
	return func(socket *os.File) (*os.Process, error) {
		args := proto.Args(p.dirs, role)
		if p.stay {
			args = append(args, "--stay")
		}
		return os.StartProcess(program(), args, &os.ProcAttr{
			Dir: "/", Env: proto.Environ(), Files: []*os.File{nil, os.Stderr, os.Stderr, socket},
		})
	}
}

// program is our own: the file that has its place now, after an upgrade, or else the
// one that we are.
func program() string {
	const self = "/proc/self/exe"
	path, err := os.Readlink(self)
	if err != nil {
		return self
	}
	path = strings.TrimSuffix(path, " (deleted)")
	if _, err := os.Stat(path); err != nil {
		return self
	}
	return path
}

// work is the worker's role below a keeper.
func (p process) work() (code int, err error) {
	syscall.CloseOnExec(keeper.Inherited)
	s, files, err := keeper.OpenStore(keeper.Inherited, p.child("--adopt"))
	if err != nil {
		return 1, err
	}
	// A keeper may not have it whose worker was killed while it handed everything over.
	err = p.listens(s, files)
	if errors.Is(err, guest.ErrBusy) {
		s.Stop() // another vserverd has our place
		return 0, err
	}
	if err != nil {
		return 1, err
	}
	return p.serve(s, files, true)
}

// listens makes the listening socket when it is not among the files.
func (p process) listens(s store, files map[string]int) (err error) {
	if _, ok := files[keptListener]; ok {
		return nil
	}
	if files[keptListener], err = p.listen(); err != nil {
		return err
	}
	return s.Put(keptListener, files[keptListener])
}

// foreground runs until the end: as systemd's child alone, else as keeper.
func (p process) foreground() (code int, err error) {
	s, files, ok, err := keeper.OpenSystemd()
	if err != nil {
		return 1, err
	}
	if ok {
		if err := p.listens(s, files); err != nil {
			return 1, err
		}
		return p.serve(s, files, false)
	}
	fd, err := p.listen()
	if err != nil {
		return 1, err
	}
	p.stay = true
	return 0, p.keep(fd, -1)
}

// listen makes the socket, unless a vserverd has it.
func (p process) listen() (fd int, err error) {
	if err := proto.MakeRun(p.dirs); err != nil {
		return -1, err
	}
	unlock, err := proto.Lock(p.dirs)
	if err != nil {
		return -1, err
	}
	defer unlock()
	if proto.Listening(p.dirs) {
		return -1, fmt.Errorf("%s: vserverd is there already: %w", p.dirs.Socket(), guest.ErrBusy)
	}
	return proto.Listen(p.dirs)
}

// exitRenew is the exit code of a worker that wants another in its place.
const exitRenew = 75

// serve does the work. ours says that the socket's file is vserverd's own, and not
// systemd's.
func (p process) serve(s store, files map[string]int, ours bool) (code int, err error) {
	frugal()
	protect()
	w := newWorker(p.dirs, p.acts(p.dirs), p.say, s)
	w.ours, w.stay = ours, p.stay
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	go func() {
		<-signals
		os.Exit(0) // as good as a kill: another worker comes, or systemd keeps our files
	}()
	end, err := w.run(files)
	switch {
	case err != nil:
		return 1, err
	case end:
		s.Stop()
		return 0, nil
	}
	return exitRenew, nil
}

// frugal keeps the process small: there is next to no garbage, and nobody waits for
// it to be fast.
func frugal() {
	// Two loops wait in the kernel, each with a processor of the runtime's that the monitor
	// takes away from it only after a while; what they begin is not to wait for that.
	runtime.GOMAXPROCS(4)
	clock.Relax(10 * time.Millisecond) // as long as its own longest pause
	room(0)
}

// room bounds the process's memory for a number of views. Each has some 20 KiB of texts;
// were the bound reached, nothing would be done any more but look for garbage.
func room(views int) {
	percent := 25
	if views > 16 {
		percent = 100
	}
	debug.SetGCPercent(percent)
	debug.SetMemoryLimit(8<<20 + int64(views)<<16)
}

// protect asks the kernel to kill others first when memory is short, if that is
// ours to ask.
func protect() { os.WriteFile("/proc/self/oom_score_adj", []byte("-900"), 0) }
