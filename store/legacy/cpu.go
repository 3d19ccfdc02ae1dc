package legacy

import (
	"math"
	"path"
	"strconv"
	"strings"

	"vserver/guest"
)

// cpu reads what the guest has of the processors, and control groups.
func (r *reader) cpu() {
	r.schedule()
	r.sched()
	r.cpuset()
	r.cgroup()
}

// schedule reads the bucket of old: a number in each line.
func (r *reader) schedule() {
	list, ok := r.lines("schedule")
	if !ok {
		return
	}
	f := Finding{Key: "schedule", Value: strings.Join(list, " "), To: "limits.token_bucket", Fate: Near, Why: bucketWhy}
	var n [4]int
	for i := range n {
		if i < len(list) {
			v, err := strconv.Atoi(list[i])
			if err != nil {
				f.Fate, f.Why = Wrong, "line "+strconv.Itoa(i+1)+": want a number"
				r.tell(f)
				return
			}
			n[i] = v
		}
	}
	r.bucket(f, guest.TokenBucket{FillRate: n[0], Interval: n[1], TokensMin: n[3]})
}

const bucketWhy = "the part of a processor is held by its control group; priorities do not follow the level of the bucket"

// bucket adds a token bucket. The old one was each processor's.
func (r *reader) bucket(f Finding, b guest.TokenBucket) {
	b.PerCPU = true
	if b.TokensMax < b.TokensMin {
		b.TokensMax = 0
	}
	r.set(f, func(s *guest.Spec) { s.Limits.TokenBucket = b })
}

// sched reads the bucket.
func (r *reader) sched() {
	var b guest.TokenBucket
	fields := map[string]*int{"fill-rate": &b.FillRate, "interval": &b.Interval, "tokens-min": &b.TokensMin, "tokens-max": &b.TokensMax}
	var told []Finding
	for _, name := range r.below("sched") {
		key := "sched/" + name
		if r.kinds[key].IsDir() {
			for _, sub := range r.below(key) {
				r.tell(Finding{Key: key + "/" + sub, Fate: Refused, Why: "processor time is not divided by processor", Instead: "limits.cpuset with limits.cpus"})
			}
			continue
		}
		value, ok := r.line(key)
		f := Finding{Key: key, Value: value, To: "limits.token_bucket", Fate: Near, Why: bucketWhy}
		if !ok {
			continue
		}
		switch to := fields[name]; {
		case to != nil:
			n, err := strconv.Atoi(value)
			if err != nil || n < 0 {
				f.Fate, f.Why = Wrong, "want a number"
				r.tell(f)
				continue
			}
			*to = n
			told = append(told, f)
		case name == "idle-time":
			b.IdleTime = true
			told = append(told, f)
		case name == "tokens":
			r.tell(Finding{Key: key, Value: value, Fate: Passed, Why: "a guest begins with what comes in a period"})
		case name == "priority-bias" || name == "prio-bias":
			r.tell(Finding{Key: key, Value: value, Fate: Refused, Why: "the scheduler knows no bias of a group", Instead: "limits.cpu_shares or limits.nice"})
		case name == "fill-rate2" || name == "interval2":
			r.tell(Finding{Key: key, Value: value, Fate: Near, To: "limits.token_bucket.idle_time", Why: "idle processors are free for all, not at a second rate"})
		}
	}
	if b.FillRate == 0 && b.Interval == 0 && len(told) > 0 {
		for _, f := range told {
			f.Fate, f.Why = Passed, "no fill-rate and no interval: no bucket"
			r.tell(f)
		}
		return
	}
	for _, f := range told {
		r.bucket(f, b)
	}
}

// cpuset reads the processors that the guest may run on.
func (r *reader) cpuset() {
	for _, name := range r.below("cpuset") {
		key := "cpuset/" + name
		value, ok := r.line(key)
		if !ok {
			continue
		}
		r.cpusetKey(Finding{Key: key, Value: value}, name)
	}
}

func (r *reader) cpusetKey(f Finding, name string) {
	numbers := guest.Numbers(strings.ReplaceAll(f.Value, " ", ""))
	switch name {
	case "cpus":
		f.To = "limits.cpuset"
		r.set(f, func(s *guest.Spec) { s.Limits.CPUSet = numbers })
	case "mems":
		f.To = "limits.mems"
		r.set(f, func(s *guest.Spec) { s.Limits.Mems = numbers })
	case "name":
		f.Fate, f.Why = Passed, "the guest's control group has its name"
		r.tell(f)
	case "virtualized":
		f.Fate, f.To, f.Why = Near, "view.flags", "virt_cpu shows the guest's processors"
		r.tell(f)
	case "nocreate":
		f.Fate, f.Why = Refused, "a guest has its own control group"
		r.tell(f)
	case "cpu_exclusive", "cpus_exclusive", "mem_exclusive", "mems_exclusive":
		f.Fate, f.Why, f.Instead = Refused, "nothing keeps the host's own processes off the guest's processors", "limits.cpuset of the other guests, CPUAffinity= of systemd"
		if f.Value == "0" {
			f.Fate, f.Why, f.Instead = Passed, "is off", ""
		}
		r.tell(f)
	}
}

