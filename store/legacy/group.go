package legacy

import (
	"io/fs"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"vserver/guest"
)

// cgroup reads the files of control groups: the guest's or, when it has none, those for
// all guests.
func (r *reader) cgroup() {
	if r.has("cgroup") && r.kinds["cgroup"].IsDir() {
		names := r.below("cgroup")
		slices.SortStableFunc(names, func(a, b string) int { return strings.Compare(after(a), after(b)) })
		for _, name := range names {
			if text, ok := r.content("cgroup/" + name); ok {
				r.group(Finding{Key: "cgroup/" + name, Value: first(text)}, name, text)
			}
		}
		return
	}
	if r.has("nocgroup") {
		return
	}
	all, _ := fs.ReadDir(r.fsys, ".defaults/cgroup")
	slices.SortStableFunc(all, func(a, b fs.DirEntry) int { return strings.Compare(after(a.Name()), after(b.Name())) })
	for _, e := range all {
		if text, ok := r.preset("cgroup/" + e.Name()); ok {
			r.group(Finding{Key: ".defaults/cgroup/" + e.Name(), Value: first(text)}, e.Name(), text)
		}
	}
}

// after is where a file's turn is: a burst comes behind what it goes beyond.
func after(name string) string {
	if strings.Contains(name, "burst") {
		return "1"
	}
	return "0"
}

// group reads one file of a control group, under its names in both versions.
func (r *reader) group(f Finding, name, text string) {
	for _, read := range []func(Finding, string, string) bool{r.memoryGroup, r.cpuGroup, r.deviceGroup} {
		if read(f, name, text) {
			return
		}
	}
	switch name {
	case "pids.max":
		if f.Value == "max" {
			r.pass(f, "no limit of its own")
			return
		}
		r.share(f, "limits.pids", func(s *guest.Spec, n float64) { s.Limits.Pids = int(n) })
	case "name", "base", "mnt", "subsys", "inherit", "per-ss":
		r.pass(f, "the guest's control group is vserver/NAME")
	case "notify_on_release", "release_agent", "cgroup.clone_children", "cgroup.subtree_control", "tasks", "cgroup.procs":
		r.pass(f, "the guest's control group is made, filled and removed with it")
	case "freezer.state", "cgroup.freeze":
		if f.Value == "THAWED" || f.Value == "0" {
			r.pass(f, "so it is")
			return
		}
		r.refuse(f, "a pause is no setting of a guest", "`vattribute --set --xid NAME --flag sched_pause` while it runs")
	case "net_cls.classid", "net_prio.ifpriomap":
		r.refuse(f, "cgroup v2 marks no packets", "network.egress, or a rule of the host's for the guest's addresses")
	default:
		r.refuse(f, "is not passed on to the control group", "limits, as doc/config.md lists them")
	}
}

// memoryGroup reads what is of memory.
func (r *reader) memoryGroup(f Finding, name, _ string) bool {
	if rest, ok := strings.CutPrefix(name, "hugetlb."); ok {
		size, what, _ := strings.Cut(rest, ".")
		if what != "max" && what != "limit_in_bytes" {
			return false
		}
		size = strings.TrimSuffix(size, "B")
		r.size(f, "limits.hugepages", func(s *guest.Spec, b guest.Bytes) { s.Limits.HugePages = with(s.Limits.HugePages, size, b) })
		return true
	}
	switch name {
	case "memory.limit_in_bytes", "memory.max":
		r.size(f, "limits.memory", func(s *guest.Spec, b guest.Bytes) { s.Limits.Memory = b })
	case "memory.memsw.limit_in_bytes", "memory.swap.max":
		r.swap(f, name)
	case "memory.zswap.max":
		r.size(f, "limits.zswap", func(s *guest.Spec, b guest.Bytes) { s.Limits.Zswap = b })
	case "memory.soft_limit_in_bytes", "memory.high":
		r.size(f, "limits.memory_soft", func(s *guest.Spec, b guest.Bytes) { s.Limits.MemorySoft = b })
	case "memory.low":
		r.size(f, "limits.memory_low", func(s *guest.Spec, b guest.Bytes) { s.Limits.MemoryLow = b })
	case "memory.min":
		r.size(f, "limits.memory_reserved", func(s *guest.Spec, b guest.Bytes) { s.Limits.MemoryReserved = b })
	case "memory.oom.group":
		r.set(Finding{Key: f.Key, Value: f.Value, To: "limits.oom_group"}, func(s *guest.Spec) { s.Limits.OOMGroup = f.Value == "1" })
	case "memory.oom_control":
		if f.Value == "0" {
			r.pass(f, "so it is")
			break
		}
		r.refuse(f, "a guest without memory does not wait for some", "limits.memory_soft, which slows it down before")
	case "memory.swappiness":
		r.refuse(f, "cgroup v2 has one for the host", "limits.swap, limits.memory_low")
	case "memory.kmem.limit_in_bytes", "memory.kmem.tcp.limit_in_bytes":
		r.pass(f, "the kernel's memory for the guest is part of its memory: limits.memory")
	case "memory.use_hierarchy", "memory.move_charge_at_immigrate":
		r.pass(f, "cgroup v2 has one way")
	default:
		return false
	}
	return true
}

