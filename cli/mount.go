package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"vserver/guest"
	"vserver/host"
)

func newMount(t *tool) *cobra.Command {
	writable := false
	c := command("mount NAME [--rw] DIR", `
Mounts the root of a stopped guest at a directory of the host's, for as long as the host
runs or until vserver umount. Without --rw it can only be read.

Files show the ids that the guest sees: what is root's there is the guest's root's, and
what the host's root makes there too. Set-user-ID programs and devices are none. Users of
the host have the rights there that their numbers have in the guest, so DIR is best in a
directory of root's that others cannot enter. Volumes are not mounted. As with mount(8),
who has another mount namespace, such as a service of systemd with PrivateTmp=, does not
see it, nor does the host see what such a one mounts; a guest is kept from starting all
the same.

While it can be written to, the guest is not started, and nothing else is done to its
files. While it can only be read the guest may start; what it changes then may show or
not.`, `
vserver web1 mount /mnt
vserver mount web1 --rw /mnt
vserver web1 umount`,
		func(ctx context.Context, args []string) error {
			n, rest, err := t.one(args)
			if err != nil {
				return err
			}
			if len(rest) != 1 {
				return usageHint("vserver mount --help", "want a guest and a directory")
			}
			return t.about(n, host.MountRoot(ctx, t.host, n, rest[0], writable))
		})
	c.Flags().BoolVar(&writable, "rw", false, "it can be written to, and the guest not be started")
	c.ValidArgsFunction = t.completeDirs
	return c
}

func newUmount(t *tool) *cobra.Command {
	c := command("umount NAME [DIR]", `
Takes away what vserver mount mounted.`, `
vserver web1 umount
vserver umount web1 /mnt`,
		func(_ context.Context, args []string) error {
			n, rest, err := t.one(args)
			if err != nil {
				return err
			}
			if len(rest) > 1 {
				return usageHint("vserver umount --help", "%s: one word too many", rest[1])
			}
			return t.about(n, host.UmountRoot(t.host, n, append(rest, "")[0]))
		})
	c.ValidArgsFunction = t.completeDirs
	return c
}

// completeDirs offers a guest, and then directories of the host's.
func (t *tool) completeDirs(_ *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if t.subject == "" && len(args) == 0 {
		return t.guestNames(begun), cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// mountedText says where a guest's root is mounted.
func mountedText(m *guest.RootMount) string {
	if m == nil {
		return ""
	}
	text := m.Dir + ", read-only"
	if m.Writable {
		text = m.Dir + ", to be written to"
	}
	switch {
	case m.Lost:
		text += ", no more, but somebody still has files of it"
	case m.Process != 0:
		text += fmt.Sprintf(", in the mount namespace of process %d", m.Process)
	}
	return text
}

// mounted is that as a line of status.
func mounted(b *strings.Builder, m *guest.RootMount) {
	if m != nil {
		fmt.Fprintf(b, "Mounted:              %s\n", mountedText(m))
	}
}
