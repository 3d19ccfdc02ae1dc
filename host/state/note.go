package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"vserver/fault"
	"vserver/guest"
	"vserver/kernel/file"
	"vserver/spawn/ready"
)

// Note is what a start leaves for later commands: what the kernel cannot be asked,
// or not cheaply. It is believed as long as its process is in the guest's group.
//
// It is a file of lines "KEY VALUE" with quoted values: written and read in a few
// microseconds by each start and exec, where encoding/json takes 150 for its first
// value (measured 2026-11).
type Note struct {
	PID      int
	Began    uint64 // when the process began, in ticks since boot: tells it from a later one with its pid
	Started  time.Time
	Stopping bool // a stop was asked for: its end is no accident

	// What the guest was started with, whatever its spec says by now.
	XID      guest.XID
	Base     uint32
	Userns   bool
	OwnNet   bool
	Hidden   bool // its sockets are handed in
	OwnTime  bool
	Rescue   bool // its init is another than its spec's
	Visit    bool // it has none, and is there for a command alone
	Style    guest.InitStyle
	Mode     guest.NetMode
	Addrs    []guest.Address // as they are now; in private mode none of a lease
	Env      map[string]string
	Rights   guest.Rights
	Rlimits  map[string]guest.Rlimit
	Nice     int
	OOM      int // limits.oom_score_adj
	IONice   guest.IOPrio
	Views    guest.ViewFlags
	Images   []string       // of the pool that its root lies over, by their full names
	Ceilings map[string]int // those that it has by name, as they are now
	Nproc    int            // ceiling of its user namespace's processes, which stays; 0 for none
}

func (n *Note) text() []byte {
	var b []byte
	put := func(key, value string) { b = putLine(b, key, value) }
	put("pid", strconv.Itoa(n.PID))
	put("began", strconv.FormatUint(n.Began, 10))
	put("started", timeText(n.Started))
	put("xid", strconv.Itoa(int(n.XID)))
	put("base", strconv.Itoa(int(n.Base)))
	put("nproc", strconv.Itoa(n.Nproc))
	put("views", strconv.Itoa(int(n.Views)))
	put("style", string(n.Style))
	put("network", string(n.Mode))
	for _, a := range n.Addrs {
		put("address", a.String())
	}
	put("seccomp", string(n.Rights.Seccomp))
	for _, f := range n.flags() {
		put(f.key, strconv.FormatBool(*f.value))
	}
	for _, l := range n.words() {
		for _, w := range *l.list {
			put(l.key, w)
		}
	}
	for _, image := range n.Images {
		put("image", image)
	}
	for k, v := range n.Env {
		put("env", k+"="+v)
	}
	if n.Nice != 0 {
		put("nice", strconv.Itoa(n.Nice))
	}
	if n.OOM != 0 {
		put("oom", strconv.Itoa(n.OOM))
	}
	if n.IONice != 0 {
		put("ionice", n.IONice.String())
	}
	for k, v := range n.Rlimits {
		limit, _ := v.MarshalText() // never fails
		put("rlimit", k+"="+string(limit))
	}
	for k, v := range n.Ceilings {
		put("ceiling", k+"="+strconv.Itoa(v))
	}
	return b
}

// putLine adds a line: a key and its value, quoted.
func putLine(b []byte, key, value string) []byte {
	b = append(append(b, key...), ' ')
	return append(strconv.AppendQuote(b, value), '\n')
}

