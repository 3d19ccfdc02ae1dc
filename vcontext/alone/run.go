package alone

import (
	"os"
	"path/filepath"
	"syscall"

	"vserver/kernel/cgroup"
	"vserver/kernel/cred"
	"vserver/kernel/mount"
	"vserver/kernel/pidfd"
	"vserver/reaper"
	"vserver/spawn"
)

// Config is what a context is like; the zero value is like the host.
type Config struct {
	Hostname   string
	Domainname string // of NIS
	Caps       uint64 // what is kept, bit by number
	Init       bool   // the command is itself the first process, pid 1
	// Root says what becomes of the working directory. With Chroot and Pivot the program
	// is looked for below it, where PATH says.
	Root        Root
	UID         int    // user of the command, when above 0
	Personality uint32 // as personality(2) has it; 0 is that of ours
}

// Root is what a context does with the working directory of its maker.
type Root int

// The ways of a context's root.
const (
	Keep   Root = iota // the root is the host's
	Chroot             // it is the root of the processes
	Pivot              // it is the root of the mount space, and the host's is gone
)

// Run begins the context with the command argv, whose program is the file path. It has
// the files 0, 1 and 2 of ours. Run returns when it is executed.
func (x *Context) Run(c Config, path string, argv []string) (*spawn.Child, error) {
	t := &spawn.Table{}
	t.Fork("make namespaces", spawn.NewMount|spawn.NewPid|spawn.NewUTS|spawn.NewIPC, nil)
	t.Private()
	const quiet = mount.NoSuid | mount.NoDev | mount.NoExec
	t.Attach(t.NewFS("proc", quiet), "/proc")
	if c.Hostname != "" {
		t.Hostname(c.Hostname)
	}
	if c.Domainname != "" {
		t.WriteFile("/proc/sys/kernel/domainname", c.Domainname)
	}
	program := t.Receive("reaper", 1)[0]
	t.ResetSignals()
	t.CloseOthers()
	paths, search := []string{path}, filepath.Dir(path)
	if c.Root != Keep {
		if err := c.root(t); err != nil {
			return nil, err
		}
		search = os.Getenv("PATH")
		paths = nil
		for _, dir := range filepath.SplitList(search) {
			paths = append(paths, filepath.Join(dir, path))
		}
		if filepath.Base(path) != path {
			paths = []string{path}
		}
	}
	if c.Personality != 0 {
		t.Personality(c.Personality)
	}
	if c.Init {
		c.become(t)
		t.Exec(paths, argv, os.Environ())
	} else {
		program = t.HandReport(argv[0], program)
		c.become(t)
		t.ExecFile("reaper", program, reaper.Args(reaper.Sysv, search, argv), os.Environ())
	}
	return x.start(t, true)
}

// Join is Run for a further process of a context. The capabilities are the caller's.
func (x *Context) Join(path string, argv []string) (*spawn.Child, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	if err := x.group.Share(); err != nil {
		return nil, err
	}
	defer cgroup.Unshare(x.group)
	pid, err := x.First()
	if err != nil {
		return nil, err
	}
	first, err := pidfd.Open(pid)
	if err != nil {
		return nil, err
	}
	defer syscall.Close(first)
	t := &spawn.Table{}
	t.Setns(first, spawn.NewMount|spawn.NewPid|spawn.NewUTS|spawn.NewIPC)
	t.Fork("enter pid namespace", 0, nil)
	t.Chdir(dir)
	t.ResetSignals()
	t.CloseOthers()
	t.Exec([]string{path}, argv, os.Environ())
	return x.start(t, false)
}

// root makes the working directory the root.
func (c Config) root(t *spawn.Table) error {
	if c.Root == Chroot {
		t.Chroot()
		return nil
	}
	dir, err := os.Getwd()
	if err == nil {
		t.Root(t.CloneAll(dir))
	}
	return err
}

// become drops all capabilities but those that are kept, and the user.
func (c Config) become(t *spawn.Table) {
	t.DropBounding(c.Caps, cred.LastCap())
	if c.UID > 0 {
		t.Become(uint32(c.UID), uint32(os.Getgid()), nil)
		return // the kernel drops the others
	}
	t.Capabilities(c.Caps & cred.Permitted())
}

func (x *Context) start(t *spawn.Table, reaps bool) (*spawn.Child, error) {
	c, err := spawn.Start(t, spawn.Options{Cgroup: x.group.FD(), Share: true})
	if err != nil {
		return nil, err
	}
	if reaps {
		err = send(c)
	}
	if err == nil {
		err = c.Finish()
	}
	if err != nil {
		c.Kill()
		c.Close()
		return nil, err
	}
	return c, nil
}

func send(c *spawn.Child) error {
	fd, err := reaper.Open()
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	return c.Send([]int{fd})
}
