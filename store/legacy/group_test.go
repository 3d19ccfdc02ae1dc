package legacy

import (
	"testing"

	"vserver/guest"
)

// TestGroups reads each file of a control group alone.
func TestGroups(t *testing.T) {
	for _, c := range []single{
		{"cgroup/memory.memsw.limit_in_bytes=768M", "cgroup/memory.memsw.limit_in_bytes", Refused, func(s *guest.Spec) any { return s.Limits.Swap }, guest.Bytes(0)},
		{"cgroup/memory.limit_in_bytes=512M", "cgroup/memory.limit_in_bytes", Same, func(s *guest.Spec) any { return s.Limits.Memory }, guest.Bytes(512 << 20)},
		{"cgroup/cpu.shares=512", "cgroup/cpu.shares", Same, func(s *guest.Spec) any { return s.Limits.CPUShares }, 50},
		{"cgroup/cpu.cfs_quota_us=150000", "cgroup/cpu.cfs_quota_us", Same, func(s *guest.Spec) any { return s.Limits.CPUs }, 1.5},
		{"cgroup/cpu.cfs_quota_us=-1", "cgroup/cpu.cfs_quota_us", Passed, func(s *guest.Spec) any { return s.Limits.CPUs }, 0.0},
		{"cgroup/cpu.cfs_quota_us=much", "cgroup/cpu.cfs_quota_us", Wrong, nil, nil},
		{"cgroup/cpu.max=25000 50000", "cgroup/cpu.max", Same, func(s *guest.Spec) any { return s.Limits.CPUs }, 0.5},
		{"cgroup/cpu.max=max 100000", "cgroup/cpu.max", Passed, func(s *guest.Spec) any { return s.Limits.CPUs }, 0.0},
		{"cgroup/devices.allow=a", "cgroup/devices.allow:1", Refused, nil, nil},
		{"cgroup/devices.allow=c *:* m", "cgroup/devices.allow:1", Refused, nil, nil},
		{"cgroup/devices.allow=c 1:3 rwm\nc 10:200 rw", "cgroup/devices.allow:2", Same, func(s *guest.Spec) any { return s.Rights.Devices[1].String() }, "c 10:200 rw"},
		{"cgroup/devices.allow=c ten rw", "cgroup/devices.allow:1", Wrong, nil, nil},
		{"cgroup/devices.deny=a", "cgroup/devices.deny", Passed, nil, nil},
		{"cgroup/blkio.throttle.read_bps_device=8:0 1048576\n8:16 2097152", "cgroup/blkio.throttle.read_bps_device:2", Same, func(s *guest.Spec) any { return s.Limits.IO.Devices["/dev/block/8:16"] }, guest.IODevice{RBPS: 2 << 20}},
		{"cgroup/blkio.throttle.write_iops_device=8:0 0", "cgroup/blkio.throttle.write_iops_device:1", Passed, func(s *guest.Spec) any { return len(s.Limits.IO.Devices) }, 0},
		{"cgroup/blkio.throttle.write_bps_device=8:0", "cgroup/blkio.throttle.write_bps_device:1", Wrong, nil, nil},
		{"cgroup/io.max=8:0 rbps=max wiops=120", "cgroup/io.max:1", Same, func(s *guest.Spec) any { return s.Limits.IO.Devices["/dev/block/8:0"] }, guest.IODevice{WIOPS: 120}},
		{"cgroup/io.weight=default 200", "cgroup/io.weight", Same, func(s *guest.Spec) any { return s.Limits.IO.Weight }, 200},
		{"cgroup/hugetlb.2MB.limit_in_bytes=4194304", "cgroup/hugetlb.2MB.limit_in_bytes", Same, func(s *guest.Spec) any { return s.Limits.HugePages["2M"] }, guest.Bytes(4 << 20)},
		{"cgroup/memory.swap.max=64M", "cgroup/memory.swap.max", Refused, func(s *guest.Spec) any { return s.Limits.Swap }, guest.Bytes(0)},
		{"cgroup/memory.oom.group=1", "cgroup/memory.oom.group", Same, func(s *guest.Spec) any { return s.Limits.OOMGroup }, true},
		{"cgroup/memory.swappiness=10", "cgroup/memory.swappiness", Refused, nil, nil},
		{"cgroup/memory.kmem.limit_in_bytes=10M", "cgroup/memory.kmem.limit_in_bytes", Passed, nil, nil},
		{"cgroup/cpu.idle=1", "cgroup/cpu.idle", Same, func(s *guest.Spec) any { return s.Limits.CPUIdle }, true},
		{"cgroup/cpu.rt_runtime_us=950000", "cgroup/cpu.rt_runtime_us", Refused, nil, nil},
		{"cgroup/freezer.state=FROZEN", "cgroup/freezer.state", Refused, nil, nil},
		{"cgroup/pids.max=max", "cgroup/pids.max", Passed, nil, nil},
		{"cgroup/net_cls.classid=0x100001", "cgroup/net_cls.classid", Refused, nil, nil},
		{"cgroup/memory.soft_limit_in_bytes=64M", "cgroup/memory.soft_limit_in_bytes", Same, func(s *guest.Spec) any { return s.Limits.MemorySoft }, guest.Bytes(64 << 20)},
		{"cgroup/memory.low=64M", "cgroup/memory.low", Same, func(s *guest.Spec) any { return s.Limits.MemoryLow }, guest.Bytes(64 << 20)},
	} {
		c.check(t)
	}
}