// eachLine reads what putLine wrote.
func eachLine(text string, take func(key, value string) error) error {
	for line := range strings.Lines(text) {
		key, quoted, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		value, err := strconv.Unquote(quoted)
		if err == nil {
			err = take(key, value)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}

// timeText writes a time in UTC: in local time it would have the rules of the zone read,
// and reading it again as well.
func timeText(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func parseTime(text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, text)
	if t.IsZero() {
		return t, err
	}
	return t.Local(), err
}

type wordList struct {
	key  string
	list *[]string
}

// words are the lists of words among the guest's rights.
func (n *Note) words() []wordList {
	r := &n.Rights
	return []wordList{{"bcap", &r.Bcaps}, {"ccap", &r.Ccaps}, {"flag", &r.Flags}, {"personality", &r.Personality}, {"syscall", &r.Syscalls}}
}

type flag struct {
	key   string
	value *bool
}

func (n *Note) flags() []flag {
	return []flag{{"stopping", &n.Stopping}, {"userns", &n.Userns}, {"own_net", &n.OwnNet}, {"hidden", &n.Hidden}, {"own_time", &n.OwnTime}, {"rescue", &n.Rescue}, {"visit", &n.Visit},
		{"nesting", &n.Rights.Nesting}, {"cgroup1", &n.Rights.Cgroup1}, {"no_new_privileges", &n.Rights.NoNewPrivileges}}
}

// parseNote reads what text wrote. Keys it does not know are another version's, and
// no reason not to stop a guest.
func parseNote(text string) (*Note, error) {
	n := &Note{Env: map[string]string{}, Rlimits: map[string]guest.Rlimit{}, Ceilings: map[string]int{}}
	if err := eachLine(text, n.take); err != nil {
		return nil, err
	}
	if n.PID <= 0 {
		return nil, fmt.Errorf("no pid: %w", guest.ErrInvalid)
	}
	return n, nil
}

func (n *Note) take(key, value string) (err error) {
	for _, l := range n.words() {
		if l.key == key {
			*l.list = append(*l.list, value)
			return nil
		}
	}
	var number uint64
	switch key {
	case "pid":
		n.PID, err = strconv.Atoi(value)
	case "began":
		n.Began, err = strconv.ParseUint(value, 10, 64)
	case "started":
		n.Started, err = parseTime(value)
	case "views":
		number, err = strconv.ParseUint(value, 10, 8)
		n.Views = guest.ViewFlags(number)
	case "xid":
		number, err = strconv.ParseUint(value, 10, 32)
		n.XID = guest.XID(number)
	case "base":
		number, err = strconv.ParseUint(value, 10, 32)
		n.Base = uint32(number)
	case "nproc":
		n.Nproc, err = strconv.Atoi(value)
	case "nice":
		n.Nice, err = strconv.Atoi(value)
	case "oom":
		n.OOM, err = strconv.Atoi(value)
	case "ionice":
		err = n.IONice.UnmarshalText([]byte(value))
	case "style":
		n.Style = guest.InitStyle(value)
	case "network":
		n.Mode = guest.NetMode(value)
	case "address":
		var a guest.Address
		a, err = guest.ParseAddress(value)
		n.Addrs = append(n.Addrs, a)
	case "seccomp":
		n.Rights.Seccomp = guest.Seccomp(value)
	case "image":
		n.Images = append(n.Images, value)
	case "env", "rlimit", "ceiling":
		err = n.pair(key, value)
	default:
		flags := n.flags()
		if i := slices.IndexFunc(flags, func(f flag) bool { return f.key == key }); i >= 0 {
			*flags[i].value, err = strconv.ParseBool(value)
		}
	}
	return err
}

// pair takes one of what has a name and a value.
func (n *Note) pair(key, pair string) (err error) {
	k, v, _ := strings.Cut(pair, "=")
	switch key {
	case "env":
		n.Env[k] = v
	case "rlimit":
		var limit guest.Rlimit
		err = limit.UnmarshalText([]byte(v))
		n.Rlimits[k] = limit
	case "ceiling":
		n.Ceilings[k], err = strconv.Atoi(v)
	}
	return err
}

// NotePath is where the note of a guest lies.
func NotePath(d guest.Dirs, n guest.Name) string { return filepath.Join(d.State(n), "running") }

// ReadNote gives nil when there is no note, or an empty one: its start is about to write
// it, or was killed then. Its guest does not run, for its first process has not been let
// go.
func ReadNote(d guest.Dirs, n guest.Name) (*Note, error) {
	text, err := os.ReadFile(NotePath(d, n))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil || len(text) == 0 {
		return nil, err
	}
	was, err := parseNote(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", NotePath(d, n), err)
	}
	return was, nil
}

// Visited says of a guest that runs that it is there for a command alone: the error is then
// guest.ErrBusy.
func Visited(d guest.Dirs, n guest.Name) error {
	was, err := ReadNote(d, n)
	if err != nil || was == nil || !was.Visit {
		return err
	}
	return fault.Hint(fmt.Errorf("it is stopped, and a command works on its files: %w", guest.ErrBusy),
		"wait for its end; `vserver "+string(n)+" stop` waits, and ends it")
}

// Write puts the note at path. Notes are gone after a reboot, so nothing is synced.
func (n *Note) Write(path string) error { return os.WriteFile(path, n.text(), 0o600) }

// Replace puts the note at path in one go: there is one already.
func (n *Note) Replace(path string) error {
	return file.Replace(path, n.text(), 0o600)
}

// RemoveNote removes the note at path, if there is one, and with it what is ready for
// commands in its guest.
func RemoveNote(path string) error {
	return errors.Join(file.Forget(path), file.Forget(ready.Path(filepath.Dir(path))))
}
