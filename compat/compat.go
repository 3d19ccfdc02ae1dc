// Package compat answers to the names of Linux-VServer's tools that are no verbs of
// package cli: their options, what they print and how they end, in front of the same
// calls of package host. What a stock kernel has no part for says so on one line, with
// the nearest alternative, and ends with 7.
//
// table.go lists the tools. Each has a file; doc/compat.md, which is made of the tables
// in package inventory, says of each option what has become of it.
package compat

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/spf13/pflag"

	"vserver/fault"
	"vserver/guest"
	"vserver/host"
	"vserver/kernel/proc"
	"vserver/kernel/solo"
)

// The exit codes. Those of a tool that failed are its own: see table.go.
const (
	exitDone        = 0
	exitUnsupported = 7
)

// call is one run of a tool.
type call struct {
	tool
	host  *host.Host
	flags *pflag.FlagSet
	out   *fault.Writer
	err   io.Writer
}

// run does the work of a tool, with the words behind its options.
type run func(words []string) error

// code is an error that only sets the exit code.
type code int

// Error gives the number.
func (c code) Error() string { return fmt.Sprint("exit code ", int(c)) }

// usage is a command line that makes no sense.
type usage struct{ error }

func usagef(format string, args ...any) error { return usage{fmt.Errorf(format, args...)} }

// absent is what no stock kernel gives, and what comes nearest, on one line.
type absent string

// Error gives the line.
func (a absent) Error() string { return string(a) }

// Unwrap gives the kind of error that it is.
func (a absent) Unwrap() error { return guest.ErrUnsupported }

func lacking(what, instead string) error { return absent(what + "; " + instead) }

// Names are the tools that Main runs, sorted.
func Names() []string {
	var all []string
	for _, t := range table() {
		all = append(all, t.name)
	}
	return all
}

// Main runs the tool called program, if it is one of these; args[0] is its name.
func Main(program string, args []string, d guest.Dirs, out, err io.Writer) (exit int, ok bool) {
	t, ok := find(program)
	if !ok {
		return 0, false
	}
	solo.Over()
	c := &call{tool: t, host: host.Open(d), out: &fault.Writer{To: out}, err: err}
	return c.report(c.main(args[1:])), true
}

func find(program string) (tool, bool) {
	for _, t := range table() {
		if t.name == program {
			return t, true
		}
	}
	return tool{}, false
}

func (c *call) main(args []string) error {
	if len(args) == 1 && args[0] == "--version" {
		fmt.Fprintln(c.out, c.name, "of vserver")
		return nil
	}
	do := c.options()
	if len(args) == 1 && args[0] == "--man" {
		c.man()
		return nil
	}
	if c.raw && len(args) == 1 && args[0] == "--help" {
		c.help()
		return nil
	}
	if !c.raw {
		err := c.flags.Parse(args)
		if errors.Is(err, pflag.ErrHelp) {
			c.help()
			return nil
		}
		if err != nil {
			return usage{err}
		}
		args = c.flags.Args()
	}
	return do(args)
}

// options makes the parser of the tool.
func (c *call) options() run {
	c.flags = pflag.NewFlagSet(c.name, pflag.ContinueOnError)
	c.flags.SetInterspersed(c.mixed)
	c.flags.SortFlags = false
	c.flags.Usage = func() {}
	do := c.make(c)
	c.flags.SetNormalizeFunc(abbreviated)
	return do
}

// abbreviated takes the beginning of an option's name for the name, if there is but one
// that begins so, as getopt_long(3) does.
func abbreviated(f *pflag.FlagSet, name string) pflag.NormalizedName {
	whole := ""
	f.VisitAll(func(o *pflag.Flag) {
		switch {
		case o.Name == name:
			whole = name
		case whole != name && strings.HasPrefix(o.Name, name):
			if whole == "" {
				whole = o.Name
			} else {
				whole = "\x00" // two of them
			}
		}
	})
	if whole == "" || whole == "\x00" {
		return pflag.NormalizedName(name)
	}
	return pflag.NormalizedName(whole)
}

func (c *call) help() {
	fmt.Fprintf(c.out, "usage: %s %s\n%s\n", c.name, c.usage, strings.TrimSpace(c.about))
	if text := c.flags.FlagUsages(); text != "" {
		fmt.Fprint(c.out, "\n", text)
	}
}

// report says what went wrong and gives the exit code.
func (c *call) report(err error) int {
	var only code
	if err == nil || errors.As(err, &only) {
		if err = c.out.Lost; err == nil {
			return int(only)
		}
	}
	fmt.Fprintf(c.err, "%s: %s\n", c.name, fault.PlainLines(err.Error()))
	hint := fault.HintOf(err)
	var u usage
	switch {
	case errors.As(err, &u):
		fmt.Fprintf(c.err, "hint: %s --help\n", c.name)
		return c.misused
	case hint != "":
		fmt.Fprintf(c.err, "hint: %s\n", fault.PlainLines(hint))
	}
	if errors.Is(err, guest.ErrUnsupported) {
		return exitUnsupported
	}
	return c.failed
}

// become goes on as another command, if there is one.
func become(words []string) error {
	if len(words) == 0 {
		return nil
	}
	path, err := exec.LookPath(words[0])
	if err != nil {
		return err
	}
	return os.NewSyscallError("exec "+path, syscall.Exec(path, words, os.Environ()))
}

// spread runs a command to its end, with our files, and gives its exit code as an error.
func spread(c *exec.Cmd) error {
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	return exitOf(c.Run())
}

// exitOf is the end of a command, as package os/exec tells it, as an exit code.
func exitOf(err error) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	return code(proc.ExitCode(exit.Sys().(syscall.WaitStatus)))
}
