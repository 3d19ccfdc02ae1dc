package vcontext

import (
	"vserver/kernel/mount"
	"vserver/rootfs"
	"vserver/spawn"
)

// What of /proc and /sys a guest does not get to see, after the OCI runtimes. With a
// user namespace the kernel itself refuses most of it, as the guest's root is nobody
// to the owner of those files; what is left are things that everybody may read and
// that tell of the host.
var (
	telling     = []string{"/proc/cmdline", "/proc/interrupts", "/proc/keys", "/proc/kallsyms", "/proc/locks"}
	tellingDirs = []string{"/proc/acpi", "/proc/scsi", "/proc/asound", "/sys/firmware", "/sys/devices/virtual/dmi"}

	// Without a user namespace.
	maskedFiles = []string{"/proc/kcore", "/proc/kmsg", "/proc/latency_stats", "/proc/timer_list",
		"/proc/sched_debug", "/proc/slabinfo", "/proc/sysrq-trigger", "/proc/kpagecount", "/proc/kpageflags",
		"/proc/kpagecgroup", "/proc/vmallocinfo", "/proc/pagetypeinfo"}
	maskedDirs = []string{"/sys/devices/virtual/powercap", "/sys/kernel/debug", "/sys/kernel/tracing"}
	readOnly   = []string{"/proc/bus", "/proc/fs", "/proc/irq"}
	// The limits of the guest's own group, which its root could lift: it owns the files.
	ownLimits = []string{"cgroup.max.descendants", "cgroup.max.depth", "pids.max",
		"cpu.max", "cpu.max.burst", "cpu.weight", "cpu.weight.nice", "cpu.idle", "cpu.uclamp.min", "cpu.uclamp.max",
		"cpuset.cpus", "cpuset.cpus.exclusive", "cpuset.cpus.partition", "cpuset.mems",
		"memory.max", "memory.high", "memory.low", "memory.min", "memory.oom.group", "memory.swap.high", "memory.swap.max",
		"memory.zswap.max", "memory.zswap.writeback", "io.max", "io.weight", "io.bfq.weight", "io.latency", "io.prio.class",
		"hugetlb.64KB.max", "hugetlb.64KB.rsvd.max", "hugetlb.2MB.max", "hugetlb.2MB.rsvd.max", "hugetlb.32MB.max",
		"hugetlb.32MB.rsvd.max", "hugetlb.1GB.max", "hugetlb.1GB.rsvd.max", "misc.max", "rdma.max", "dmem.low", "dmem.max", "dmem.min"}
)

func (s *Start) mask(t *spawn.Table) {
	t.Cover("/dev/null", telling...)
	t.Cover(rootfs.Empty, tellingDirs...)
	if !s.Userns {
		s.maskMore(t)
	}
	// Kernel settings are the host's business; those of a network namespace of its
	// own are the guest's.
	var net spawn.Reg
	if s.OwnNet {
		net = t.Clone("/proc/sys/net", 0)
	}
	t.Bind("/proc/sys", "/proc/sys", mount.ReadOnly)
	if s.OwnNet {
		t.Attach(net, "/proc/sys/net")
	}
	t.Bind(rootfs.BootID, "/proc/sys/kernel/random/boot_id", mount.ReadOnly)
}

func (s *Start) maskMore(t *spawn.Table) {
	t.Cover("/dev/null", maskedFiles...)
	t.Cover(rootfs.Empty, maskedDirs...)
	for _, r := range readOnly {
		t.BindIfThere(r, r, mount.ReadOnly)
	}
	if s.OwnLimits {
		return
	}
	for _, l := range ownLimits {
		t.BindIfThere("/sys/fs/cgroup/"+l, "/sys/fs/cgroup/"+l, mount.ReadOnly)
	}
}
