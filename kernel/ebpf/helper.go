package ebpf

import "strconv"

// Helper is a function of the kernel that programs may call.
type Helper int32

// The helpers, by their numbers in linux/bpf.h.
const (
	MapLookup               Helper = 1
	MapUpdate               Helper = 2
	MapDelete               Helper = 3
	Random                  Helper = 7
	CurrentPidTgid          Helper = 14
	CurrentUIDGID           Helper = 15
	CurrentTask             Helper = 35
	SetSockOpt              Helper = 49
	SockOpsFlags            Helper = 59
	Bind                    Helper = 64
	SockHashUpdate          Helper = 70
	SkbAncestorCgroup       Helper = 83
	SkLookupUDP             Helper = 85
	SkRelease               Helper = 86
	SkFullsock              Helper = 95
	SkStorageGet            Helper = 107
	ProbeReadKernel         Helper = 113
	ProbeReadKernelStr      Helper = 115
	CurrentAncestorCgroupID Helper = 123
	SkAssign                Helper = 124
	RingBufferOutput        Helper = 130
	RingBufferQuery         Helper = 134
	FuncRet                 Helper = 184
	SetRetval               Helper = 187
)

// String is the helper's name in linux/bpf.h, of those that are here.
func (h Helper) String() string {
	switch h {
	case MapLookup:
		return "map_lookup_elem"
	case MapUpdate:
		return "map_update_elem"
	case MapDelete:
		return "map_delete_elem"
	case Random:
		return "get_prandom_u32"
	case CurrentPidTgid:
		return "get_current_pid_tgid"
	case CurrentUIDGID:
		return "get_current_uid_gid"
	case CurrentTask:
		return "get_current_task"
	case SetSockOpt:
		return "setsockopt"
	case SockOpsFlags:
		return "sock_ops_cb_flags_set"
	case Bind:
		return "bind"
	case SockHashUpdate:
		return "sock_hash_update"
	case SkbAncestorCgroup:
		return "skb_ancestor_cgroup_id"
	case SkLookupUDP:
		return "sk_lookup_udp"
	case SkRelease:
		return "sk_release"
	case SkFullsock:
		return "sk_fullsock"
	case SkStorageGet:
		return "sk_storage_get"
	case ProbeReadKernel:
		return "probe_read_kernel"
	case ProbeReadKernelStr:
		return "probe_read_kernel_str"
	case CurrentAncestorCgroupID:
		return "get_current_ancestor_cgroup_id"
	case SkAssign:
		return "sk_assign"
	case RingBufferOutput:
		return "ringbuf_output"
	case RingBufferQuery:
		return "ringbuf_query"
	case FuncRet:
		return "get_func_ret"
	case SetRetval:
		return "set_retval"
	}
	return "helper " + strconv.Itoa(int(h))
}
