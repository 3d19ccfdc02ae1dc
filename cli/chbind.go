package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"vserver/fault"
	"vserver/guest"
	"vserver/host"
	"vserver/kernel/cgroup"
	"vserver/ncontext/lone"
)

// contextFlags are the options that chbind, ncontext, naddress and nattribute share.
type contextFlags struct {
	nid, bcast, lback                                              string
	ips, flag, ncap, masks, ranges                                 []string
	silent, silentExist, secure, disconnect                        bool
	create, migrate, migrateSelf, add, remove, setAll, get, setOne bool
	ignored                                                        string
}

// base adds what all of them have.
func (f *contextFlags) base(c *cobra.Command) *pflag.FlagSet {
	fl := firstWordEnds(c)
	fl.StringVar(&f.nid, "nid", "", "`N` the number of the context, or the name or number of a guest")
	fl.BoolVar(&f.silent, "silent", false, "say nothing but errors")
	return fl
}

// what adds the options that say what a context may do.
func (f *contextFlags) what(fl *pflag.FlagSet) {
	fl.StringSliceVar(&f.ncap, "ncap", nil, "add the network `CAPABILITY`, or take it with !, several with commas (repeatable)")
	fl.StringSliceVar(&f.flag, "flag", nil, "add the network `FLAG`, or take it with !, several with commas (repeatable)")
	fl.BoolVar(&f.secure, "secure", false, "the flags and capabilities of an ordinary guest")
}

func (f *contextFlags) old(fl *pflag.FlagSet) {
	fl.BoolVar(&f.silentExist, "silentexist", false, "no word when the context exists")
	fl.BoolVar(&f.disconnect, "disconnect", false, "do not wait for the command")
	for _, name := range []string{"syncsock", "syncmsg"} {
		fl.StringVar(&f.ignored, name, "", "")
		fl.Lookup(name).Hidden = true
	}
}

func newChbind(t *tool) *cobra.Command {
	var f contextFlags
	c := command("chbind [OPTION...] -- COMMAND [ARG...]", `
Runs a command that has of this host's network nothing but the addresses given: a
wildcard is these, 127.0.0.1 is the context's own, and anything else is refused. No
guest is needed. When the context --nid exists already, the command joins it and
the other options do not count; without --nid it joins one that was made with the same
options. The exit code is the command's.`, `
vserver chbind --ip 192.0.2.10 -- /usr/sbin/sshd -D
vserver chbind --nid 100 --ip eth0 --ncap multicast -- sh`,
		func(_ context.Context, args []string) error { return t.inContext(t.chbind(f, args)) })
	fl := f.base(c)
	fl.StringArrayVar(&f.ips, "ip", nil, "`ADDRESS[/LENGTH]` of this host, or the name of a link for its address (repeatable)")
	fl.StringVar(&f.bcast, "bcast", "", "let it send broadcasts; the `ADDRESS` is taken for Linux-VServer's sake")
	fl.StringVar(&f.lback, "lback", "", "`ADDRESS` that is its 127.0.0.1, by default 127.(N/256).(N%256).1")
	f.what(fl)
	f.old(fl)
	return c
}

func newNcontext(t *tool) *cobra.Command {
	var f contextFlags
	c := command("ncontext --create|--migrate|--migrate-self [--nid N] -- COMMAND [ARG...]", `
Makes a network context without an address, or joins one, and runs a command in it.
The exit code is the command's, 254 when the context to be made exists, or 255.`, `
vserver ncontext --create --nid 100 -- vserver naddress --add --ip 192.0.2.10 -- sh
vserver ncontext --migrate --nid web1 -- wget http://127.0.0.1/`,
		func(_ context.Context, args []string) error { return t.inContext(t.ncontext(f, args)) })
	fl := f.base(c)
	fl.BoolVar(&f.create, "create", false, "make the context")
	fl.BoolVar(&f.migrate, "migrate", false, "join the context --nid")
	fl.BoolVar(&f.migrateSelf, "migrate-self", false, "stay in the context that we are in")
	f.old(fl)
	return c
}

func (t *tool) chbind(f contextFlags, args []string) error {
	if len(args) == 0 {
		return usageHint("vserver chbind --help", "which command?")
	}
	if f.nid != "" {
		if x, err := t.joined(f.nid); err == nil {
			defer x.close()
			return t.runContext(x, f, args)
		} else if !errors.Is(err, guest.ErrNotFound) {
			return err
		}
	}
	c, err := f.config()
	if err != nil {
		return err
	}
	return t.newContext(f, c, args)
}

