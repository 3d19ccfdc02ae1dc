package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"vserver/fault"
	"vserver/guest"
	"vserver/host"
	"vserver/spawn"
	"vserver/vcontext/alone"
)

// securityFlags are the options that chcontext and vcontext share.
type securityFlags struct {
	xid, ctx, hostname, domainname            string
	caps, flags                               []string
	secure, disconnect, silent, silentExist   bool
	create, migrate, migrateSelf, init, vinit bool
	none                                      bool
	spaces                                    string
	chroot, pivot                             bool
	uid                                       int
	persona, syncSocket, syncMessage          string
	personas                                  []string
}

func (f *securityFlags) base(c *cobra.Command) *pflag.FlagSet {
	fl := firstWordEnds(c)
	fl.StringVar(&f.xid, "xid", "", "`N` the number of the context, or the name or number of a guest")
	fl.StringVar(&f.ctx, "ctx", "", "")
	fl.Lookup("ctx").Hidden = true
	fl.BoolVar(&f.disconnect, "disconnect", false, "do not wait for the end")
	fl.BoolVar(&f.silent, "silent", false, "say nothing but errors")
	return fl
}

func newChcontext(t *tool) *cobra.Command {
	var f securityFlags
	c := command("chcontext [OPTION...] -- COMMAND [ARG...]", `
Runs a command apart from the other processes of this host: it and what it starts see
and signal only each other, and have a host name and IPC of their own. Files and
network are the host's; chbind in front confines the latter. No guest is needed. When
the context --xid exists already, the command joins it and the other options do not
count. The context ends with its last process; so does chcontext, with the exit code
of the command.`, `
vserver chcontext --xid 4711 --hostname box -- sh
vserver chbind --ip 192.0.2.10 -- vserver chcontext --cap '!sys_admin' -- httpd`,
		func(_ context.Context, args []string) error { return t.inContext(t.chcontext(f, args)) })
	fl := f.base(c)
	fl.StringArrayVar(&f.caps, "cap", nil, "keep the `CAPABILITY`, or drop it with ! (repeatable)")
	fl.BoolVar(&f.secure, "secure", false, "keep only the capabilities of a guest without a user namespace")
	fl.StringVar(&f.hostname, "hostname", "", "the host `NAME` in the context")
	fl.StringVar(&f.domainname, "domainname", "", "the NIS domain `NAME` in the context")
	fl.StringArrayVar(&f.flags, "flag", nil, "`FLAG` fakeinit: the command is process 1 of the context (repeatable)")
	fl.StringVar(&f.spaces, "spaces", "", "")
	fl.Lookup("spaces").Hidden = true
	return c
}

func newVcontext(t *tool) *cobra.Command {
	var f securityFlags
	c := command("vcontext --create|--migrate|--migrate-self [--xid N] [OPTION...] -- COMMAND [ARG...]", `
Makes a security context, or joins one or a guest, and runs a command in it. Without
--xid a number from 49152 is chosen. The exit code is the command's, 254 when the
context to be made exists, or 255.`, `
vserver vcontext --create --xid 4711 --disconnect -- sleep 600
vserver vcontext --migrate --xid 4711 -- ps ax`,
		func(_ context.Context, args []string) error { return t.inContext(t.vcontext(f, args)) })
	fl := f.base(c)
	fl.BoolVar(&f.create, "create", false, "make the context")
	fl.BoolVar(&f.migrate, "migrate", false, "join the context or guest --xid")
	fl.BoolVar(&f.migrateSelf, "migrate-self", false, "stay in the context that we are in")
	fl.BoolVar(&f.init, "initpid", false, "the command is process 1 of the context")
	fl.BoolVar(&f.vinit, "fakeinit", false, "the same as --initpid")
	fl.BoolVar(&f.silentExist, "silentexist", false, "no word when the context exists")
	fl.BoolVar(&f.chroot, "chroot", false, "the working directory is the command's root")
	fl.BoolVar(&f.pivot, "pivot-root", false, "the working directory is the context's root, and the host's is gone")
	fl.IntVar(&f.uid, "uid", 0, "the `NUMBER` of the command's user")
	fl.StringVar(&f.persona, "personality-type", "", "the command's `PERSONALITY`: linux or linux32")
	fl.StringSliceVar(&f.personas, "personality-flags", nil, "`FLAGS` of the personality, as uname26")
	fl.StringVar(&f.syncSocket, "syncsock", "", "before the command runs, tell this to the `SOCKET` and wait until it is closed")
	fl.StringVar(&f.syncMessage, "syncmsg", "ok", "what is told to --syncsock: `TEXT`")
	for _, name := range []string{"endsetup", "namespace", "closefd"} { // always so
		fl.BoolVar(&f.none, name, false, "")
		fl.Lookup(name).Hidden = true
	}
	return c
}

