package guest

// Bcaps are the capabilities of linux/capability.h with what it means for a guest to
// have them. All can be switched; a star is the default with a user namespace.
func Bcaps() []Right {
	const host = "nothing in a user namespace, the kernel asks for it over the host; "
	texts := []string{
		"own files to whom it likes, within the guest's ids",
		"files of the guest whatever their mode says",
		"the same for reading; not with userns: none, where open_by_handle_at walks out of the guest by it",
		"modes, times and links of others' files",
		"set-ID bits kept on writing",
		"signals to others' processes, within the pid namespace",
		"group ids within the guest's",
		"user ids within the guest's",
		"capabilities handed on and given up",
		host + "with userns: none chattr +i, and project ids: never with shared layers",
		"ports below 1024; in network mode shared the program of the guest's network context gives it",
		"nothing: the kernel does not ask for it",
		"interfaces, routes, packet filter of a network of the guest's own; the key to much code of the kernel",
		"raw and packet sockets in a network of the guest's own",
		"memory locked beyond the limit, in a user namespace within limits.rlimits",
		"System V objects of others in the guest's IPC namespace",
		host + "with userns: none it loads modules, refused by the filter",
		host + "with userns: none ports and memory of the machine",
		"chroot(2); the guest's root is no chroot, so nothing is to be left by it",
		"tracing of others' processes in the pid namespace",
		host + "acct(2) is refused by the filter",
		"mounts, namespaces, names and quotas of the guest's own namespaces; with userns: none it is the host",
		"reboot(2), which ends the guest; kexec is refused by the filter",
		host + "with userns: none priorities above others'",
		"in a user namespace reserved space and the like of the guest's own; no hard limit is lifted",
		host + "with userns: none the host's clock",
		"vhangup(2)",
		"harmless device nodes, made by vserverd for a guest with a user namespace (see Devices); with userns: none all that rights.devices allows",
		"leases on others' files",
		"records for the audit log; answered with EPROTONOSUPPORT, as by a kernel without audit",
		host + "none of a guest's business",
		"capabilities on files, bound to the guest's user namespace; see ccap fs_security",
		host + "none of a guest's business",
		host + "none of a guest's business",
		host + "see ccap syslog",
		host + "with userns: none it wakes the machine up",
		host + "with userns: none it keeps the machine awake",
		host + "none of a guest's business",
		host + "the filter refuses perf_event_open",
		host + "the filter refuses bpf(2)",
		"pids chosen and maps read, for CRIU inside",
	}
	def := usernsBounding()
	var out []Right
	for i, name := range Caps() {
		out = append(out, Right{Name: name, Bit: i, Honour: Switched, Default: def.Has(i), By: texts[i]})
	}
	return out
}