// config is what chbind's context is to be like.
func (f *contextFlags) config() (c lone.Config, err error) {
	if c.Addresses, err = hostAddresses(f.ips); err != nil {
		return c, err
	}
	for _, p := range c.Addresses {
		if p.Addr().IsLoopback() {
			return c, fault.Hint(fmt.Errorf("address %v: a context has a loopback of its own: %w", p.Addr(), guest.ErrUnsupported),
				"`vserver chbind --flag '!lback_remap' --flag lback_allow -- COMMAND` lets it connect to what listens on the host's")
		}
	}
	if c.Flags, c.Caps, err = f.sets(guest.DefaultNetFlags, 0); err != nil {
		return c, err
	}
	if f.bcast != "" {
		c.Caps |= guest.Broadcast
	}
	if f.lback != "" {
		if c.Lback, err = netip.ParseAddr(f.lback); err != nil || !c.Lback.Is4() || !c.Lback.IsLoopback() {
			return c, usagef("--lback %q: want an address of 127.0.0.0/8", f.lback)
		}
	}
	return c, nil
}

// member is a context that is held, for those who run commands in it.
func (t *tool) member(x *lone.Context) *membership {
	return &membership{x.FD(), func() { t.endContext(x); x.Close() }}
}

// sets gives what the options make of flags and capabilities.
func (f *contextFlags) sets(flags guest.NetFlags, caps guest.NetCaps) (guest.NetFlags, guest.NetCaps, error) {
	if f.secure {
		caps |= guest.RawICMP
	}
	flags, err1 := flags.Change(f.flag)
	caps, err2 := caps.Change(f.ncap)
	return flags, caps, errors.Join(err1, err2)
}

func (t *tool) ncontext(f contextFlags, args []string) error {
	switch {
	case !one(f.create, f.migrate, f.migrateSelf):
		return usageHint("vserver ncontext --help", "want one of --create, --migrate and --migrate-self")
	case len(args) == 0:
		return usageHint("vserver ncontext --help", "which command?")
	case f.migrateSelf:
		return execute(args)
	case f.migrate:
		x, err := t.joined(f.nid)
		if err != nil {
			return err
		}
		defer x.close()
		return t.runContext(x, f, args)
	}
	err := t.unused(f.nid)
	if err == nil {
		err = t.newContext(f, lone.Config{Flags: guest.DefaultNetFlags}, args)
	}
	if f.silentExist && errors.Is(err, guest.ErrExists) {
		return code(exitContextExists)
	}
	return err
}

// unused refuses the number of a network context that is there, a guest's too.
func (t *tool) unused(nid string) error {
	if nid == "" {
		return nil
	}
	x, err := t.joined(nid)
	if err != nil {
		return nil
	}
	x.close()
	return fmt.Errorf("network context %s: %w", nid, guest.ErrExists)
}

// newContext makes a context, runs the command in it and ends it.
func (t *tool) newContext(f contextFlags, c lone.Config, args []string) error {
	var id uint64
	if f.nid != "" {
		var err error
		if id, err = strconv.ParseUint(f.nid, 10, 16); err != nil {
			return fault.Hint(fmt.Errorf("network context %s: %w", f.nid, guest.NoSuch("context")), "vserver list shows the guests; a new context has a number")
		}
	}
	var x *lone.Context
	made, err := true, error(nil)
	if id == 0 && len(c.Addresses) > 0 {
		x, made, err = lone.Share(t.host.Dirs, c)
	} else {
		x, err = lone.Create(t.host.Dirs, guest.XID(id), c)
	}
	if err != nil {
		return err
	}
	defer x.Close()
	if made && !f.silent {
		fmt.Fprintf(t.out, "New network context is %d\n", x.ID)
	}
	err = t.runContext(&membership{fd: x.FD()}, f, args)
	if f.disconnect {
		return err
	}
	if end := t.endContext(x); end != nil {
		var c code
		if err == nil || errors.As(err, &c) {
			t.say(end)
		}
	}
	return err
}

// endContext ends a context that nobody is in any more, and what stands for all after the last.
func (t *tool) endContext(x interface{ End() error }) error {
	return errors.Join(x.End(), host.Leave(t.host))
}

// membership is a control group that commands are run in.
type membership struct {
	fd    int
	close func()
}

