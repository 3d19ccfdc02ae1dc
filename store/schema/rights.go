package schema

import (
	"bytes"
	"fmt"

	"vserver/guest"
)

const rightsHead = `# Rights of a guest

What the root of a guest may do, in Linux-VServer's own names, and what a stock kernel
has for each. They stand in the section ` + "`rights`" + ` of a spec:

    rights:
      bcaps: [net_admin, '!sys_ptrace']         # capability bounding set
      ccaps: ['!set_utsname', tiocsti]          # context capabilities
      flags: [igneg_nice]                       # context flags
      devices: [/dev/fuse rw, c 10:200 rwm]     # device allow-list
      sysctls: {kernel.shmmax: 1073741824}      # settings of the guest's own namespaces

A name adds to the default set; '!' or '~' in front takes away, ` + "`all`" + ` and ` + "`none`" + ` stand
for every name that can be switched, ` + "`^N`" + ` for the bit N. Letters may be of any case, and
Linux-VServer's prefixes (CAP_, VXC_, VXF_, INFO_) are passed over. A name that is not
known is refused with its place in the file and the nearest one; a name that no stock
kernel can honour is refused when the spec is checked (so by ` + "`set`, `edit` and `start`" + `)
with the reason and the nearest way, and exit code 7. Nothing is dropped in silence.

In the tables

- **switch** can be given and taken away;
- **always** holds for every guest and cannot be taken away;
- **passed** is taken and means nothing here;
- **elsewhere** is said by another key;
- **refused** cannot be had;

and a star marks what a guest has by default, with a user namespace of its own
(` + "`userns: private`" + `). Without one (` + "`userns: none`" + `) it mounts nothing, makes no namespaces and has the name it is given:
systemd, which mounts, does not start in it.

`

const devicesText = `
## Devices

By default a guest has ` + "`null zero full random urandom tty`" + `, terminals of its own, and no
other device: its user namespace makes no nodes, and what it mounts is nodev.

` + "`rights.devices`" + ` gives more, by the path of the host's node or by numbers:

    devices: [/dev/fuse rw, c 10:200 rwm, "c 116:* r"]

r and w are reading and writing, m is making nodes of it (with bcap mknod, below). The
host puts a node into the guest's /dev, owned by the guest's root, for a path and for
numbers whose name the kernel knows. A BPF program on the guest's control group then
lets it open what is on the list and the harmless ones, whatever nodes it may come by.
It is there for guests with a list, with bcap mknod, and for all with userns: none; others
do not pay for it. A list changed by ` + "`vserver NAME set`" + ` counts at once; a file that
is open stays open. On hybrid hosts the program works as well: the devices controller
of cgroup v1 is not needed. /dev/mem and /dev/port are refused, as they are the host. A
block device that the host has mounted gives the guest what is on it.

With bcap ` + "`mknod`" + ` vserverd makes nodes for a guest that has a user namespace:
` + "`null zero full random urandom tty ptmx console`" + ` and what rights.devices gives with an m,
where and as the caller could make any other file. All others are EPERM. Without it
fifos, sockets and overlay's whiteouts can be made, as by everybody. It is made for
debootstrap, tar and container tools inside.

## What vserverd does

The filter leaves some calls to vserverd, which judges by what the kernel says of the
caller: its ids, groups, capabilities and user namespace. They wait when it is being
started again, and fail with ENOSYS when nobody is left who could answer. A filter has
one listener, so network flag hide_netif excludes these rights. To programs of another
architecture they do not apply.

| right | call | what is done |
|---|---|---|
| bcap ` + "`mknod`" + ` | mknod(2), mknodat(2) of devices | harmless nodes and those of rights.devices: see Devices |
| ccap ` + "`set_rlimit`" + ` | setrlimit(2), prlimit(2) | a process that has bcap sys_resource raises a hard limit of its own, to at most what the guest's init has (limits.rlimits), where root of the host has CAP_SYS_RESOURCE. Without the right a limit that was lowered stays low. Limits of other processes, nice and rtprio are the kernel's to judge, and so not raised |
| ccap ` + "`quota_ctl`" + ` | quotactl(2), quotactl_fd(2) | Q_GETQUOTA, Q_GETNEXTQUOTA and Q_SETQUOTA (limits of blocks and inodes) of users and groups, by the guest's ids, of the guest's own files, whatever device is named. Who has bcap sys_admin may do all of it, others ask for their own. ESRCH where the file system has no such quotas; ` + "`vserver NAME quota`" + ` shows and sets the same from outside |
| view flags | sysinfo(2), sched_getaffinity(2) | the guest's machine: doc/view.md |

What the kernel refuses to root of a user namespace and nobody does for it:
security.* and trusted.* attributes, mounts of disks and of networks, and scores for the
OOM killer below the init's. Files in /proc are no calls with arguments to look at; a
mount of a disk would hand a file system that the guest made to the host's kernel.

## Settings of the kernel

` + "`rights.sysctls`" + ` sets, before the guest's init runs and by ` + "`set`" + ` on a running one,
what its namespaces have for themselves:

`

const sysctlText = `
and ` + "`net.*`" + ` in network modes private and none. The guest reads them, and can itself
change only those of net. All other settings are one for the host and are refused.
`

// Rights gives doc/rights.md.
func Rights() []byte {
	var b bytes.Buffer
	b.WriteString(rightsHead)
	rightsTable(&b, "Capabilities (bcaps)", "The bounding set: no process of the guest ever has more, set-user-ID or not. In a user\nnamespace a capability counts only against what that namespace owns.", guest.Bcaps())
	rightsTable(&b, "Context capabilities (ccaps)", "Narrow rights within the wide ones.", guest.Ccaps())
	rightsTable(&b, "Context flags (flags)", "What holds for the guest as a whole.", guest.Flags())
	b.WriteString(devicesText)
	for _, name := range guest.Sysctls() {
		fmt.Fprintf(&b, "- `%s`\n", name)
	}
	b.WriteString(sysctlText)
	return b.Bytes()
}

func rightsTable(b *bytes.Buffer, title, text string, table []guest.Right) {
	fmt.Fprintf(b, "## %s\n\n%s\n\n| name | bit | | on a stock kernel |\n|---|---|---|---|\n", title, text)
	for _, r := range table {
		name, bit := "`"+r.Name+"`", fmt.Sprint(r.Bit)
		if r.Default {
			name += " ★"
		}
		for _, a := range r.Aliases {
			name += ", `" + a + "`"
		}
		if r.Bit < 0 {
			bit = ""
		}
		by := r.By
		if r.Instead != "" {
			by += "; **" + r.Instead + "**"
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", name, bit, r.Honour, by)
	}
	b.WriteString("\n")
}

// rightWords is the pattern of the words that a table allows.
func rightWords(table []guest.Right, prefix string) string {
	names := func(negated bool) (p string) {
		var list []string
		bits := ""
		for _, r := range table {
			switch {
			case r.Honour == guest.Elsewhere, r.Honour == guest.Refused && !negated, r.Honour == guest.Always && negated:
				continue
			}
			list = append(append(list, r.Name), r.Aliases...)
			if r.Bit >= 0 {
				bits += fmt.Sprintf("|%d", r.Bit)
			}
		}
		return "([Aa][Ll][Ll]|[Aa][Nn][Yy]|[Nn][Oo][Nn][Ee]|" + prefix + "(" + anyCase(list) + ")|\\^0*(" + bits[1:] + "))"
	}
	const even, odd = "([!~][!~])*", "[!~]([!~][!~])*"
	return "^(" + even + names(false) + "|" + odd + names(true) + ")$"
}
