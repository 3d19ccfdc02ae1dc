// Package attack tries, as root of a guest, what must not come off: to get out of it, at
// the kernel behind it, at its neighbours and at what the kernel has one pool of for all.
// The attacks are a table; each is tried in a process that no attack before it has changed,
// and what the kernel said is told by a line of JSON. Nothing here harms a machine on which
// an attack comes off: a setting is written as it stood, a file is opened and not changed.
//
// The program is vserver itself under another name, so that no guest needs to have
// anything for it. What the answers mean for a guest of this or that kind is decided by
// the table, in [Attack.Judge].
//
//house:allow one list of attacks, each some lines
package attack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Name is what the program is called in the guest.
const Name = "vserver-attack"

// Ground is what the attacks are told of the guest they are in and of what is around it.
type Ground struct {
	Private bool     // the guest has a user namespace of its own
	OwnNet  bool     // it has a network namespace of its own
	Shared  bool     // its network is the host's
	Words   []string // that nothing the guest may read should have: names of others
	Port    int      // where the host serves on 127.0.0.1
	Socket  string   // an abstract socket of the host's
	BootID  string   // the host's
	Memory  int      // the guest's limit in bytes; 0 where nobody counts that
	Kernel  [2]int   // 6, 18
}

// since tells whether the kernel is of that version or a later one.
func (g *Ground) since(major, minor int) bool {
	return g.Kernel[0] > major || g.Kernel[0] == major && g.Kernel[1] >= minor
}

// Attack is one of the table. It succeeded when Do gives no error.
type Attack struct {
	Class string // A: by what host tools touch. B: by kernel interfaces. C: exhaustion and information.
	Row   int    // of the table of threats
	Name  string
	Do    func(*Ground) (said string, err error)
	// By are the answers that refuse it; none of [Denied] is among them unless named.
	By []syscall.Errno
	// Allowed says why success does no harm in a guest of this kind; "" when it does.
	Allowed func(*Ground) string
}

// Outcome is what came of an attack.
type Outcome struct {
	Class string `json:"class"`
	Row   int    `json:"row"`
	Name  string `json:"name"`
	Errno string `json:"errno,omitempty"` // EPERM and the like, or words where there is none
	Said  string `json:"said,omitempty"`  // what success brought
	// Verdict is refused, allowed, succeeded, or unclear for an answer that is none of
	// those which refuse.
	Verdict string `json:"verdict"`
	Why     string `json:"why,omitempty"` // it is allowed
}

// The verdicts.
const (
	Refused   = "refused"
	Allowed   = "allowed"
	Succeeded = "succeeded"
	Unclear   = "unclear"
)

// Bad tells whether an outcome is none that should be.
func (o *Outcome) Bad() bool { return o.Verdict != Refused && o.Verdict != Allowed }

// errNothing is the answer of an attack that looks for something and finds nothing.
var errNothing = errors.New("nothing found")

// Table gives all attacks: first those that leave their process as it was when they are refused.
func Table() []Attack { return append(gentle(), rough()...) }

func gentle() []Attack {
	return slices.Concat(tools(), settings(), calls(), beyond(), sockets(), unread(), leaks(), unmasked(), priorities())
}

// rough are those of many steps, of which the first may come off.
func rough() []Attack { return slices.Concat(escapes(), pools()) }

// Judge says what an answer means.
func (a *Attack) Judge(g *Ground, said string, err error) Outcome {
	o := Outcome{Class: a.Class, Row: a.Row, Name: a.Name, Said: said}
	if err == nil {
		o.Verdict = Succeeded
		if a.Allowed != nil {
			if o.Why = a.Allowed(g); o.Why != "" {
				o.Verdict = Allowed
			}
		}
		return o
	}
	o.Verdict, o.Errno = Unclear, err.Error()
	var errno syscall.Errno
	if errors.As(err, &errno) && unix.ErrnoName(errno) != "" {
		o.Errno = unix.ErrnoName(errno)
	}
	if err == errNothing {
		o.Verdict = Refused
	}
	for _, by := range a.By {
		if errno == by {
			o.Verdict = Refused
		}
	}
	return o
}

// Answers that refuse.
func denied(more ...syscall.Errno) []syscall.Errno {
	return append([]syscall.Errno{syscall.EPERM, syscall.EACCES, syscall.ENOSYS}, more...)
}

// absent are those of a file that is not there, or cannot be written.
func absent() []syscall.Errno {
	return denied(syscall.ENOENT, syscall.EROFS, syscall.ENXIO, syscall.ENODEV, syscall.EIO, syscall.ENOTDIR)
}

