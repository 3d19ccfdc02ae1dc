package guest

// The context capabilities that can be switched, by their bit.
const (
	SetUtsname    = 0
	SetRlimit     = 1
	FsSecurity    = 2
	Tiocsti       = 4
	SecureMount   = 16
	SecureRemount = 17
	QuotaCtl      = 20
	Namespace     = 25
)

// Ccaps are Linux-VServer's context capabilities: narrow rights within wide ones of the
// kernel's. The bits are those of linux/vserver/context.h.
func Ccaps() []Right {
	return []Right{
		{Name: "set_utsname", Aliases: []string{"utsname"}, Bit: SetUtsname, Honour: Switched, Default: true,
			By: "system call filter before the UTS namespace, which the guest's user namespace owns"},
		{Name: "set_rlimit", Aliases: []string{"rlimit"}, Bit: SetRlimit, Honour: Switched,
			By: "system call filter and vserverd: who has bcap sys_resource raises hard limits of its own up to those of the guest's init; see What vserverd does"},
		{Name: "fs_security", Bit: FsSecurity, Honour: Switched, Default: true,
			By: "capability setfcap: security.capability, bound to the guest's user namespace; others of security.* ask for rights over the host"},
		{Name: "fs_trusted", Bit: 3, Honour: Refused,
			By:      "trusted.* attributes ask for sys_admin over the host",
			Instead: "user.* attributes; overlays inside take the mount option userxattr"},
		{Name: "tiocsti", Bit: Tiocsti, Honour: Switched,
			By: "system call filter; the kernel asks as well (sysctl dev.tty.legacy_tiocsti of the host, from 6.2)"},
		{Name: "raw_icmp", Aliases: []string{"icmp", "ping"}, Bit: 8, Honour: Elsewhere, Default: true,
			By: "ping sockets, and BPF on the guest's control group", Instead: "network.ncaps: [raw_icmp], which is the default"},
		{Name: "syslog", Bit: 12, Honour: Refused,
			By:      "there is one kernel log, the host's",
			Instead: "rights.syscalls: [syslog] shows all of it to the guest where the host's kernel.dmesg_restrict is 0"},
		{Name: "oom_adjust", Bit: 13, Honour: Refused,
			By:      "the kernel asks for sys_resource over the host to lower a score; raising it is always possible",
			Instead: "limits.oom_score_adj"},
		{Name: "audit_control", Bit: 14, Honour: Always, Default: true,
			By: "the kernel lets a process set its login uid once, which is all that logins do"},
		{Name: "secure_mount", Aliases: []string{"mount"}, Bit: SecureMount, Honour: Switched, Default: true,
			By: "system call filter before the kernel's own rule: in a user namespace bind mounts, proc, sysfs, tmpfs, devpts, mqueue, cgroup2, overlay and FUSE, always nodev. Without it nothing is unmounted either, and so no mask taken from /proc; systemd does not start without it"},
		{Name: "secure_remount", Aliases: []string{"remount"}, Bit: SecureRemount, Honour: Switched, Default: true,
			By: "system call filter before the kernel's own rule: what the host set on a mount is locked. For a tmpfs mount(8) hands back the id of its owner as the kernel shows it, the host's, and is refused (EINVAL): `mount --options-mode ignore -o remount,...`"},
		{Name: "binary_mount", Bit: 18, Honour: Refused,
			By:      "the kernel mounts NFS, SMB and the like for nobody in a user namespace",
			Instead: "a FUSE client inside with rights.devices: [/dev/fuse rw]"},
		{Name: "dev_mount", Bit: 19, Honour: Refused,
			By:      "what is mounted in a user namespace is nodev",
			Instead: "rights.devices, whose nodes are in the guest's /dev"},
		{Name: "quota_ctl", Bit: QuotaCtl, Honour: Switched,
			By: "system call filter and vserverd: quotactl(2) for the guest's own files and ids, where the file system has quotas of users; see What vserverd does"},
		{Name: "admin_mapper", Bit: 21, Honour: Refused,
			By: "the device mapper has one list of devices for the host", Instead: "a device made on the host and given by rights.devices"},
		{Name: "admin_cloop", Bit: 22, Honour: Refused,
			By: "loop devices are the host's", Instead: "a device made on the host and given by rights.devices"},
		{Name: "kthread", Bit: 24, Honour: Refused,
			By: "threads of the kernel belong to no context on a stock kernel", Instead: "nothing: no program asks for it"},
		{Name: "namespace", Bit: Namespace, Honour: Switched, Default: true,
			By: "system call filter before unshare and clone; how many is bounded by limits.ceilings"},
	}
}
