package attack

import (
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// settings are attacks on the kernel's files: those that start programs of the host's,
// that change the machine, and that show its memory.
func settings() []Attack {
	var all []Attack
	for _, s := range []struct {
		row  int
		path string
	}{
		{21, "kernel/core_pattern"}, {21, "kernel/core_pipe_limit"}, {22, "kernel/modprobe"}, {22, "kernel/hotplug"},
		{22, "kernel/poweroff_cmd"}, {24, "kernel/sysrq"}, {24, "kernel/panic"}, {24, "kernel/randomize_va_space"},
		{24, "kernel/yama/ptrace_scope"}, {29, "kernel/perf_event_paranoid"}, {29, "kernel/unprivileged_bpf_disabled"},
		{36, "kernel/pid_max"}, {36, "kernel/threads-max"}, {37, "fs/file-max"}, {37, "fs/inotify/max_user_instances"},
		{37, "fs/pipe-user-pages-soft"}, {37, "kernel/keys/maxkeys"}, {37, "kernel/pty/max"}, {38, "vm/overcommit_memory"},
		{38, "vm/drop_caches"}, {38, "vm/swappiness"}, {39, "kernel/sched_rt_runtime_us"}, {17, "fs/protected_hardlinks"},
		{28, "dev/tty/ldisc_autoload"}, {20, "user/max_user_namespaces"},
	} {
		path := "/proc/sys/" + s.path
		all = append(all, Attack{"B", s.row, "set " + s.path, func(*Ground) (string, error) { return "", rewrite(path) }, absent(), own(s.path)})
		all = append(all, Attack{"B", s.row, "set " + s.path + " by a proc of its own", func(*Ground) (string, error) {
			return fresh("proc", func(dir string) (string, error) { return "", rewrite(dir + "/sys/" + s.path) })
		}, absent2(syscall.EBUSY), own(s.path)})
	}
	for _, path := range []string{"/sys/kernel/uevent_helper", "/sys/kernel/mm/transparent_hugepage/enabled", "/sys/power/state",
		"/sys/module/printk/parameters/time", "/sys/kernel/mm/ksm/run", "/proc/irq/default_smp_affinity", "/proc/mtrr", "/proc/scsi/scsi"} {
		all = append(all, Attack{"B", 22, "write " + path, func(*Ground) (string, error) { return "", rewrite(path) }, absent2(syscall.EINVAL), nil})
	}
	all = append(all, Attack{"B", 22, "write uevent_helper by a sysfs of its own", func(*Ground) (string, error) {
		return fresh("sysfs", func(dir string) (string, error) { return "", rewrite(dir + "/kernel/uevent_helper") })
	}, absent2(syscall.EBUSY), nil})
	for _, path := range []string{"/proc/sysrq-trigger", "/proc/fs/xfs/stat"} {
		all = append(all, Attack{"B", 24, "open " + path, func(*Ground) (string, error) { return "", opening(path, os.O_WRONLY) }, absent(), devNull(path)})
	}
	for _, path := range []string{"/proc/kcore", "/dev/mem", "/dev/kmem", "/dev/port", "/dev/kmsg", "/proc/kmsg", "/proc/kpagecount",
		"/proc/kpageflags", "/proc/vmallocinfo", "/proc/slabinfo", "/proc/timer_list", "/proc/sched_debug", "/proc/latency_stats",
		"/proc/kpagecgroup", "/proc/pagetypeinfo", "/sys/kernel/debug/sched/debug", "/sys/kernel/tracing/trace", "/proc/acpi/wakeup", "/sys/firmware/dmi/tables/DMI"} {
		all = append(all, Attack{"B", 24, "read " + path, func(*Ground) (string, error) { return something(path) }, absent2(syscall.EAGAIN), nil})
	}
	return append(all,
		Attack{"B", 24, "addresses in /proc/kallsyms", func(*Ground) (string, error) { return addresses("/proc/kallsyms") }, absent(), nil},
		Attack{"B", 24, "addresses in /proc/iomem", func(*Ground) (string, error) { return addresses("/proc/iomem") }, absent(), nil},
	)
}

// own allows a guest the settings of its own namespaces.
func own(path string) func(*Ground) string {
	switch {
	case strings.HasPrefix(path, "user/"):
		return whenPrivate("it is the guest's own, below the ceilings of the namespace above")
	case path == "kernel/pid_max":
		return func(g *Ground) string {
			if g.Private && g.since(6, 14) {
				return "each pid namespace has its own since Linux 6.14"
			}
			return ""
		}
	}
	return nil
}

// devNull allows to write to what is not the file any more.
func devNull(path string) func(*Ground) string {
	return func(*Ground) string {
		var null, st unix.Stat_t
		if unix.Stat("/dev/null", &null) == nil && unix.Stat(path, &st) == nil && st.Rdev == null.Rdev && st.Rdev != 0 {
			return "it is /dev/null"
		}
		return ""
	}
}

// rewrite writes to a file what stands in it. One that cannot be read gets nothing.
func rewrite(path string) error {
	text, _ := read(path)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(text)
	return err
}

func opening(path string, how int) error {
	f, err := os.OpenFile(path, how|unix.O_NONBLOCK, 0)
	if err == nil {
		f.Close()
	}
	return err
}

// something reads a file and counts what is in it.
func something(path string) (string, error) {
	text, err := read(path)
	if err != nil {
		return "", err
	}
	if text == "" {
		return "", errNothing
	}
	return firstLine(text), nil
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line[:min(len(line), 60)]
}

// addresses looks for numbers that are not zero at the start of lines.
func addresses(path string) (string, error) {
	text, err := read(path)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(text) {
		first, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.Trim(first, "0-") != "" {
			return firstLine(line), nil
		}
	}
	return "", errNothing
}

// fresh mounts a file system and does something in it.
func fresh(kind string, do func(dir string) (string, error)) (string, error) {
	dir, err := scratch()
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	if err := unix.Mount("none", dir, kind, 0, ""); err != nil {
		return "", err
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	return do(dir)
}
