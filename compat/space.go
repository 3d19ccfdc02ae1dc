package compat

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"github.com/spf13/pflag"

	"vserver/fault"
	"vserver/guest"
	"vserver/kernel/pidfd"
	"vserver/kernel/proc"
	"vserver/spawn"
)

// spaces are what vspace is asked to do.
type spaces struct {
	fresh, set bool
	enter      string
	mask       uintptr
	any        bool // a space was named, if only the fs_struct
}

// kinds are the options that name a space, with its bit. A process always has an
// fs_struct of its own.
func kinds() []struct {
	name, letter string
	bit          uintptr
} {
	return []struct {
		name, letter string
		bit          uintptr
	}{
		{"mount", "M", syscall.CLONE_NEWNS}, {"fs", "F", 0}, {"ipc", "I", syscall.CLONE_NEWIPC}, {"uts", "U", syscall.CLONE_NEWUTS},
		{"user", "S", syscall.CLONE_NEWUSER}, {"pid", "P", syscall.CLONE_NEWPID}, {"net", "N", syscall.CLONE_NEWNET},
	}
}

// cloneFS is the bit of the fs_struct in a mask, linux/sched.h.
const cloneFS = 0x200

func newVspace(c *call) run {
	var s spaces
	c.flags.BoolVarP(&s.fresh, "new", "n", false, "make new spaces for the command")
	c.flags.StringVarP(&s.enter, "enter", "e", "", "join spaces of the context or guest `X`")
	c.flags.BoolVarP(&s.set, "set", "s", false, "accepted: a context's spaces are those of its first process")
	s.kinds(c.flags)
	return func(words []string) error { return c.spaces(s, words) }
}

// newVnamespace is vspace --mount --fs.
func newVnamespace(c *call) run {
	s := spaces{mask: syscall.CLONE_NEWNS, any: true}
	c.flags.BoolVarP(&s.fresh, "new", "n", false, "make new spaces for the command")
	c.flags.StringVarP(&s.enter, "enter", "e", "", "join those of the context `X`")
	c.flags.BoolVarP(&s.set, "set", "s", false, "accepted: a context's spaces are those of its first process")
	c.flags.Bool("cleanup", false, "accepted: a guest's mounts are its own")
	return func(words []string) error { return c.spaces(s, words) }
}

func (s *spaces) kinds(f *pflag.FlagSet) {
	add := func(bit uintptr) func(string) error {
		return func(string) error { s.mask, s.any = s.mask|bit, true; return nil }
	}
	for _, k := range kinds() {
		f.VarPF(&noted{add(k.bit)}, k.name, k.letter, "the space of "+k.name).NoOptDefVal = "true"
		f.VarPF(&noted{func(string) error { s.mask &^= k.bit; return nil }}, "~"+k.name, "", "not that").NoOptDefVal = "true"
	}
	all := uintptr(syscall.CLONE_NEWNS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS | syscall.CLONE_NEWPID)
	f.VarPF(&noted{add(all)}, "default", "", "mount, ipc, uts and pid").NoOptDefVal = "true"
	f.VarP(&noted{func(v string) error {
		n, err := strconv.ParseUint(v, 0, 32)
		if err != nil {
			return fmt.Errorf("invalid mask '%s'", v)
		}
		return add(uintptr(n) &^ cloneFS)("")
	}}, "mask", "m", "the spaces by their bits in clone(2): `MASK`")
	f.StringP("index", "i", "", "accepted: a context has one set of spaces")
}

func (c *call) spaces(s spaces, words []string) error {
	asked := 0
	for _, on := range []bool{s.fresh, s.set, s.enter != ""} {
		if on {
			asked++
		}
	}
	switch {
	case asked != 1:
		return usagef("want one of --new, --enter and --set")
	case !s.any:
		return usagef("must specify at least one space")
	case s.set:
		return become(words)
	case len(words) == 0:
		return usagef("no command specified")
	case s.fresh:
		return fresh(s.mask, words)
	}
	return c.enter(s, words)
}

// fresh runs a command in new spaces. Mounts of a new mount space do not spread to ours.
func fresh(mask uintptr, words []string) error {
	child := exec.Command(words[0], words[1:]...)
	child.SysProcAttr = &syscall.SysProcAttr{Cloneflags: mask &^ syscall.CLONE_NEWNS, Unshareflags: mask & syscall.CLONE_NEWNS}
	if mask&syscall.CLONE_NEWUSER != 0 {
		same := []syscall.SysProcIDMap{{Size: 1<<31 - 1}}
		child.SysProcAttr.UidMappings, child.SysProcAttr.GidMappings = same, same
		child.SysProcAttr.GidMappingsEnableSetgroups = true
	}
	return spread(child)
}

// enter runs a command in spaces of a context.
func (c *call) enter(s spaces, words []string) error {
	to, err := c.subject(s.enter)
	if err != nil {
		return err
	}
	defer to.close()
	switch {
	case to.guest != "" && s.mask&(syscall.CLONE_NEWNS|syscall.CLONE_NEWUSER) != 0:
		// What is executed there is the guest's own file.
		return fault.Hint(fmt.Errorf("%s: its files are not executed with the host's rights: %w", to.guest, guest.ErrUnsupported),
			"vserver "+string(to.guest)+" exec COMMAND runs one with the guest's; `vmount` mounts there")
	case to.guest == "" && to.alone == nil:
		return become(words)
	}
	path, err := exec.LookPath(words[0])
	if err != nil {
		return err
	}
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	pid, err := c.first(to)
	if err != nil {
		return err
	}
	first, err := pidfd.Open(pid)
	if err != nil {
		return err
	}
	defer syscall.Close(first)
	t := &spawn.Table{}
	if s.mask != 0 {
		t.Setns(first, int(s.mask))
	}
	if s.mask&syscall.CLONE_NEWPID != 0 {
		t.Fork("enter pid namespace", 0, nil)
	}
	t.Chdir(dir)
	t.ResetSignals()
	t.CloseOthers()
	t.Exec([]string{path}, words, os.Environ())
	return await(spawn.Start(t, spawn.Options{Cgroup: -1}))
}

// await waits for a child to end, and gives its exit code as an error.
func await(child *spawn.Child, err error) error {
	if err != nil {
		return err
	}
	defer child.Close()
	if err := child.Finish(); err != nil {
		child.Kill()
		return err
	}
	ws, err := child.Wait()
	if n := proc.ExitCode(ws); err == nil && n != 0 {
		err = code(n)
	}
	return err
}
