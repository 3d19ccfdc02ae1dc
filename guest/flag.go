package guest

// The context flags that can be switched, by their bit.
const (
	Private      = 3
	Prolific     = 49
	IgnegNice    = 52
	IgnegIonice  = 53
	pseudo       = -1
	byNamespaces = "namespaces of the guest's own; setns(2) and unshare(2) lead nowhere but into its own"
)

// Flags are Linux-VServer's context flags. The bits are those of
// linux/vserver/context.h.
func Flags() []Right {
	view := func(name string, bit int, by string) Right {
		return Right{Name: name, Bit: bit, Honour: Elsewhere, Default: true, By: by, Instead: "view.flags: [" + name + "]"}
	}
	return []Right{
		{Name: "lock", Bit: 0, Honour: Always, By: byNamespaces},
		{Name: "sched", Bit: 1, Honour: Passed, By: "an old scheduler's; see sched_hard"},
		{Name: "nproc", Bit: 2, Honour: Always, By: "limits.pids, counted for the whole guest"},
		{Name: "private", Bit: Private, Honour: Switched,
			By: "the tool's own rule: enter, exec and suexec are refused. The host's root can do without the tool"},
		{Name: "fakeinit", Aliases: []string{"init"}, Bit: 4, Honour: Always, By: "a pid namespace, with a real pid 1"},
		{Name: "hideinfo", Bit: 5, Honour: Always, By: "there is no line with the xid; a cgroup namespace shows the guest's group as /"},
		{Name: "ulimit", Bit: 6, Honour: Always, By: "limits.rlimits"},
		{Name: "namespace", Aliases: []string{"nspace"}, Bit: 7, Honour: Always, By: "a mount namespace"},
		{Name: "sched_hard", Bit: 8, Honour: Elsewhere, By: "cpu.max and cpu.max.burst", Instead: "limits.cpus"},
		{Name: "sched_prio", Bit: 9, Honour: Elsewhere, By: "cpu.weight", Instead: "limits.cpu_shares"},
		{Name: "sched_pause", Bit: 10, Honour: Refused, By: "a pause is no setting of a guest; its control group has cgroup.freeze",
			Instead: "`vattribute --set --xid NAME --flag sched_pause` while it runs, and ~sched_pause"},
		view("virt_mem", 16, "values in place of /proc/meminfo"),
		view("virt_uptime", 17, "a time namespace"),
		view("virt_cpu", 18, "values in place of /proc/stat and /proc/cpuinfo"),
		view("virt_load", 19, "values in place of /proc/loadavg"),
		{Name: "virt_time", Bit: 20, Honour: Refused, By: "a time namespace has no offset for the time of day, and programs read that without a system call",
			Instead: "libfaketime inside, for the programs that need it"},
		view("hide_mount", 24, "a mount namespace without the host's mounts"),
		{Name: "hide_netif", Bit: 25, Honour: Elsewhere, By: "a network namespace that shows the guest's addresses, with sockets handed in",
			Instead: "network.flags: [hide_netif]"},
		view("hide_vinfo", 26, "there is nothing like /proc/virtual"),
		{Name: "state_setup", Bit: 32, Honour: Passed, By: "a phase of a start; rights and limits are in force before the init is executed"},
		{Name: "state_init", Bit: 33, Honour: Passed, By: "a phase of a start; the first process is the init"},
		{Name: "state_admin", Bit: 34, Honour: Passed, By: "a phase of a start"},
		{Name: "sc_helper", Bit: 36, Honour: Always, Default: true, By: "vserverd, which waits for the init's end; hooks for programs of the host's"},
		{Name: "reboot_kill", Bit: 37, Honour: Always, By: "reboot(2) ends the init of a pid namespace, and the kernel all others"},
		{Name: "persistent", Bit: 38, Honour: Refused, By: "a pid namespace ends with its init",
			Instead: "init.style: command with a command that sleeps, as [/bin/sleep, infinity]"},
		{Name: "fork_rss", Bit: 48, Honour: Refused, By: "no controller refuses a fork for want of memory",
			Instead: "limits.memory and limits.pids"},
		{Name: "prolific", Bit: Prolific, Honour: Switched, By: "rights.nesting: user namespaces below the guest's, within limits.ceilings"},
		{Name: "igneg_nice", Bit: IgnegNice, Honour: Switched, By: "system call filter: setpriority(2) below 0 does nothing, and says that it did"},
		{Name: "igneg_ionice", Bit: IgnegIonice, Honour: Switched, By: "system call filter: ioprio_set(2) above the normal level does nothing, and says that it did"},
		{Name: "secure", Bit: pseudo, Honour: Elsewhere, By: "Linux-VServer's word for hide_netif", Instead: "network.flags: [hide_netif]"},
		{Name: "default", Bit: pseudo, Honour: Passed, By: "Linux-VServer's word for virt_uptime and sc_helper, which a guest has"},
	}
}