func (t *tool) chcontext(f securityFlags, args []string) error {
	if len(args) == 0 {
		return usageHint("vserver chcontext --help", "which command?")
	}
	for _, word := range f.flags {
		switch strings.TrimPrefix(strings.ToLower(word), "vxf_") {
		case "fakeinit", "info_init":
			f.init = true
		case "lock", "hideinfo", "hide_vinfo", "hide_mount", "namespace", "default": // always so
		default:
			return coded{fault.Hint(fmt.Errorf("--flag %s: a context without a guest has no such thing: %w", word, guest.ErrUnsupported), "vserver create makes a guest, which has flags"), exitUnsupported}
		}
	}
	if f.id() != "" {
		if err := t.migrate(f, args); !errors.Is(err, guest.ErrNotFound) {
			return err
		}
	}
	return t.newSecurity(f, args)
}

func (t *tool) vcontext(f securityFlags, args []string) error {
	f.init = f.init || f.vinit
	switch {
	case !one(f.create, f.migrate, f.migrateSelf):
		return usageHint("vserver vcontext --help", "want one of --create, --migrate and --migrate-self")
	case len(args) == 0:
		return usageHint("vserver vcontext --help", "which command?")
	case f.migrateSelf:
		return execute(args)
	case f.migrate:
		return t.migrate(f, args)
	}
	err := t.newSecurity(f, args)
	if f.silentExist && errors.Is(err, guest.ErrExists) {
		return code(exitContextExists)
	}
	return err
}

// id is the word that names the context.
func (f *securityFlags) id() string {
	if f.xid == "" {
		return f.ctx
	}
	return f.xid
}

// migrate runs the command in the context, or the guest, that --xid names.
func (t *tool) migrate(f securityFlags, args []string) error {
	if f.id() == "0" || f.id() == "1" { // the host's, and the one that sees all: both are the host
		if id := alone.Own(t.host.Dirs); id != 0 {
			return fmt.Errorf("security context %s: from within context %d: %w", f.id(), id, syscall.EPERM)
		}
		return execute(args)
	}
	if n, err := strconv.ParseUint(f.id(), 10, 16); err == nil {
		x, err := alone.Open(t.host.Dirs, guest.XID(n))
		if err == nil {
			defer x.Close()
			path, err := program(args)
			if err != nil {
				return t.lost(err)
			}
			c, err := x.Join(path, args)
			return t.await(x, c, f.disconnect, err)
		}
		if !errors.Is(err, guest.ErrNotFound) {
			return err
		}
	}
	n, err := t.name(f.id())
	if err != nil {
		return err
	}
	if s, err := t.host.Status(n); err != nil || !isUp(s) {
		return fmt.Errorf("security context %s: %w", f.id(), guest.NoSuch("context"))
	}
	e, _ := lookup("exec")
	t.verb, t.subject = "exec", string(n)
	c := e.construct(t)
	c.SetArgs(append([]string{"--"}, args...))
	return c.Execute()
}

// newSecurity makes a context and runs the command in it.
func (t *tool) newSecurity(f securityFlags, args []string) error {
	var id uint64
	if f.id() != "" {
		var err error
		if id, err = strconv.ParseUint(f.id(), 10, 16); err != nil {
			return fault.Hint(fmt.Errorf("security context %s: %w", f.id(), guest.NoSuch("context")), "vserver list shows the guests; a new context has a number")
		}
		if n := host.ByXID(t.host, guest.XID(id)); n != "" {
			return fmt.Errorf("security context %d: is the guest %s: %w", id, n, guest.ErrExists)
		}
	}
	c, err := f.config()
	if err != nil {
		return err
	}
	path := args[0]
	if c.Root == alone.Keep {
		if path, err = program(args); err != nil {
			return t.lost(err)
		}
	}
	x, err := alone.Create(t.host.Dirs, guest.XID(id))
	if err != nil {
		return err
	}
	defer x.Close()
	if !f.silent {
		fmt.Fprintf(t.out, "New security context is %d\n", x.ID)
	}
	if err := f.sync(); err != nil {
		return errors.Join(err, t.endContext(x))
	}
	child, err := x.Run(c, path, args)
	return t.await(x, child, f.disconnect, err)
}