// full are those of a pool that has no more for the guest.
func full() []syscall.Errno {
	return denied(syscall.ENOSPC, syscall.EMFILE, syscall.EAGAIN, syscall.EDQUOT, syscall.ENOMEM, syscall.EUSERS, syscall.ENOBUFS)
}

// patience is how long one attack may take: an emulated machine is slow.
const patience = 60 * time.Second

// Main runs a part of the program with a [Ground] as JSON, and gives the exit code:
// "all" tries the table, "some" what it can of it in one process, "hold" takes what it can get of
// all pools until its input ends, "take" takes a little of each, "queue" fills sockets, "watch" lies in wait for
// programs that come into the guest until its input ends, "catch" for what they can be made
// to be, "handed" tries what its input is good for, a neighbour's pidfd, "hide" goes where the
// tool's own processes are, "pause" waits for a signal, "nothing" ends.
func Main(args []string, in io.Reader, out io.Writer) int {
	g := &Ground{}
	if len(args) < 2 || json.Unmarshal([]byte(args[1]), g) != nil {
		fmt.Fprintln(out, "usage: "+Name+" all|some|hold|take|queue|watch|catch|handed|hide|pause|nothing GROUND [FROM]")
		return 2
	}
	switch args[0] {
	case "all":
		return all(args[1], out)
	case "some":
		return some(g, args[2], out)
	case "hold":
		return hold(in, out)
	case "take":
		return take(g, out)
	case "watch":
		return watch(in, out)
	case "catch":
		return catch(in, out)
	case "handed":
		return handed(out)
	case "hide":
		return hide(in, out)
	case "queue":
		return queues(g, out)
	case "pause":
		unix.Pause()
	}
	return 0
}

// all tries the table by processes that each try some of it.
func all(ground string, out io.Writer) int {
	table := Table()
	for next := 0; next < len(table); {
		n, err := begun(ground, next, out)
		next += n
		if next == len(table) || n > 0 && err == nil {
			continue
		}
		why := "ended without a word"
		if err != nil {
			why = err.Error()
		}
		a := table[next]
		json.NewEncoder(out).Encode(Outcome{Class: a.Class, Row: a.Row, Name: a.Name, Errno: why, Verdict: Unclear})
		next++
	}
	return 0
}

// begun has a process try some of the table, and gives how many it told of.
func begun(ground string, from int, out io.Writer) (int, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	late := time.AfterFunc(patience, cancel)
	defer late.Stop()
	told := &lines{out: out, each: func() { late.Reset(patience) }}
	c := exec.CommandContext(ctx, "/proc/self/exe", "some", ground, strconv.Itoa(from))
	c.Args[0] = Name
	c.WaitDelay = time.Second
	c.Stdout = told
	err := c.Run()
	return told.n, err
}

// lines counts those that go by.
type lines struct {
	out  io.Writer
	n    int
	each func()
}

func (l *lines) Write(b []byte) (int, error) {
	l.each()
	l.n += bytes.Count(b, []byte("\n"))
	return l.out.Write(b)
}

// some tries the table from an attack on until one is not refused, after which this process
// may not be what it was. Of the rough ones it tries one.
func some(g *Ground, from string, out io.Writer) int {
	table := Table()
	next, err := strconv.Atoi(from)
	if err != nil || next < 0 || next >= len(table) {
		return 2
	}
	runtime.LockOSThread()
	for quiet := len(gentle()); ; {
		a := table[next]
		said, err := a.Do(g)
		for errors.Is(err, unix.EINTR) {
			said, err = a.Do(g)
		}
		o := a.Judge(g, said, err)
		json.NewEncoder(out).Encode(o)
		if next++; o.Verdict != Refused || next >= quiet {
			return 0
		}
	}
}

// call makes a system call and says nothing of its result.
func call(nr uintptr, args ...uintptr) func(*Ground) (string, error) {
	return func(*Ground) (string, error) { return "", raw(nr, args...) }
}

// raw makes a system call. What a pointer among the arguments is of does not move meanwhile.
//
//go:uintptrescapes
func raw(nr uintptr, args ...uintptr) error {
	var a [6]uintptr
	copy(a[:], args)
	if _, _, errno := unix.Syscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5]); errno != 0 {
		return errno
	}
	return nil
}

// always allows with a reason in every guest.
func always(why string) func(*Ground) string { return func(*Ground) string { return why } }

// whenPrivate allows in guests with a user namespace of their own.
func whenPrivate(why string) func(*Ground) string {
	return func(g *Ground) string {
		if g.Private {
			return why
		}
		return ""
	}
}

// read gives what there is of a file, up to a megabyte.
func read(path string) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if len(b) > 0 {
		err = nil
	}
	return string(b), err
}
