package cli

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"vserver/fault"
	"vserver/guest"
	"vserver/host"
)

// importFlags are the options of import.
type importFlags struct {
	host.GuestImport
	xid    uint
	ips    []string
	wishes wishes
}

func newImport(t *tool) *cobra.Command {
	var f importFlags
	c := command("import [NAME] FILE [OPTION...]", `
Makes the guest that a file has which vserver export wrote, called as it was or NAME, and
does not start it. FILE is - for standard input.

It keeps who it is: settings, addresses, passwords, machine id, ssh host keys. It gets the
number that it had, or the lowest free one; its files are given to that. Images that this
host has, by their digests, are not taken in again; others come with the guest and go with
it when no other guest lies over them.

Nothing in the file is believed. Files go nowhere but into the guest; settings that give a
guest more of the host than a new one has are refused without --trust; and when anything
was cut or changed on the way there is no guest.`, `
vserver import web1.vserver
vserver import /backup/web1.tuesday --replace
vserver import web2 web1.vserver --new-identity --ip 192.0.2.11/24
ssh root@host1.example vserver web1 export | vserver import - --xid 40`,
		func(ctx context.Context, args []string) error {
			n, file, err := t.importWords(args)
			if err != nil {
				return err
			}
			return t.about(n, t.takeIn(ctx, f, n, file))
		})
	fl := c.Flags()
	fl.UintVar(&f.xid, "xid", 0, "`N` to be the guest's number")
	fl.StringArrayVar(&f.ips, "ip", nil, "`ADDRESS/LENGTH` instead of the addresses that it had (repeatable)")
	fl.BoolVar(&f.NoAddresses, "no-addresses", false, "take away the addresses that it had")
	fl.BoolVar(&f.Fresh, "new-identity", false, "give it a machine id and ssh host keys of its own, for a copy beside the original")
	fl.BoolVar(&f.Replace, "replace", false, "take what changed since a snapshot of a stopped guest; what it has changed here since is lost")
	fl.BoolVar(&f.Trust, "trust", false, "take settings that give it more of this host than a new guest has: hooks, devices, binds and the like")
	fl.StringArrayVar(&f.wishes.sets, "set", nil, "`KEY=VALUE` any setting by its key, as vserver set takes it (repeatable)")
	return c
}

// importWords finds a guest's name, which may be left out, and a file.
func (t *tool) importWords(args []string) (n guest.Name, file string, err error) {
	if t.subject != "" {
		args = append([]string{t.subject}, args...)
	}
	switch len(args) {
	case 1:
		return "", args[0], nil
	case 2:
		if n, err = guest.ParseName(args[0]); err != nil {
			return "", "", usage{err.Error()}
		}
		return n, args[1], nil
	}
	return "", "", usageHint("vserver import --help", "want a file, or a name for the guest and a file")
}

// takeIn makes a guest of a file.
func (t *tool) takeIn(ctx context.Context, f importFlags, n guest.Name, file string) error {
	in := t.in
	if file == "-" {
		if isTerminal(in) {
			return usageHint("vserver import FILE", "an import from a terminal")
		}
	} else {
		var err error
		if in, err = os.Open(file); err != nil {
			if _, bad := guest.ParseName(file); n == "" && bad == nil && !strings.Contains(file, ".") {
				err = fault.Hint(err, "a name is followed by a file: vserver import "+file+" -")
			}
			return err
		}
		defer in.Close()
	}
	o := f.GuestImport
	o.XID, o.NoAddresses = guest.XID(f.xid), o.NoAddresses || len(f.ips) > 0
	if f.xid > uint(guest.MaxXID) {
		return usagef("--xid %d: want %d to %d", f.xid, guest.MinXID, guest.MaxXID)
	}
	for i, ip := range f.ips {
		plus := map[bool]string{true: "+"}[i > 0]
		f.wishes.sets = append(f.wishes.sets, "network.addresses"+plus+"="+ip)
	}
	if len(f.wishes.sets) > 0 {
		o.Change = f.wishes.change
	}
	p := t.newProgress(cmp.Or(n, "import")) // the name may be in the file
	o.Progress = p
	made, err := host.Import(ctx, t.host, n, in, o)
	p.end(err == nil)
	if err != nil {
		return err
	}
	if made.Left != "" {
		t.warn(made.Guest, made.Left)
	}
	if t.json {
		return writeJSON(t.out, map[string]any{"guest": made.Guest, "xid": made.Spec.XID})
	}
	fmt.Fprintln(t.out, made.Guest)
	return nil
}
