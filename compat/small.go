package compat

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	"vserver/guest"
	"vserver/kernel/cred"
	"vserver/kernel/file"
	"vserver/kernel/pty"
	"vserver/tty"
)

// newVpstree is pstree: on the host it sees all processes.
func newVpstree(*call) run {
	return func(words []string) error { return become(append([]string{"pstree"}, words...)) }
}

// newExecCd goes on as a command in a directory below the one that we are in, as if that
// were the root: no link leads out of it.
func newExecCd(*call) run {
	return func(words []string) error {
		if len(words) < 2 {
			return usagef("want a directory and a command")
		}
		if err := file.Descend(words[0]); err != nil {
			return err
		}
		return become(words[1:])
	}
}

// newReducecap runs a command with fewer capabilities.
func newReducecap(c *call) run {
	show := c.flags.Bool("show", false, "show the capabilities of this process")
	secure := c.flags.Bool("secure", false, "keep those of a guest without a user namespace")
	taken := c.flags.StringArray("cap", nil, "take the `CAPABILITY` (repeatable); with ! keep it")
	c.flags.StringArray("flag", nil, "accepted: flags are a context's")
	c.flags.String("pid", "", "not supported: `PID`")
	return func(command []string) error {
		if c.flags.Changed("pid") {
			return lacking("--pid: no process can take capabilities from another", "`reducecap ... -- COMMAND`, before it runs")
		}
		caps := guest.Capset(cred.Bounding())
		if *secure {
			s := guest.Spec{Userns: guest.UsernsNone}
			kept, err := s.Bounding()
			if err != nil {
				return err
			}
			caps &= kept
		}
		for _, w := range words(*taken) {
			bare := strings.TrimLeft(w, "!~")
			var err error
			if bare == w {
				caps, err = caps.Change([]string{"!" + w})
			} else {
				caps, err = caps.Change([]string{bare})
			}
			if err != nil {
				return usage{err}
			}
		}
		if *show {
			fmt.Fprintln(c.out, strings.Join(caps.Names(), ","))
		}
		if len(command) == 0 {
			if !*show {
				return usagef("which command?")
			}
			return nil
		}
		return keep(uint64(caps), command)
	}
}

// newVserverBuild is `vserver NAME build`: -n has the name.
func newVserverBuild(*call) run {
	return func(words []string) error {
		i := slices.Index(words, "-n")
		if end := slices.Index(words, "--"); i < 0 || i+1 >= len(words) || end >= 0 && i > end {
			return usagef("want -n NAME and -m METHOD")
		}
		name := words[i+1]
		rest := slices.Delete(slices.Clone(words), i, i+2)
		return executeSelf(slices.Concat([]string{"vserver", name, "build"}, rest))
	}
}

// executeSelf goes on as another of this program's names.
func executeSelf(argv []string) error {
	cmd := named(argv)
	if cmd.Err != nil {
		return cmd.Err
	}
	return os.NewSyscallError("exec "+cmd.Path, syscall.Exec(cmd.Path, argv, os.Environ()))
}

// newVlogin runs a command on a terminal of its own, if we are on one.
func newVlogin(*call) run {
	return func(words []string) error {
		if len(words) == 0 {
			return usagef("which command?")
		}
		return onTerminal(words)
	}
}

// onTerminal runs a command on a new terminal, joined to ours; without a terminal it is
// executed as it is.
func onTerminal(command []string) error {
	if !pty.IsTerminal(os.Stdin) || !pty.IsTerminal(os.Stdout) {
		return become(command)
	}
	rows, cols, err := pty.Size(0)
	if err != nil {
		return err
	}
	pair, err := pty.Open(rows, cols)
	if err != nil {
		return err
	}
	defer pair.Master.Close()
	child := exec.Command(command[0], command[1:]...)
	child.Stdin, child.Stdout, child.Stderr = pair.Slave, pair.Slave, pair.Slave
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	err = child.Start()
	pair.Slave.Close()
	if err != nil {
		return err
	}
	attached := tty.Attach(context.Background(), pair.Master, os.Stdin, os.Stdout, tty.Options{})
	return errors.Join(attached, exitOf(child.Wait()))
}
