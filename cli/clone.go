package cli

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"vserver/guest"
	"vserver/host"
)

func newClone(t *tool) *cobra.Command {
	var f buildFlags
	var snapshot, left string
	c := command("clone NAME NEW [OPTION...]", `
Makes a guest like another one and does not start it. It shares all files that the
other has by now, and has ids, a machine id and ssh host keys of its own. It gets no
addresses but those given here; other settings are the other's, unless changed here.
The other guest may run: it is frozen while its own files are taken, see vserver
snapshot --help for what that costs where. Or it is cloned as a snapshot has it.`, `
vserver clone web1 web2 --ip 192.0.2.11/24
vserver web1 clone web2 --snapshot before-upgrade`,
		func(ctx context.Context, args []string) error {
			from, rest, err := t.one(args)
			if err != nil {
				return err
			}
			if len(rest) != 1 {
				return usageHint("vserver clone --help", "want a guest, and a name for the new one")
			}
			n, err := guest.ParseName(rest[0])
			if err != nil {
				return usage{err.Error()}
			}
			return t.about(n, t.cloneTo(ctx, f, from, n, snapshot, left))
		})
	fl := c.Flags()
	fl.StringVar(&snapshot, "snapshot", "", "`SNAPSHOT` of the guest to clone, instead of what it is now")
	fl.StringVarP(&left, "exclude-from", "X", "", "`FILE` with an exclude list, as of vserver hashify: files that the new guest does not get")
	fl.StringArrayVar(&f.keys, "ssh-key", nil, "`FILE` with public keys that may log in as root (repeatable)")
	fl.StringVar(&f.password, "root-password-file", "", "`FILE` with root's password, or a hash of it by crypt(3)")
	if !t.optionless { // a twentieth of a clone
		f.wishes.flags(c)
	}
	t.completeSnapshotFlag(c, "snapshot")
	return c
}

// cloneTo makes guest n like another.
func (t *tool) cloneTo(ctx context.Context, f buildFlags, from, n guest.Name, snapshot, left string) error {
	o, err := f.options()
	if err == nil {
		o.Furnish, err = t.leavesOut(n, left)
	}
	if err != nil {
		return err
	}
	p := t.newProgress(n)
	o.Progress = p
	err = t.host.Clone(ctx, from, n, f.change, host.CloneOptions{BuildOptions: o, Snapshot: snapshot})
	p.end(err == nil)
	return err
}

// leavesOut gives what takes away of a new guest what an exclude list names; nil without one.
func (t *tool) leavesOut(n guest.Name, list string) (func(context.Context) error, error) {
	if list == "" {
		return nil, nil
	}
	f, err := os.Open(list)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return host.Pruned(t.host, n, f)
}
