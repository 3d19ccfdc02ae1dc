package imagetool

import (
	"os"
	"slices"

	"vserver/archive"
	"vserver/guest"
	"vserver/kernel/apart"
	"vserver/kernel/seccomp"
)

// enclose takes from this process all that unpacking does not need: what is mounted, rights,
// system calls. It was born into namespaces of its own. Who is not root has nothing to lose.
func enclose(o archive.Options) error {
	if os.Geteuid() != 0 {
		return nil
	}
	prog, err := seccomp.Compile(seccomp.Policy{Narrow: seccomp.Narrow{NoNew: true, Without: refusedCalls}})
	if err != nil {
		return err
	}
	return apart.Enclose(rights(o), prog)
}

// refusedCalls are those of a guest without a user namespace that make or reach processes,
// connections and mounts.
var refusedCalls = []string{
	"execve", "execveat", "fork", "vfork", "ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd",
	"socket", "socketpair", "connect", "bind", "sendmsg", "sendmmsg", "sendto", "recvmsg", "recvmmsg",
	"mount", "umount2", "pivot_root", "chroot", "fsopen", "fsmount", "fspick", "open_tree", "move_mount", "mount_setattr",
	"setns", "unshare", "keyctl", "add_key", "request_key", "bpf", "io_uring_setup",
}

// rights are the capabilities, as bits, that a task takes.
func rights(o archive.Options) (set uint64) {
	list := []string{"chown", "dac_override", "fowner", "fsetid", "setfcap"}
	if o.Devices {
		list = append(list, "mknod")
	}
	if o.Whole {
		list = append(list, "sys_admin") // attributes of overlays: trusted.*
	}
	for _, name := range list {
		set |= 1 << slices.Index(guest.Caps(), name)
	}
	return set
}