// swap reads a limit of swap, which there is beside one of memory alone.
func (r *reader) swap(f Finding, name string) {
	if r.guest.Spec.Limits.Memory == 0 {
		r.refuse(f, "counts swap with a limit of memory, and there is none", "memory.limit_in_bytes beside it")
		return
	}
	if name == "memory.swap.max" {
		r.size(f, "limits.swap", func(s *guest.Spec, b guest.Bytes) { s.Limits.Swap = b })
		return
	}
	f.Why = "memory and swap together: less the memory"
	r.size(f, "limits.swap", func(s *guest.Spec, b guest.Bytes) { s.Limits.Swap = max(0, b-s.Limits.Memory) })
}

// cpuGroup reads what is of processors.
func (r *reader) cpuGroup(f Finding, name, _ string) bool {
	switch name {
	case "cpu.shares":
		f.Why = "1024 of old are 100"
		r.share(f, "limits.cpu_shares", func(s *guest.Spec, n float64) { s.Limits.CPUShares = weight(n, 1024) })
	case "cpu.weight":
		r.share(f, "limits.cpu_shares", func(s *guest.Spec, n float64) { s.Limits.CPUShares = weight(n, 100) })
	case "cpu.idle":
		r.set(Finding{Key: f.Key, Value: f.Value, To: "limits.cpu_idle"}, func(s *guest.Spec) { s.Limits.CPUIdle = f.Value == "1" })
	case "cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.max":
		r.quota(f, name)
	case "cpu.max.burst", "cpu.cfs_burst_us":
		if f.Value == "0" || r.guest.Spec.Limits.CPUs == 0 {
			r.pass(f, "nothing is saved up without a quota")
			break
		}
		r.share(f, "limits.cpu_burst", func(s *guest.Spec, n float64) {
			s.Limits.CPUBurst = guest.Duration(n) * guest.Duration(time.Microsecond)
		})
	case "cpu.rt_runtime_us", "cpu.rt_period_us":
		r.refuse(f, "cgroup v2 does not divide real time", "limits.cpu_reserved")
	case "cpuset.cpus":
		r.cpusetKey(f, "cpus")
	case "cpuset.mems":
		r.cpusetKey(f, "mems")
	case "cpuset.cpu_exclusive", "cpuset.mem_exclusive":
		r.cpusetKey(f, strings.TrimPrefix(name, "cpuset."))
	default:
		return false
	}
	return true
}

// deviceGroup reads what is of devices.
func (r *reader) deviceGroup(f Finding, name, text string) bool {
	bounds := map[string]string{"blkio.throttle.read_bps_device": "rbps", "blkio.throttle.write_bps_device": "wbps",
		"blkio.throttle.read_iops_device": "riops", "blkio.throttle.write_iops_device": "wiops"}
	if what, ok := bounds[name]; ok || name == "io.max" {
		for _, i := range items(text) {
			words := strings.Fields(i.text)
			if len(words) == 2 && ok {
				words[1] = what + "=" + words[1]
			}
			r.throttle(Finding{Key: f.Key + ":" + strconv.Itoa(i.line), Value: i.text}, words)
		}
		if len(items(text)) == 0 {
			r.pass(f, "is empty")
		}
		return true
	}
	switch name {
	case "blkio.weight":
		f.Why = "500 of old are 100"
		r.share(f, "limits.io.weight", func(s *guest.Spec, n float64) { s.Limits.IO.Weight = weight(n, 500) })
	case "io.weight":
		f.Value = strings.TrimPrefix(f.Value, "default ")
		r.share(f, "limits.io.weight", func(s *guest.Spec, n float64) { s.Limits.IO.Weight = weight(n, 100) })
	case "blkio.weight_device":
		r.refuse(f, "a guest has one weight for all devices", "limits.io.weight, limits.io.devices")
	case "devices.deny", "devices.list":
		r.pass(f, "nothing is allowed but what is named: rights.devices")
	case "devices.allow":
		for _, i := range items(text) {
			r.allow(Finding{Key: f.Key + ":" + strconv.Itoa(i.line), Value: i.text, To: "rights.devices"})
		}
		if len(items(text)) == 0 {
			r.pass(f, "is empty")
		}
	default:
		return false
	}
	return true
}