// cgroup reads the files of control groups: the guest's or, when it has none, those for
// all guests.
func (r *reader) cgroup() {
	if r.has("cgroup") && r.kinds["cgroup"].IsDir() {
		for _, name := range r.below("cgroup") {
			if value, ok := r.line("cgroup/" + name); ok {
				r.group(Finding{Key: "cgroup/" + name, Value: value}, name)
			}
		}
		return
	}
	if r.has("nocgroup") {
		return
	}
	for _, name := range []string{"memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.max", "memory.soft_limit_in_bytes", "memory.high",
		"memory.low", "memory.min", "cpu.shares", "cpu.weight", "cpu.cfs_period_us", "cpu.cfs_quota_us", "cpu.max", "cpuset.cpus", "cpuset.mems", "pids.max", "blkio.weight", "io.weight"} {
		if text, ok := r.preset("cgroup/" + name); ok {
			r.group(Finding{Key: ".defaults/cgroup/" + name, Value: first(text)}, name)
		}
	}
}

// group reads one file of a control group, under its names in both versions.
func (r *reader) group(f Finding, name string) {
	switch name {
	case "memory.limit_in_bytes", "memory.max":
		r.size(f, "limits.memory", func(s *guest.Spec, b guest.Bytes) { s.Limits.Memory = b })
	case "memory.memsw.limit_in_bytes":
		if r.guest.Spec.Limits.Memory == 0 {
			f.Fate, f.Why, f.Instead = Refused, "counts swap with a limit of memory, and there is none", "memory.limit_in_bytes beside it"
			r.tell(f)
			return
		}
		f.Why = "memory and swap together: less the memory"
		r.size(f, "limits.swap", func(s *guest.Spec, b guest.Bytes) { s.Limits.Swap = max(0, b-s.Limits.Memory) })
	case "memory.soft_limit_in_bytes", "memory.high":
		r.size(f, "limits.memory_soft", func(s *guest.Spec, b guest.Bytes) { s.Limits.MemorySoft = b })
	case "memory.low":
		r.size(f, "limits.memory_low", func(s *guest.Spec, b guest.Bytes) { s.Limits.MemoryLow = b })
	case "memory.min":
		r.size(f, "limits.memory_reserved", func(s *guest.Spec, b guest.Bytes) { s.Limits.MemoryReserved = b })
	case "cpu.shares":
		f.Why = "1024 of old are 100"
		r.share(f, "limits.cpu_shares", func(s *guest.Spec, n float64) { s.Limits.CPUShares = weight(n, 1024) })
	case "cpu.weight":
		r.share(f, "limits.cpu_shares", func(s *guest.Spec, n float64) { s.Limits.CPUShares = weight(n, 100) })
	case "cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.max":
		r.quota(f, name)
	case "cpuset.cpus":
		r.cpusetKey(f, "cpus")
	case "cpuset.mems":
		r.cpusetKey(f, "mems")
	case "pids.max":
		r.share(f, "limits.pids", func(s *guest.Spec, n float64) { s.Limits.Pids = int(n) })
	case "blkio.weight":
		f.Why = "500 of old are 100"
		r.share(f, "limits.io.weight", func(s *guest.Spec, n float64) { s.Limits.IO.Weight = weight(n, 500) })
	case "io.weight":
		r.share(f, "limits.io.weight", func(s *guest.Spec, n float64) { s.Limits.IO.Weight = weight(n, 100) })
	case "name", "base", "mnt", "subsys", "inherit", "per-ss":
		f.Fate, f.Why = Passed, "the guest's control group is vserver/NAME"
		r.tell(f)
	default:
		f.Fate, f.Why = Refused, "is not passed on to the control group"
		f.Instead = "limits, as doc/config.md lists them; blkio.throttle: limits.io.devices"
		r.tell(f)
	}
}

// weight is a share of old, of which of was the usual, in ours.
func weight(n, of float64) int { return int(min(max(math.Round(n*100/of), 1), 10000)) }

// size reads a number of bytes, as control groups take it: with k, m or g of 1024.
func (r *reader) size(f Finding, to string, put func(*guest.Spec, guest.Bytes)) {
	f.To = to
	var b guest.Bytes
	switch err := b.UnmarshalText([]byte(f.Value)); {
	case f.Value == "-1" || f.Value == "max":
		f.Fate, f.Why = Passed, "no limit"
		r.tell(f)
	case err != nil:
		f.Fate, f.Why = Wrong, plain(err)
		r.tell(f)
	default:
		r.set(f, func(s *guest.Spec) { put(s, b) })
	}
}

// share reads a number.
func (r *reader) share(f Finding, to string, put func(*guest.Spec, float64)) {
	f.To = to
	n, err := strconv.ParseFloat(f.Value, 64)
	if err != nil || !(n >= 0 && n <= 1e9) {
		f.Fate, f.Why = Wrong, "want a number"
		r.tell(f)
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
		f.Fate, f.Why = Passed, "no limit"
		r.tell(f)
		return
	}
	each, err := strconv.ParseUint(period, 10, 32)
	quota := uint64(0)
	if len(words) == 1 {
		quota, _ = strconv.ParseUint(words[0], 10, 32)
	}
	if err != nil || each == 0 || quota == 0 {
		f.Fate, f.Why = Wrong, "want microseconds"
		r.tell(f)
		return
	}
	f.To = "limits.cpus"
	r.set(f, func(s *guest.Spec) { s.Limits.CPUs = float64(quota) / float64(each) })
}