// config is what the context is to be like.
func (f *securityFlags) config() (c alone.Config, err error) {
	caps := ^guest.Capset(0)
	if f.secure {
		s := guest.Spec{Userns: guest.UsernsNone}
		if caps, err = s.Bounding(); err != nil {
			return c, err
		}
	}
	if caps, err = caps.Change(f.caps); err != nil {
		return c, err
	}
	c = alone.Config{Hostname: f.hostname, Domainname: f.domainname, Caps: uint64(caps), Init: f.init, UID: f.uid}
	switch {
	case f.pivot:
		c.Root = alone.Pivot
	case f.chroot:
		c.Root = alone.Chroot
	}
	c.Personality, err = personality(f.persona, f.personas)
	return c, err
}

// sync tells a socket that the context is there, and waits until that is heard.
func (f *securityFlags) sync() error {
	if f.syncSocket == "" {
		return nil
	}
	s, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: f.syncSocket, Net: "unix"})
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err := io.WriteString(s, f.syncMessage); err != nil {
		return err
	}
	if err := s.CloseWrite(); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, s)
	return err
}

// personality gives the number of an execution domain with flags (sys/personality.h).
func personality(domain string, flags []string) (n uint32, err error) {
	numbers := map[string]uint32{
		"linux": 0, "linux32": 8, "linux_32bit": 0x0800000,
		"uname26": 0x0020000, "addr_no_randomize": 0x0040000, "mmap_page_zero": 0x0100000, "addr_compat_layout": 0x0200000,
		"read_implies_exec": 0x0400000, "addr_limit_32bit": 0x0800000, "short_inode": 0x1000000, "whole_seconds": 0x2000000,
		"sticky_timeouts": 0x4000000, "addr_limit_3gb": 0x8000000,
	}
	for _, w := range append(flags, domain) {
		if w == "" {
			continue
		}
		bit, ok := numbers[strings.TrimPrefix(strings.ToLower(w), "per_")]
		if !ok {
			return 0, usagef("personality %q: no such name; setarch(8) lists them", w)
		}
		n |= bit
	}
	return n, nil
}

// program finds the file of a command.
func program(args []string) (string, error) { return exec.LookPath(args[0]) }

// lost is the answer to a command that is not there, as a shell gives it.
func (t *tool) lost(err error) error {
	fmt.Fprintf(t.err, "%s: %s\n", t.program, fault.PlainLines(err.Error()))
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		return code(127)
	}
	return code(126)
}

// await passes signals on to a process of a context until it ends, gives its exit code,
// and ends the context if that was the last. err is why there is no process.
func (t *tool) await(x *alone.Context, c *spawn.Child, disconnect bool, err error) error {
	if err != nil {
		return errors.Join(err, t.endContext(x))
	}
	defer c.Close()
	if disconnect {
		return nil
	}
	pid, err := c.Forked()
	if err != nil {
		return err
	}
	signals, stop := heard()
	defer stop()
	go func() {
		for s := range signals {
			syscall.Kill(pid, s.(syscall.Signal))
		}
	}()
	ws, err := c.Wait()
	if err := errors.Join(err, t.endContext(x)); err != nil {
		return err
	}
	return ended(ws)
}

// killContext is vkill for a context without a guest; done is false when there is none.
func (t *tool) killContext(f killFlags, pids []int) (done bool, err error) {
	n, err := strconv.ParseUint(f.xid, 10, 16)
	if err != nil {
		return false, nil
	}
	x, err := alone.Open(t.host.Dirs, guest.XID(n))
	if err != nil {
		return false, nil
	}
	defer x.Close()
	if slices.Contains(pids, everyone) {
		pids = nil
	}
	return true, errors.Join(x.Signal(syscall.Signal(f.signal.Signal), pids...), t.endContext(x))
}
