package cli

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"vserver/guest"
	"vserver/host"
)

// packagers are the verbs that are programs of packages, each with its summary.
func packagers() []entry {
	var list []entry
	for _, program := range []string{"apt-get", "apt-cache", "apt-config", "dpkg", "rpm", "yum", "dnf"} {
		list = append(list, entry{program, groupIn, program + " for a guest, with or without its own", func(t *tool) *cobra.Command {
			return newPackager(t, program)
		}})
	}
	return list
}

func newPackager(t *tool, program string) *cobra.Command {
	return passing(t, command(program+" NAME [ARG...]", `
Runs `+program+` for a guest: its own or, where it has none, the host's. That runs in the
guest, with the guest's rights and as its root, and sees the host's programs read-only;
the guest's root is /guest to it. Paths below /root, /home, /srv, /tmp and /var are the
guest's. A guest that is stopped is there for that time, without its init and its hooks.
The exit code is the program's, and 7 when nobody has it.`, `
vserver web1 `+program+` --version
vserver `+program+` web1 --help`,
		func(ctx context.Context, args []string) error {
			n, args, err := t.one(args)
			if err != nil {
				return err
			}
			code, err := host.RunPackager(ctx, t.host, n, program, args, t.plain())
			return t.ended(n, code, err)
		}))
}

func newPkg(t *tool) *cobra.Command {
	return passing(t, command("pkg NAME install|remove|update|upgrade|get-conffiles [ARG...]", `
Installs, removes or updates packages of a guest, running or not, by the package manager
that it has or could have: apt-get, dnf or yum, the host's where the guest has none, as
vserver apt-get --help tells. The words behind are the manager's own. get-conffiles
lists the files that dpkg leaves to the guest's administrator.`, `
vserver web1 pkg update
vserver web1 pkg install -y nginx
vserver web1 pkg get-conffiles`,
		func(ctx context.Context, args []string) error {
			n, args, err := t.one(args)
			if err != nil {
				return err
			}
			if len(args) == 0 || !slices.Contains(host.PackageVerbs(), args[0]) {
				return usageHint("vserver pkg --help", "want install, remove, update, upgrade or get-conffiles")
			}
			code, err := host.Manage(ctx, t.host, n, args[0], args[1:], t.plain())
			return t.ended(n, code, err)
		}))
}

func newChkconfig(t *tool) *cobra.Command {
	return passing(t, command("chkconfig NAME [ARG...]", `
Runs chkconfig in a guest, which says what its sysv init starts.`, `
vserver web1 chkconfig --list
vserver web1 chkconfig httpd on`,
		func(_ context.Context, args []string) error {
			n, args, err := t.one(args)
			if err != nil {
				return err
			}
			return t.runIn(n, execFlags{}, append([]string{"chkconfig"}, args...))
		}))
}

// passing has a command take all words as they are, but for --help alone.
func passing(t *tool, c *cobra.Command) *cobra.Command {
	c.DisableFlagParsing = true
	do := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		if t.subject == "" && (len(args) == 0 || slices.Contains([]string{"--help", "-h"}, args[0])) {
			return c.Help()
		}
		return do(c, args)
	}
	return c
}

// plain is a command with our files.
func (t *tool) plain() host.Command {
	return host.Command{Stdin: t.in, Stdout: t.out.File, Stderr: t.err, Signals: true}
}

// ended is the end of a command in a guest as an error.
func (t *tool) ended(n guest.Name, status int, err error) error {
	switch {
	case status == 0:
		return t.about(n, err)
	case err != nil: // it could not be executed: the code is that of a shell then
		return coded{t.about(n, err), status}
	}
	return code(status)
}
