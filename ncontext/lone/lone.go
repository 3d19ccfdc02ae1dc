// Package lone is the network context without a guest: any command of the host locked
// to addresses that the host has, as chbind does it.
//
// A context has a number, which gives its loopback address as a guest's does, and is a
// control group .nid-N beside those of the guests, under the same programs. The kernel
// knows who is in it. What it may do is written down in Run/nids/N, because the programs
// cannot be asked for all of it. A context ends when its last process has ended and
// somebody looks: whoever ran the command, or else the next tool that deals with
// contexts.
package lone

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"time"

	"vserver/guest"
	"vserver/kernel/cgroup"
	"vserver/kernel/file"
	"vserver/ncontext/shared"
)

// prefix begins the names of the groups; no guest's name begins with a dot.
const prefix = ".nid-"

// lockWait bounds the wait for other tools that make or end contexts.
const lockWait = time.Minute

// Config is what the processes of a context may do in the host's network.
type Config struct {
	Addresses []netip.Prefix // of the host
	Flags     guest.NetFlags
	Caps      guest.NetCaps
	Lback     netip.Addr // not valid: by the number
}

// Context is a context, open.
type Context struct {
	ID    guest.XID
	dirs  guest.Dirs
	cg    cgroup.Host
	group *cgroup.Group
}

// Create makes a context, which it holds; with the number 0 one is chosen. The error is
// guest.ErrExists when the number has one.
func Create(d guest.Dirs, id guest.XID, c Config) (*Context, error) {
	unlock, err := lock(d)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return create(d, id, c)
}

// Share is Create, unless there is a context that may do the same, which it holds then:
// an address has one context. made tells which it was.
func Share(d guest.Dirs, c Config) (x *Context, made bool, err error) {
	unlock, err := lock(d)
	if err != nil {
		return nil, false, err
	}
	defer unlock()
	x, err = like(d, c)
	if !errors.Is(err, guest.ErrNotFound) {
		return x, false, err
	}
	x, err = create(d, 0, c)
	return x, true, err
}

func create(d guest.Dirs, id guest.XID, c Config) (*Context, error) {
	cg, err := cgroup.Find()
	if err != nil {
		return nil, err
	}
	if err := sweep(d, cg); err != nil {
		return nil, err
	}
	var x *Context
	if id != 0 {
		x, err = begin(d, cg, id)
	} else {
		for id = guest.DynamicXID; ; id++ { // another installation may have some
			id = free(d, cg, id)
			if x, err = begin(d, cg, id); !errors.Is(err, guest.ErrBusy) {
				break
			}
		}
	}
	if err != nil {
		return nil, err
	}
	if err := x.set(c); err != nil {
		return nil, errors.Join(err, x.drop(), x.Close())
	}
	return x, nil
}

// begin makes a context that may do nothing yet, and holds it. The error is guest.ErrBusy
// when another installation has the number.
func begin(d guest.Dirs, cg cgroup.Host, id guest.XID) (*Context, error) {
	if id < guest.MinXID || id > guest.LastXID {
		return nil, fmt.Errorf("network context %d: want %d to %d: %w", id, guest.MinXID, guest.LastXID, guest.ErrInvalid)
	}
	x := &Context{ID: id, dirs: d, cg: cg}
	if there(cg, x.path()) {
		return nil, fmt.Errorf("network context %d: %w", id, guest.ErrExists)
	}
	var err error
	if x.group, err = cg.Create(x.path()); err != nil {
		return nil, err
	}
	err = x.Hold()
	if err == nil {
		err = shared.Up(shared.Want{World: shared.WorldOf(d), XID: id})
	}
	if err != nil {
		return nil, errors.Join(err, x.drop(), x.Close())
	}
	return x, nil
}

// Open opens a context. The error is guest.ErrNotFound when there is none.
func Open(d guest.Dirs, id guest.XID) (*Context, error) {
	cg, err := cgroup.Find()
	if err != nil {
		return nil, err
	}
	x := &Context{ID: id, dirs: d, cg: cg}
	if x.group, err = cg.Open(x.path()); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("network context %d: %w", id, guest.NoSuch("context"))
	}
	return x, err
}

