package compat

import "slices"

// tool is one of the old tools.
type tool struct {
	name  string
	usage string // the words behind the name
	about string // what it does
	// make defines the options and gives what does the work.
	make func(*call) run
	// The exit codes when it fails, and when it is called wrongly.
	failed, misused int
	raw             bool // it reads its words itself
	mixed           bool // options may stand behind other words
}

// table lists the tools.
func table() []tool { return slices.Concat(ofContexts(), ofFiles(), others()) }

// ofContexts are the tools that make contexts, or change them.
func ofContexts() []tool {
	return []tool{
		{name: "reducecap", usage: "[--show] [--secure] [--cap CAPABILITY]... [-- COMMAND [ARG...]]",
			about: "Runs a command with fewer capabilities.", make: newReducecap, failed: 1, misused: 1},
		{name: "vattribute", usage: "--get|--set [--xid X] [OPTION...] [-- COMMAND [ARG...]]", about: `
Shows or changes what a context may do. Of a guest it changes the spec, which counts
from the next start. Without --xid it is what the command behind -- may do.`,
			make: newVattribute, failed: 1, misused: 255},
		{name: "vdevmap", usage: "--xid X --set|--unset [--open] [--create] --device DEVICE", about: `
Gives a guest a device of the host's, or takes it: rights.devices of its spec.`, make: newVdevmap, failed: 255, misused: 255},
		{name: "vlimit", usage: "[-nd] [--xid X] [-a] [[-MSH] --RESOURCE N]... [-- COMMAND [ARG...]]", about: `
Limits a context or guest until it ends, or the command behind --. Those of processes
and of memory are a context's; the others are of each process of the command.`, make: newVlimit, failed: 255, misused: 255},
		{name: "vmemctrl", usage: "--get|--set --badness N [--xid X] [-- COMMAND [ARG...]]", about: `
Shows or sets how soon the processes of a context or guest are killed for want of memory,
until it ends; of a guest limits.oom_score_adj says it for good.`, make: newVmemctrl, failed: 255, misused: 255},
		{name: "vnamespace", usage: "--new|--enter X|--set [-- COMMAND [ARG...]]", about: "Runs a command in a mount space of its own, or of a context.",
			make: newVnamespace, failed: 255, misused: 255},
		{name: "vsched", usage: "[--xid X] [--fill-rate N --interval N] [OPTION...] [-- COMMAND [ARG...]]", about: `
Gives a context or guest processor time by a token bucket, until it ends.`, make: newVsched, failed: 255, misused: 1},
		{name: "vserver-info", usage: "[-ql] NAME|XID|PID|- TAG [ARG...]", about: "Gives single answers about guests, for scripts; -l lists the tags.",
			make: newInfo, failed: 1, misused: 1},
		{name: "vspace", usage: "--new|--enter X|--set SPACE... [-- COMMAND [ARG...]]", about: `
Runs a command in spaces, which are namespaces, of its own, or in those of a context.`, make: newVspace, failed: 255, misused: 255},
		{name: "vsysctl", usage: "--xid X --dir D [--missingok] [-- COMMAND [ARG...]]", about: `
Writes settings of the kernel that a context has for itself.`, make: newVsysctl, failed: 255, misused: 255},
		{name: "vtag", usage: "--create|--migrate --tag T [--silent] [-- COMMAND [ARG...]]",
			about: "With --silent runs the command, as on a kernel without tags of processes, which a stock one is.", make: newTag, raw: true, failed: 255},
		{name: "vuname", usage: "[-g] --xid X [TAG...] | -s --xid X -t TAG=VALUE... | --dir D --xid X", about: `
Shows or sets the names of a context. Tags are context, sysname, nodename, release,
version, machine and domainname.`, make: newVuname, failed: 255, misused: 255},
	}
}

// ofFiles are those that are about files and mounts.
func ofFiles() []tool {
	return []tool{
		{name: "chxid", usage: "-c N|NAME [-RxU] FILE...", about: "Makes files of a project, which is what a stock kernel has for the tag of a context.",
			make: newChxid, failed: 1, misused: 2, mixed: true},
		{name: "lsxid", usage: "[-Radnx] FILE...", about: "Shows the project of files.",
			make: newLsxid, failed: 1, misused: 2, mixed: true},
		{name: "exec-cd", usage: "DIRECTORY COMMAND [ARG...]", about: `
Runs a command in a directory below the one we are in, as if that were the root.`,
			make: newExecCd, failed: 1, misused: 1, raw: true},
		{name: "fakerunlevel", usage: "RUNLEVEL UTMP-FILE", about: "Writes a runlevel into a utmp file below the working directory.",
			make: newFakerunlevel, failed: 1, misused: 1},
		{name: "secure-mount", usage: "[OPTION...] SOURCE DESTINATION | -a --fstab FILE", about: `
Mounts below the working directory, as if that were the root: no link leads out of it.
There are no devices on what is mounted without the option dev.`, make: newSecureMount, failed: 1, misused: 1, mixed: true},
		{name: "secure-umount", usage: "DIRECTORY...", about: "Takes away what is mounted below the working directory.",
			make: newSecureUmount, failed: 1, misused: 1, mixed: true},
		{name: "setattr", usage: "[-Rx] [--[~]immutable] FILE...", about: "Sets attributes of files.",
			make: newSetattr, failed: 1, misused: 1, mixed: true},
		{name: "showattr", usage: "[-Radx] [FILE...]", about: "Shows attributes of files.",
			make: newShowattr, failed: 1, misused: 1, mixed: true},
		{name: "vdlimit", usage: "--xid X [--set KEY=VALUE]...|--remove MOUNT-POINT...", about: `
Shows or sets the space that a guest's own files may take, and their number.`, make: newVdlimit, failed: 1, misused: 1},
		{name: "vdu", usage: "--xid X --space|--inodes [--script] DIRECTORY...", about: "Counts what the files of a guest take on the disk.",
			make: newVdu, failed: 1, misused: 1},
		{name: "vmount", usage: "NAME... -- [OPTION...] SOURCE [DESTINATION] | NAME... -- -a", about: `
Mounts something of the host's in guests that run, until they end. With --move both places
are the guest's; with -a it is what came into the spec, or the fstab, since the start.`, make: newVmount, failed: 1, misused: 1, raw: true},
		{name: "vrsetup", about: "Says what is in the place of the vroot device.", make: gone("no vroot device on a stock kernel", "quotas in a guest: `vserver quota --help`"), raw: true},
	}
}

