package probe

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"vserver/guest"
	"vserver/kernel/btf"
	"vserver/kernel/cred"
	"vserver/kernel/ebpf"
)

// rights are the features that take from a guest, and what this process has to give.
func rights() []feature {
	return []feature{
		{Result{Name: "seccomp", Required: true,
			Gives:  "guests make only the system calls on a list",
			Brings: "CONFIG_SECCOMP_FILTER",
			Lost:   "guests reach all of the kernel"},
			func(*ground) (string, error) { return "", action(unix.SECCOMP_RET_ERRNO) }},
		{Result{Name: "seccomp-notify",
			Gives:  "single system calls of a guest answered by the host",
			Brings: "Linux 5.0",
			Lost:   "only allowed or refused"},
			func(*ground) (string, error) { return "", action(unix.SECCOMP_RET_USER_NOTIF) }},
		{Result{Name: "abstract-sockets",
			Gives:  "guests with `network.mode: shared` kept from the host's abstract sockets",
			Brings: "Linux 6.7, CONFIG_CGROUP_BPF, CONFIG_DEBUG_INFO_BTF",
			Lost:   "they reach those sockets, but for guests with `network.flags: [hide_netif]` or `network.mode: private`"},
			abstractSockets},
		{Result{Name: "capabilities",
			Gives:  "everything that a start does and a spec can ask for",
			Brings: "a host process that nobody took them from",
			Lost:   "without CAP_SYS_RESOURCE no hard limit can be raised and no oom_score_adj lowered"},
			capabilities},
		{Result{Name: "bpf-cgroup",
			Gives:  "network contexts (`network.mode: shared`, the default), `chbind`, lists of devices",
			Brings: "CONFIG_CGROUP_BPF",
			Lost:   "guests have a network of their own or none: `network.mode: private`"},
			bpfPrograms},
		{Result{Name: "bpf-modules",
			Gives:  "guests have no modules of file systems loaded by mount(2) with their names",
			Brings: "CONFIG_FUNCTION_TRACER, CONFIG_DEBUG_INFO_BTF, no lockdown of confidentiality; or sysctl kernel.modules_disabled=1",
			Lost:   "they can load those that `install NAME /bin/false` in /etc/modprobe.d does not keep out"},
			bpfModules},
	}
}

// action asks whether filters can end in an action.
func action(a uint32) error {
	const getActionAvail = 2 // SECCOMP_GET_ACTION_AVAIL, seccomp(2)
	return call(unix.SYS_SECCOMP, getActionAvail, 0, uintptr(unsafe.Pointer(&a)))
}

func abstractSockets(*ground) (string, error) {
	if os.Geteuid() != 0 {
		return "", errRoot
	}
	if _, err := os.Stat("/sys/kernel/btf/vmlinux"); err != nil {
		return "", err
	}
	const connect = 49 // BPF_CGROUP_UNIX_CONNECT
	return "", program{"", unix.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, connect}.load()
}

func capabilities(*ground) (string, error) {
	if os.Geteuid() != 0 {
		return "", errRoot
	}
	all := guest.Capset(1)<<(cred.LastCap()+1) - 1
	if missing := all &^ guest.Capset(cred.Permitted()); missing != 0 {
		return "", fmt.Errorf("without %s", strings.Join(missing.Names(), ", "))
	}
	return "all", nil
}

// bpfModules asks whether a program may stand in for the kernel's question who may have a
// module loaded.
func bpfModules(*ground) (string, error) {
	if _, err := os.Stat("/proc/modules"); errors.Is(err, os.ErrNotExist) {
		return "a kernel without modules", nil
	}
	if sysctl("kernel/modules_disabled") == "1" {
		return "kernel.modules_disabled", nil
	}
	types, err := btf.Kernel()
	if err != nil {
		return "", err
	}
	hook := ebpf.Hook{Type: unix.BPF_PROG_TYPE_TRACING, Attach: unix.BPF_MODIFY_RETURN}
	if hook.Target, err = types.Func("security_kernel_module_request"); err != nil {
		return "", err
	}
	fd, err := ebpf.LoadProgram(hook, "probe", []ebpf.Instruction{ebpf.MovImm(ebpf.R0, 0), ebpf.Exit()})
	if err != nil {
		return "", err
	}
	return "", unix.Close(fd)
}

// program is a kind of BPF program, with the place it is meant for.
type program struct {
	name         string
	kind, attach uint32
}

func bpfPrograms(*ground) (string, error) {
	if os.Geteuid() != 0 {
		return "", errRoot
	}
	var have, missing []string
	var last error
	for _, p := range []program{
		{"skb", unix.BPF_PROG_TYPE_CGROUP_SKB, unix.BPF_CGROUP_INET_INGRESS},
		{"sock", unix.BPF_PROG_TYPE_CGROUP_SOCK, unix.BPF_CGROUP_INET_SOCK_CREATE},
		{"bind", unix.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, unix.BPF_CGROUP_INET4_BIND},
		{"sockopt", unix.BPF_PROG_TYPE_CGROUP_SOCKOPT, unix.BPF_CGROUP_GETSOCKOPT},
		{"device", unix.BPF_PROG_TYPE_CGROUP_DEVICE, unix.BPF_CGROUP_DEVICE},
		{"sysctl", unix.BPF_PROG_TYPE_CGROUP_SYSCTL, unix.BPF_CGROUP_SYSCTL},
		{"sk_lookup", unix.BPF_PROG_TYPE_SK_LOOKUP, unix.BPF_SK_LOOKUP},
	} {
		if err := p.load(); err != nil {
			missing, last = append(missing, p.name), err
		} else {
			have = append(have, p.name)
		}
	}
	if len(missing) > 0 {
		return "", fmt.Errorf("%s: %w", strings.Join(missing, " "), last)
	}
	return strings.Join(have, " "), nil
}

// load has the kernel check the smallest program of the kind: return 1.
func (p program) load() error {
	code := &[...]uint64{0x1_0000_00b7, 0x95} // r0 = 1; exit
	license := &[...]byte{'G', 'P', 'L', 0}
	var pin runtime.Pinner // the kernel follows these addresses
	defer pin.Unpin()
	pin.Pin(code)
	pin.Pin(license)
	// The head of union bpf_attr for BPF_PROG_LOAD (linux/bpf.h).
	attr := struct {
		kind, count   uint32
		code, license uint64
		log           [2]uint32
		logBuf        uint64
		version       uint32
		flags         uint32
		name          [16]byte
		ifindex       uint32
		attach        uint32
	}{
		kind: p.kind, count: uint32(len(code)), attach: p.attach,
		code:    uint64(uintptr(unsafe.Pointer(code))),
		license: uint64(uintptr(unsafe.Pointer(license))),
	}
	fd, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_LOAD, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	if errno != 0 {
		return errno
	}
	return unix.Close(int(fd))
}
