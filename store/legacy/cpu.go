package legacy

import (
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
				r.wrong(f, "line "+strconv.Itoa(i+1)+": want a number")
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
				r.wrong(f, "want a number")
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
			r.pass(f, "no fill-rate and no interval: no bucket")
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
		r.pass(f, "the guest's control group has its name")
	case "virtualized":
		f.Fate, f.To, f.Why = Near, "view.flags", "virt_cpu shows the guest's processors"
		r.tell(f)
	case "nocreate":
		r.refuse(f, "a guest has its own control group", "")
	case "cpu_exclusive", "cpus_exclusive", "mem_exclusive", "mems_exclusive":
		f.Fate, f.Why, f.Instead = Refused, "nothing keeps the host's own processes off the guest's processors", "limits.cpuset of the other guests, CPUAffinity= of systemd"
		if f.Value == "0" {
			f.Fate, f.Why, f.Instead = Passed, "is off", ""
		}
		r.tell(f)
	}
}