// joined opens the context, or guest, that a word names.
func (t *tool) joined(word string) (*membership, error) {
	if n, err := strconv.ParseUint(word, 10, 16); err == nil {
		x, err := lone.Open(t.host.Dirs, guest.XID(n))
		if err == nil {
			err = x.Hold()
		}
		if err == nil {
			return t.member(x), nil
		}
		if !errors.Is(err, guest.ErrNotFound) {
			return nil, err
		}
	}
	n, err := t.name(word)
	if err != nil {
		return nil, err
	}
	s, err := t.host.Status(n)
	if err != nil {
		return nil, fmt.Errorf("network context %s: %w", word, guest.NoSuch("context"))
	}
	if !isUp(s) {
		return nil, fmt.Errorf("network context %s: %w", word, guest.NoSuch("context"))
	}
	cg, err := cgroup.Find()
	if err != nil {
		return nil, err
	}
	g, err := cg.Open(t.host.Dirs.Group(n))
	if err != nil {
		return nil, err
	}
	defer g.Close()
	leaf, err := cgroup.OpenExec(g)
	if err != nil {
		return nil, err
	}
	return &membership{leaf.FD(), func() { leaf.Close() }}, nil
}

// runContext runs a command in a control group and gives its exit code as an error.
func (t *tool) runContext(x *membership, f contextFlags, args []string) error {
	c := exec.Command(args[0], args[1:]...)
	c.Stdin, c.Stdout, c.Stderr = t.in, t.out.File, t.err
	c.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: x.fd, Setsid: f.disconnect}
	signals, stop := heard()
	defer stop()
	if err := c.Start(); err != nil {
		return t.lost(err)
	}
	if f.disconnect {
		return nil
	}
	go func() {
		for s := range signals {
			if s != syscall.SIGINT && s != syscall.SIGQUIT { // a terminal tells the command by itself
				c.Process.Signal(s)
			}
		}
	}()
	err := c.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return ended(exit.Sys().(syscall.WaitStatus))
	}
	return err
}

// execute becomes another command.
func execute(args []string) error {
	path, err := exec.LookPath(args[0])
	if err != nil {
		return err
	}
	return os.NewSyscallError("exec "+path, syscall.Exec(path, args, os.Environ()))
}

// hostAddresses reads addresses of this host: ADDRESS, with /LENGTH or /MASK, or the
// name of a link for its first IPv4 address.
func hostAddresses(words []string) (out []netip.Prefix, err error) {
	for _, w := range words {
		p, err := hostAddress(w)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

func hostAddress(word string) (netip.Prefix, error) {
	text, length, masked := strings.Cut(word, "/")
	a, err := netip.ParseAddr(text)
	if err != nil {
		return linkAddress(text)
	}
	if !masked {
		return known(a)
	}
	bits, err := strconv.Atoi(length)
	if m, merr := netip.ParseAddr(length); merr == nil && m.Is4() && a.Is4() {
		bits, _ = net.IPMask(m.AsSlice()).Size()
		err = nil
	}
	p := netip.PrefixFrom(a, bits)
	if err != nil || !p.IsValid() {
		return p, usagef("--ip %q: want ADDRESS/LENGTH or ADDRESS/MASK", word)
	}
	_, err = known(a)
	return p, err
}

func linkAddress(name string) (netip.Prefix, error) {
	l, err := net.InterfaceByName(name)
	if err != nil {
		return netip.Prefix{}, usagef("--ip %q: neither an address nor a link", name)
	}
	list, err := l.Addrs()
	for _, x := range list {
		if p, perr := netip.ParsePrefix(x.String()); perr == nil && p.Addr().Is4() {
			return p, nil
		}
	}
	return netip.Prefix{}, errors.Join(err, fmt.Errorf("link %s: has no IPv4 address: %w", name, guest.ErrInvalid))
}

// known gives an address of this host with its prefix length.
func known(a netip.Addr) (netip.Prefix, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return netip.Prefix{}, err
	}
	for _, x := range list {
		if p, err := netip.ParsePrefix(x.String()); err == nil && p.Addr() == a {
			return p, nil
		}
	}
	return netip.Prefix{}, fault.Hint(fmt.Errorf("address %s: this host has it not: %w", a, guest.ErrInvalid), "`ip address add "+a.String()+" dev DEV` gives it to the host; a guest gets it by `vserver NAME net add` with dev DEV")
}