// like opens and holds a context that may do what c says. The error is guest.ErrNotFound
// when there is none.
func like(d guest.Dirs, c Config) (*Context, error) {
	notes, err := filepath.Glob(filepath.Join(d.Run, "nids", "[0-9]*"))
	if err != nil {
		return nil, err
	}
	for _, note := range notes {
		id, err := strconv.ParseUint(filepath.Base(note), 10, 16)
		if err != nil {
			continue
		}
		has, err := read(note)
		if err != nil || !reflect.DeepEqual(has, c) {
			continue
		}
		x, err := Open(d, guest.XID(id))
		if errors.Is(err, guest.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := x.Hold(); err == nil {
			return x, nil
		} else if !errors.Is(err, guest.ErrNotFound) {
			return nil, errors.Join(err, x.Close())
		}
		x.Close()
	}
	return nil, fmt.Errorf("network context: %w", guest.NoSuch("context"))
}

// Own gives the number of the context that this process is in, and of a guest's process
// the guest's name instead; both are zero outside.
func Own(d guest.Dirs) (guest.XID, guest.Name) {
	text, _ := os.ReadFile("/proc/self/cgroup")
	return Of(d, string(text))
}

// Of is Own for the process of whose /proc/PID/cgroup that is the text.
func Of(d guest.Dirs, groups string) (guest.XID, guest.Name) {
	for line := range strings.Lines(groups) {
		path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::/"+d.Cgroup+"/")
		if !ok {
			continue
		}
		name, _, _ := strings.Cut(path, "/")
		if n, ok := number(name); ok {
			return n, ""
		}
		return 0, guest.Name(name)
	}
	return 0, ""
}

// FD is the descriptor of the control group, for a process that is born into it.
func (x *Context) FD() int { return x.group.FD() }

// Hold keeps the context, though nobody is in it yet, until End or Close.
func (x *Context) Hold() error {
	if err := x.group.Share(); err != nil {
		return err
	}
	if !there(x.cg, x.path()) {
		return fmt.Errorf("network context %d: %w", x.ID, guest.NoSuch("context"))
	}
	return nil
}

// Close closes the context, which stays.
func (x *Context) Close() error { return x.group.Close() }

// Config reads what the context may do.
func (x *Context) Config() (Config, error) { return read(x.note()) }

// Change changes what the context may do, with effect on all that its processes do next.
func (x *Context) Change(change func(*Config) error) error {
	unlock, err := lock(x.dirs)
	if err != nil {
		return err
	}
	defer unlock()
	c, err := x.Config()
	if err != nil {
		return err
	}
	if err := change(&c); err != nil {
		return err
	}
	return x.set(c)
}

// End ends the context if no process is in it any more. What stands for all guests and
// contexts stays.
func (x *Context) End() error {
	unlock, err := lock(x.dirs)
	if err != nil {
		return err
	}
	defer unlock()
	return x.drop()
}

func (x *Context) path() string { return x.dirs.Cgroup + "/" + prefix + strconv.Itoa(int(x.ID)) }

func (x *Context) note() string {
	return filepath.Join(x.dirs.Run, "nids", strconv.Itoa(int(x.ID)))
}

func (x *Context) set(c Config) error {
	var st syscall.Stat_t
	if err := syscall.Fstat(x.group.FD(), &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	set, err := shared.Attach(x.dirs, nil)
	if err != nil {
		return err
	}
	defer set.Close()
	list := make([]guest.Address, len(c.Addresses))
	for i, p := range c.Addresses {
		list[i] = guest.Address{Prefix: p, NoDev: true}
	}
	k := shared.NewContext(x.ID, list, c.Flags, c.Caps)
	if c.Lback.IsValid() {
		k.Lback = c.Lback
	}
	if err := set.Put(st.Ino, k); err != nil {
		return err
	}
	return c.write(x.note())
}

// drop takes all of the context away, unless a process is in it or another holds it.
func (x *Context) drop() error {
	var st syscall.Stat_t
	if err := syscall.Fstat(x.group.FD(), &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if err := x.group.Seize(); errors.Is(err, guest.ErrBusy) {
		return nil
	} else if err != nil {
		return err
	}
	if err := x.cg.Unified.Prune(x.path()); err != nil || there(x.cg, x.path()) {
		return err
	}
	_, err := shared.Down(shared.WorldOf(x.dirs), x.ID)
	errs := []error{err}
	set, err := shared.Find(x.dirs)
	if err == nil {
		errs = append(errs, set.Delete(st.Ino), set.Close())
	} else if !errors.Is(err, guest.ErrNotFound) {
		errs = append(errs, err)
	}
	return errors.Join(append(errs, file.Forget(x.note()))...)
}

// sweep ends the contexts that nobody is in.
func sweep(d guest.Dirs, cg cgroup.Host) error {
	entries, err := os.ReadDir(filepath.Join(cg.Unified.Mount, d.Cgroup))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var errs []error
	for _, e := range entries {
		id, ok := number(e.Name())
		if !ok {
			continue
		}
		x := &Context{ID: id, dirs: d, cg: cg}
		if x.group, err = cg.Open(x.path()); err == nil {
			errs = append(errs, x.drop(), x.Close())
		}
	}
	return errors.Join(errs...)
}

// free gives the lowest number from this one on that has no context.
func free(d guest.Dirs, cg cgroup.Host, id guest.XID) guest.XID {
	for ; id <= guest.LastXID; id++ {
		if x := (&Context{ID: id, dirs: d}); !there(cg, x.path()) {
			return id
		}
	}
	return guest.LastXID + 1
}

func there(cg cgroup.Host, path string) bool {
	_, err := os.Stat(filepath.Join(cg.Unified.Mount, path))
	return err == nil
}

func number(group string) (guest.XID, bool) {
	digits, ok := strings.CutPrefix(group, prefix)
	n, err := strconv.ParseUint(digits, 10, 16)
	return guest.XID(n), ok && err == nil
}

func lock(d guest.Dirs) (unlock func(), err error) {
	l, err := file.LockDir(filepath.Join(d.Run, "nids"), lockWait)
	if err != nil {
		return nil, err
	}
	return func() { l.Unlock() }, nil
}