// throttle reads bounds of one device: its numbers, and words as rbps=1048576.
func (r *reader) throttle(f Finding, words []string) {
	f.To = "limits.io.devices"
	if len(words) < 2 {
		r.wrong(f, "want MAJOR:MINOR and a number")
		return
	}
	at := "/dev/block/" + words[0]
	dev := r.guest.Spec.Limits.IO.Devices[at]
	for _, w := range words[1:] {
		key, value, _ := strings.Cut(w, "=")
		n, err := strconv.ParseUint(value, 10, 53)
		if value == "max" || err == nil && n == 0 {
			continue
		}
		switch {
		case err != nil:
			r.wrong(f, "want MAJOR:MINOR and a number")
			return
		case key == "rbps":
			dev.RBPS = guest.Bytes(n)
		case key == "wbps":
			dev.WBPS = guest.Bytes(n)
		case key == "riops":
			dev.RIOPS = int(n)
		case key == "wiops":
			dev.WIOPS = int(n)
		}
	}
	if dev == (guest.IODevice{}) {
		r.pass(f, "no limit")
		return
	}
	r.set(f, func(s *guest.Spec) { s.Limits.IO.Devices = with(s.Limits.IO.Devices, at, dev) })
}

// allow reads a device that the guest may use.
func (r *reader) allow(f Finding) {
	var d guest.Device
	words := strings.Fields(f.Value)
	if words[0] == "a" || len(words) > 1 && strings.HasPrefix(words[1], "*:") {
		r.refuse(f, "all devices are the host itself", "the devices that it needs, one by one")
		return
	}
	if err := d.UnmarshalText([]byte(f.Value)); err != nil {
		r.wrong(f, plain(err))
		return
	}
	r.set(f, func(s *guest.Spec) { s.Rights.Devices = append(slices.Clone(s.Rights.Devices), d) })
}

// weight is a share of old, of which of was the usual, in ours.
func weight(n, of float64) int { return int(min(max(math.Round(n*100/of), 1), 10000)) }

// size reads a number of bytes, as control groups take it: with k, m or g of 1024.
func (r *reader) size(f Finding, to string, put func(*guest.Spec, guest.Bytes)) {
	f.To = to
	var b guest.Bytes
	switch err := b.UnmarshalText([]byte(f.Value)); {
	case f.Value == "-1" || f.Value == "max":
		r.pass(f, "no limit")
	case err != nil:
		r.wrong(f, plain(err))
	default:
		r.set(f, func(s *guest.Spec) { put(s, b) })
	}
}

// share reads a number.
func (r *reader) share(f Finding, to string, put func(*guest.Spec, float64)) {
	f.To = to
	n, err := strconv.ParseFloat(f.Value, 64)
	if err != nil || !(n >= 0 && n <= 1e9) {
		r.wrong(f, "want a number")
		return
	}
	r.set(f, func(s *guest.Spec) { put(s, n) })
}

// quota reads what a guest may have of the processors: microseconds in a period of so many.
func (r *reader) quota(f Finding, name string) {
	words := strings.Fields(f.Value)
	period := "100000"
	switch {
	case name == "cpu.cfs_period_us":
		f.Fate, f.To, f.Why = Same, "limits.cpus", "the period of cpu.cfs_quota_us"
		r.tell(f)
		return
	case name == "cpu.max" && len(words) > 1:
		period, words = words[1], words[:1]
	case name == "cpu.cfs_quota_us":
		beside := path.Join(path.Dir(f.Key), "cpu.cfs_period_us")
		text, ok := r.content(beside)
		if strings.HasPrefix(f.Key, ".defaults/") {
			text, ok = r.preset("cgroup/cpu.cfs_period_us")
		}
		if ok {
			period = first(text)
		}
	}
	if len(words) == 1 && (words[0] == "max" || words[0] == "-1") {
		r.pass(f, "no limit")
		return
	}
	each, err := strconv.ParseUint(period, 10, 32)
	quota := uint64(0)
	if len(words) == 1 {
		quota, _ = strconv.ParseUint(words[0], 10, 32)
	}
	if err != nil || each == 0 || quota == 0 {
		r.wrong(f, "want microseconds")
		return
	}
	f.To = "limits.cpus"
	r.set(f, func(s *guest.Spec) { s.Limits.CPUs = float64(quota) / float64(each) })
}