// others are the rest.
func others() []tool {
	return []tool{
		{name: "dupvserver", usage: "--from OLD --to NEW --ip ADDRESS[/LENGTH] [OPTION...]", about: "Makes a guest like another: `vserver NEW build -m clone`.",
			make: newDupvserver, failed: 1, misused: 1},
		{name: "newvserver", usage: "--hostname NAME --domain DOMAIN --ip ADDRESS[/LENGTH] --dist SUITE [OPTION...]", about: "Makes a guest of Debian: `vserver NAME build -m debootstrap`.",
			make: newNewvserver, failed: 1, misused: 1},
		{name: "vapt-get", usage: "NAME...|FILTER... [-- ARG...]", about: "Runs apt-get for guests: `vserver NAME apt-get`.",
			make: newFleetVerb("apt-get"), failed: 1, misused: 1, raw: true},
		{name: "vpkg", usage: "NAME install|remove|update|upgrade|get-conffiles [ARG...]", about: "Packages of a guest: `vserver NAME pkg`.",
			make: newVpkg, failed: 1, misused: 1, raw: true},
		{name: "vrpm", usage: "NAME...|FILTER... [-- ARG...]", about: "Runs rpm for guests: `vserver NAME rpm`.",
			make: newFleetVerb("rpm"), failed: 1, misused: 1, raw: true},
		{name: "vyum", usage: "NAME...|FILTER... [-- ARG...]", about: "Runs yum for guests: `vserver NAME yum`.",
			make: newFleetVerb("yum"), failed: 1, misused: 1, raw: true},
		{name: "vclone", usage: "[-v] [--xid X] OLD NEW", about: "Makes a guest like another: `vserver OLD clone NEW`.",
			make: newVclone, failed: 1, misused: 1},
		{name: "vcopy", usage: "[-nv] NEW OLD", about: "Makes a guest like another: `vserver OLD clone NEW`.",
			make: newVcopy, failed: 1, misused: 1},
		{name: "vdispatch-conf", usage: "NAME...|FILTER... [-- ARG...]", about: "Runs dispatch-conf in guests.",
			make: newFleet("dispatch-conf"), failed: 1, misused: 1, raw: true},
		{name: "vemerge", usage: "NAME...|FILTER... [-- ARG...]", about: "Runs emerge in guests.",
			make: newFleet("emerge"), failed: 1, misused: 1, raw: true},
		{name: "vlogin", usage: "COMMAND [ARG...]", about: "Runs a command on a terminal of its own.",
			make: newVlogin, failed: 1, misused: 1},
		{name: "vprocunhide", about: "Does nothing: each guest has a /proc of its own, whose entries its view decides.",
			make: newUnhide},
		{name: "vshelper", about: "Says what is in the place of the kernel's helper.", make: gone("no kernel calls a helper: vserverd sees how a guest ends",
			"hooks.post-stop of its spec, or `vserver set NAME restart=always`"), raw: true},
		{name: "vserver-build", usage: "-n NAME -m METHOD [OPTION...] [-- OPTION...]", about: "Makes a guest: `vserver NAME build`.",
			make: newVserverBuild, failed: 1, misused: 1, raw: true},
		{name: "vsomething", usage: "[-q] COMMAND [--] NAME...|FILTER... -- ARG...", about: `
Runs COMMAND NAME ARG... for each guest. A FILTER is --all, --running, --stopped, --marked,
--unmarked or --mark M; guests must match all of them.`, make: newVsomething, failed: 255, misused: 1},
		{name: "vpstree", usage: "[PSTREE-OPTION...]", about: "Shows the tree of all processes.",
			make: newVpstree, failed: 1, misused: 1, raw: true},
		{name: "vupdateworld", usage: "NAME...|FILTER... [-- ARG...]", about: "Runs emerge world --update --deep --newuse in guests.",
			make: newFleet("emerge", "world", "--update", "--deep", "--newuse"), failed: 1, misused: 1, raw: true},
	}
}
