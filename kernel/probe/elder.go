package probe

import (
	"errors"
	"os"
	"runtime"
	"slices"
	"strings"
)

// elders are the features that systems of long ago need in a guest.
func elders() []feature {
	list := []feature{{Result{Name: "cgroup1-named",
		Gives:  "guests with a systemd of before 231 (Debian 8, CentOS 7), by `rights.cgroup1`",
		Brings: "CONFIG_CGROUPS, without cgroup_no_v1=named on the kernel's command line",
		Lost:   "such guests run with init.style sysv or command alone"},
		func(*ground) (string, error) {
			return "", named(content("/proc/filesystems"), content("/proc/cmdline"))
		}}}
	if runtime.GOARCH != "amd64" {
		return list
	}
	return append(list, feature{Result{Name: "vsyscall",
		Gives:  "guests with a C library of before 2012 (Debian 6, CentOS 5), whose programs ask for the time there",
		Brings: "CONFIG_X86_VSYSCALL_EMULATION; boot option vsyscall=xonly",
		Lost:   "their programs end by a segmentation fault"},
		func(*ground) (string, error) { return "", mapped(content("/proc/self/maps")) }})
}

// content is a file of the kernel's, "" when it cannot be read.
func content(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(b)
}

// named tells by /proc/filesystems and the kernel's command line whether v1 hierarchies without
// controllers can be mounted. To mount one would show in each process's /proc/PID/cgroup.
func named(filesystems, cmdline string) error {
	if !slices.Contains(strings.Fields(filesystems), "cgroup") {
		return errors.New("no file system cgroup")
	}
	for _, option := range strings.Fields(cmdline) {
		if off, ok := strings.CutPrefix(option, "cgroup_no_v1="); ok && slices.Contains(strings.Split(off, ","), "named") {
			return errors.New(option)
		}
	}
	return nil
}

// mapped tells by /proc/PID/maps whether there is a page of old system calls.
func mapped(maps string) error {
	if !strings.HasSuffix(strings.TrimSpace(maps), "[vsyscall]") {
		return errors.New("not mapped")
	}
	return nil
}
