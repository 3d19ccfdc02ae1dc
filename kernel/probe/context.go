package probe

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"vserver/kernel/ebpf"
	"vserver/kernel/memfd"
	"vserver/kernel/pidfd"
)

// contexts are the features that make and enter a guest's namespaces.
func contexts() []feature {
	return []feature{
		{Result{Name: "user-namespaces", Required: true,
			Gives:  "the guest's root is nobody on the host",
			Brings: "CONFIG_USER_NS; sysctl user.max_user_namespaces above 0",
			Lost:   "guests run with `userns: none` alone, their root held by capabilities and the filter"},
			userNamespaces},
		{Result{Name: "nested-user-namespaces",
			Gives:  "sandboxes and container runtimes in guests with `rights.nesting`",
			Brings: "sysctl kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0",
			Lost:   "users of a guest cannot make user namespaces"},
			nestedNamespaces},
		{Result{Name: "namespaces", Required: true,
			Gives:  "mounts, processes, host name, IPC, network and cgroup view of the guest's own",
			Brings: "CONFIG_PID_NS, CONFIG_UTS_NS, CONFIG_IPC_NS, CONFIG_NET_NS, CONFIG_CGROUPS; sysctls user.max_*_namespaces above 0",
			Lost:   "no guest can be started"},
			namespaces},
		{Result{Name: "time-namespaces",
			Gives:  "uptime and monotonic clock count from the guest's start",
			Brings: "Linux 5.6, CONFIG_TIME_NS",
			Lost:   "guests see the host's uptime"},
			func(*ground) (string, error) { _, err := os.Stat("/proc/self/ns/time"); return "", err }},
		{Result{Name: "pidfd", Required: true,
			Gives:  "a process is named without doubt, and its namespaces are joined at once",
			Brings: "Linux 5.8",
			Lost:   "no command can enter a guest"},
			pidfds},
		{Result{Name: "pidfd-exit-status",
			Gives:  "how a guest's init ended is known also when vserverd was dead meanwhile",
			Brings: "Linux 6.15",
			Lost:   "why a guest ended can be unknown"},
			exitStatus},
		{Result{Name: "bpf-exit-notes",
			Gives:  "vserverd tells a reboot from inside from a halt and from other ends",
			Brings: "CONFIG_DEBUG_INFO_BTF, CONFIG_BPF_EVENTS",
			Lost:   "a reboot from inside can be taken for a halt: the guest stays stopped"},
			exitNotes},
		{Result{Name: "close-range", Required: true,
			Gives:  "no file of the host's stays open in a guest",
			Brings: "Linux 5.11",
			Lost:   "no guest can be started"},
			func(*ground) (string, error) {
				return "", unix.CloseRange(math.MaxInt32, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC)
			}},
		{Result{Name: "executable-memfd",
			Gives:  "the reaper that is pid 1 of the init styles sysv and command",
			Brings: "sysctl vm.memfd_noexec=0 or 1",
			Lost:   "init styles sysv and command, commands without a tty of their own"},
			func(*ground) (string, error) {
				fd, err := memfd.Executable("probe", []byte("x"))
				if err == nil {
					unix.Close(fd)
				}
				return "", err
			}},
	}
}

func userNamespaces(*ground) (string, error) {
	err := clones(&syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER})
	if err != nil && sysctl("user/max_user_namespaces") == "0" {
		return "", errors.New("sysctl user.max_user_namespaces is 0")
	}
	return "", err
}

func nestedNamespaces(*ground) (string, error) {
	switch {
	case sysctl("kernel/unprivileged_userns_clone") == "0":
		return "", errors.New("sysctl kernel.unprivileged_userns_clone is 0")
	case sysctl("kernel/apparmor_restrict_unprivileged_userns") == "1":
		return "", errors.New("sysctl kernel.apparmor_restrict_unprivileged_userns is 1")
	case sysctl("user/max_user_namespaces") == "0":
		return "", errors.New("sysctl user.max_user_namespaces is 0")
	}
	_, err := os.Stat("/proc/self/ns/user")
	return "", err
}

// sysctl gives a setting of the kernel, "" when it has none of that name.
func sysctl(name string) string {
	text, err := os.ReadFile("/proc/sys/" + name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

func namespaces(*ground) (string, error) {
	var missing []string
	var last error
	for _, ns := range []struct {
		name string
		flag uintptr
	}{
		{"mount", unix.CLONE_NEWNS}, {"pid", unix.CLONE_NEWPID}, {"uts", unix.CLONE_NEWUTS},
		{"ipc", unix.CLONE_NEWIPC}, {"net", unix.CLONE_NEWNET}, {"cgroup", unix.CLONE_NEWCGROUP},
	} {
		if err := clones(&syscall.SysProcAttr{Cloneflags: ns.flag}); err != nil {
			missing, last = append(missing, ns.name), err
		}
	}
	if len(missing) > 0 {
		return "", fmt.Errorf("%s: %w", strings.Join(missing, " "), last)
	}
	return "mount pid uts ipc net cgroup", nil
}

func pidfds(*ground) (string, error) {
	fd, err := pidfd.Open(os.Getpid())
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	if err := pidfd.Signal(fd, 0); err != nil {
		return "", err
	}
	// Joining the namespaces that one is in changes nothing.
	return "", apart(unix.CLONE_NEWUTS, func() error { return unix.Setns(fd, unix.CLONE_NEWUTS|unix.CLONE_NEWIPC) })
}

// exitNotes loads a program of the kind that package bpf attaches.
func exitNotes(*ground) (string, error) {
	if _, err := os.Stat("/sys/kernel/btf/vmlinux"); err != nil {
		return "", err
	}
	fd, err := ebpf.LoadRawTracepoint("probe", []ebpf.Instruction{ebpf.MovImm(ebpf.R0, 0), ebpf.Exit()})
	if err != nil {
		return "", err
	}
	return "", unix.Close(fd)
}

func exitStatus(*ground) (string, error) {
	fd := -1
	// A child that has been waited for: the question is just what is then known of it.
	p, err := os.StartProcess("/proc/self/exe", []string{"held"}, &os.ProcAttr{
		Sys: &syscall.SysProcAttr{Ptrace: true, PidFD: &fd, Pdeathsig: syscall.SIGKILL}})
	if err != nil {
		return "", err
	}
	p.Kill()
	p.Wait()
	if fd < 0 {
		return "", unix.ENOSYS
	}
	defer unix.Close(fd)
	_, err = pidfd.Status(fd)
	return "", err
}
