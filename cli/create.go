package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"vserver/fault"
	"vserver/guest"
)

type createFlags struct {
	buildFlags
	readiness
	noStart bool
}

func newCreate(t *tool) *cobra.Command {
	var f createFlags
	c := command("create NAME [OPTION...]", `
Makes a guest, starts it, and with an ssh key comes back when its sshd answers.
Where its files come from is said by --method, or by the option that only one
method has:

  host         this host's own programs, shared: the default
  debootstrap  a Debian release: -d bookworm
  template     a tar archive, an OCI image or a registry's reference: -t FILE
  clone        another guest: --from NAME
  rsync        a directory or a running server: --from DIR, --from root@HOST:/
  skeleton     bare directories

Every setting of a guest is an option as well; vserver set changes them later. An
option that can be repeated takes several values at once, with commas between.`, `
vserver create web1 --debian bookworm --ip 192.0.2.10/24 --ssh-key ~/.ssh/id_ed25519.pub
vserver create db1 --ip 192.0.2.11/24 --memory 2G --cpus 1.5
vserver create job --init command --command /usr/local/bin/job --no-start`,
		func(ctx context.Context, args []string) error { return t.create(ctx, f, args) })
	f.buildFlags.flags(c)
	f.readiness.flags(c.Flags())
	c.Flags().BoolVar(&f.noStart, "no-start", false, "only make the guest, as vserver build does")
	return c
}

// create makes a guest, starts it and waits until it can be used.
func (t *tool) create(ctx context.Context, f createFlags, args []string) error {
	n, err := t.make(ctx, f.buildFlags, args)
	if err != nil || f.noStart {
		return err
	}
	f.ssh = len(f.keys) > 0
	f.ready = f.ready || f.ssh
	if err := t.startOne(ctx, startFlags{readiness: f.readiness}, n); err != nil {
		return t.about(n, fault.Hint(err, "the guest is made; vserver start "+string(n)+" tries again, vserver delete "+string(n)+" removes it"))
	}
	s, err := t.look(n)
	if err != nil {
		return t.about(n, err)
	}
	if t.json {
		return writeJSON(t.out, plain(s))
	}
	_, err = fmt.Fprintln(t.out, welcome(s, f.ssh))
	return err
}

// welcome says how to get into a new guest.
func welcome(s guest.Status, ssh bool) string {
	if ssh && len(s.Addresses) > 0 {
		return fmt.Sprintf("%s is ready: ssh root@%s", s.Name, s.Addresses[0].Addr())
	}
	return fmt.Sprintf("%s runs: vserver enter %s", s.Name, s.Name)
}
