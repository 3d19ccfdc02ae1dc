package bpf

import (
	"fmt"

	"vserver/kernel/ebpf"
)

// DeviceRule lets processes use devices: one, or with a Minor below 0 all of a major
// number.
type DeviceRule struct {
	Block        bool
	Major, Minor int
	Access       uint8 // 1 making nodes, 2 reading, 4 writing: BPF_DEVCG_ACC_*
}

// DeviceName is the name of the program Devices.
const DeviceName = Prefix + "_devices"

// DeviceHook is where Devices is loaded for and attached: a control group of version 2.
// BPF_PROG_TYPE_CGROUP_DEVICE and BPF_CGROUP_DEVICE of linux/bpf.h.
func DeviceHook() ebpf.Hook { return ebpf.Hook{Type: 15, Attach: 6} }

// Devices decides whether a process of the group may open a device or make a node of
// one. The kernel asks it at open(2) and mknod(2) of devices alone, and hands over kind
// and access in one word, the major and the minor number:
//
//	for each rule:
//		if the kind and the major are the rule's, the minor is it or any is,
//		and no access is wanted that the rule has not: allow
//	refuse (EPERM)
func Devices(rules []DeviceRule) []ebpf.Instruction {
	const block, char = 1, 2 // BPF_DEVCG_DEV_*
	const mayAll = 7
	p := []ebpf.Instruction{
		ebpf.Load(ebpf.R2, ebpf.R1, 0, ebpf.Word),
		ebpf.Mov(ebpf.R3, ebpf.R2),
		ebpf.And32(ebpf.R2, 0xffff),               // the kind
		ebpf.ShiftRight(ebpf.R3, 16),              // the access
		ebpf.Load(ebpf.R4, ebpf.R1, 4, ebpf.Word), // the major
		ebpf.Load(ebpf.R5, ebpf.R1, 8, ebpf.Word), // the minor
	}
	for i, r := range rules {
		next := fmt.Sprintf("rule%d", i+1)
		kind := int32(char)
		if r.Block {
			kind = block
		}
		p = append(p,
			ebpf.JumpIf(ebpf.R2, ebpf.Differs, kind, next),
			ebpf.JumpIf(ebpf.R4, ebpf.Differs, int32(r.Major), next))
		if r.Minor >= 0 {
			p = append(p, ebpf.JumpIf(ebpf.R5, ebpf.Differs, int32(r.Minor), next))
		}
		if no := mayAll &^ int32(r.Access); no != 0 {
			p = append(p, ebpf.JumpIf(ebpf.R3, ebpf.Any, no, next))
		}
		p = append(p, ebpf.MovImm(ebpf.R0, 1), ebpf.Exit(), ebpf.Here(next))
	}
	return append(p, ebpf.MovImm(ebpf.R0, 0), ebpf.Exit())
}
