package probe

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"vserver/kernel/cgroup"
)

// groups are the features of control groups.
func groups() []feature {
	list := []feature{
		{Result{Name: "cgroup-v2", Required: true,
			Gives:  "what a guest is: the group of its processes",
			Brings: "Linux 5.2; mount -t cgroup2 cgroup2 /sys/fs/cgroup",
			Lost:   "no guest can be started"},
			cgroupV2},
		{Result{Name: "clone-into-cgroup", Required: true,
			Gives:  "guests and commands are born into their group",
			Brings: "Linux 5.7",
			Lost:   "no guest can be started"},
			cloneIntoCgroup},
		{Result{Name: "cgroup-kill", Required: true,
			Gives:  "all processes of a guest are ended at once",
			Brings: "Linux 5.14",
			Lost:   "a guest that forks fast enough cannot be stopped"},
			fileOf("cgroup.kill")},
		{Result{Name: "cgroup-freeze", Required: true,
			Gives:  "a guest stands still while it is changed or stopped",
			Brings: "Linux 5.2",
			Lost:   "limits cannot be put on a running guest for certain"},
			fileOf("cgroup.freeze")},
		{Result{Name: "cgroup-ceilings", Required: true,
			Gives:  "a bound for the groups that a guest makes",
			Brings: "Linux 4.14",
			Lost:   "a guest can use up the host's memory with groups"},
			fileOf("cgroup.max.descendants")},
		{Result{Name: "cgroup-favordynmods",
			Gives:  "a process changes its group at once, as the systemd of a guest has it do for each service",
			Brings: "Linux 6.0; mount -o remount with these options and favordynmods, for each boot cgroup_favordynmods=true on the kernel's command line (Linux 6.7)",
			Lost:   "each service of a guest with systemd starts 5 to 20 ms later"},
			mountedWith("favordynmods")},
		{Result{Name: "cgroup-nsdelegate",
			Gives:  "a guest without a user namespace cannot lift its limits by its own group",
			Brings: "Linux 4.13; mount -o remount with these options and nsdelegate",
			Lost:   "every controller is enabled for such a guest when it starts, and its limits are covered: it starts later"},
			mountedWith("nsdelegate")},
	}
	for _, c := range []struct{ name, gives, lost string }{
		{"memory", "limits.memory", "limits.memory is refused"},
		{"cpu", "limits.cpus", "limits.cpus is refused"},
		{"pids", "limits.pids that can be changed while the guest runs", "limits.pids holds by RLIMIT_NPROC: from start to stop"},
		{"io", "shares and bounds of disk traffic", "guests share the disk without rule"},
		{"cpuset", "guests kept to some of the processors", "all guests run on all processors"},
	} {
		list = append(list, feature{Result{Name: "controller-" + c.name, Gives: c.gives,
			Brings: "boot option systemd.unified_cgroup_hierarchy=1, and without cgroup_disable=" + c.name,
			Lost:   c.lost}, controller(c.name)})
	}
	return append(list, feature{Result{Name: "pressure",
		Gives:  "how long processes of a guest wait for processor, memory and disk",
		Brings: "CONFIG_PSI, boot option psi=1",
		Lost:   "no figures of it"},
		func(*ground) (string, error) { _, err := os.ReadFile("/proc/pressure/memory"); return "", err }})
}

func cgroupV2(*ground) (string, error) {
	cg, err := cgroup.Find()
	if err != nil {
		return "", err
	}
	old, err := cg.Legacy("memory", "cpu", "pids")
	if err == nil && len(old) > 0 {
		return "at " + cg.Unified.Mount + ", others at cgroup v1 (hybrid)", nil
	}
	return "at " + cg.Unified.Mount, err
}

// mountedWith finds out whether the hierarchy has an option. A remount must name all that
// it has.
func mountedWith(option string) func(*ground) (string, error) {
	return func(*ground) (string, error) {
		cg, err := cgroup.Find()
		if err != nil {
			return "", err
		}
		has, err := cg.Options()
		if err == nil && !slices.Contains(has, option) {
			err = fmt.Errorf("%s: %s", cg.Unified.Mount, strings.Join(has, ","))
		}
		return "", err
	}
}

func cloneIntoCgroup(g *ground) (string, error) {
	group, err := g.cgroups()
	if err != nil {
		return "", err
	}
	return "", clones(&syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: group.FD()})
}

// fileOf probes for a file of a group.
func fileOf(name string) func(*ground) (string, error) {
	return func(g *ground) (string, error) {
		group, err := g.cgroups()
		if err != nil {
			return "", err
		}
		_, err = os.Stat(group.Path() + "/" + name)
		return "", err
	}
}

// controller probes for a resource controller, and says where it is.
func controller(name string) func(*ground) (string, error) {
	return func(*ground) (string, error) {
		cg, err := cgroup.Find()
		if err != nil {
			return "", err
		}
		on, err := cg.Controllers()
		if err != nil {
			return "", err
		}
		if slices.Contains(on, name) {
			return "cgroup v2", nil
		}
		if name == "io" {
			name = "blkio" // its name in v1
		}
		old, err := cg.Legacy(name)
		if err != nil {
			return "", err
		}
		if len(old) == 0 {
			return "", absent(name)
		}
		return fmt.Sprintf("cgroup v1 at %s", old[0].Mount), nil
	}
}

// absent says why a controller is nowhere.
func absent(name string) error {
	text, err := os.ReadFile("/proc/cgroups")
	if err != nil {
		return errors.New("nowhere mounted")
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 4 && f[0] == name && f[3] == "0" {
			return errors.New("switched off at boot")
		}
	}
	return errors.New("nowhere mounted")
}
