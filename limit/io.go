package limit

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"vserver/fault"
	"vserver/guest"
	"vserver/kernel/cgroup"
	"vserver/kernel/disk"
)

// unbound lifts all bounds of a device.
const unbound = "rbps=max wbps=max riops=max wiops=max"

// io adds the settings of block devices.
func (all *lists) io(l *guest.Limits) error {
	// v1 keeps each bound in a file of its own. It knows whose writes are those that somebody
	// waits for; those that the kernel does later in everybody's name it lets pass.
	var bounds []string
	old := map[string][]string{}
	numbers := map[string]string{}
	for _, path := range slices.Sorted(maps.Keys(l.IO.Devices)) {
		number, err := disk.Number(path)
		if err != nil {
			return fmt.Errorf("limits.io.devices: %w", err)
		}
		if other := numbers[number]; other != "" {
			return fmt.Errorf("limits.io.devices: %s and %s are one disk: %w", other, path, guest.ErrInvalid)
		}
		numbers[number] = path
		d := l.IO.Devices[path]
		bounds = append(bounds, fmt.Sprintf("%s rbps=%s wbps=%s riops=%s wiops=%s", number, numberOr(int64(d.RBPS), "max"),
			numberOr(int64(d.WBPS), "max"), numberOr(int64(d.RIOPS), "max"), numberOr(int64(d.WIOPS), "max")))
		for what, n := range map[string]int64{"read_bps": int64(d.RBPS), "read_iops": int64(d.RIOPS), "write_bps": int64(d.WBPS), "write_iops": int64(d.WIOPS)} {
			if n > 0 {
				old[what] = append(old[what], number+" "+strconv.FormatInt(n, 10))
			}
		}
	}
	all.add(len(bounds) > 0, setting{name: "io.devices", controller: "io", v2: value{file: "io.max", lines: bounds, clear: unbound, byLine: true},
		v1: value{file: elsewhere}})
	for _, what := range []string{"read_bps", "read_iops", "write_bps", "write_iops"} {
		all.add(len(old[what]) > 0, setting{name: "io.devices", controller: "io",
			v1: value{file: "blkio.throttle." + what + "_device", lines: old[what], clear: "0", byLine: true}})
	}
	weight := l.IO.Weight
	if weight == 0 {
		weight = Weight
	}
	all.weighIO(l.IO.Weight > 0, strconv.Itoa(weight))
	return all.latency(l, slices.Sorted(maps.Keys(numbers)))
}

// elsewhere is the file of a setting that v1 holds in others.
const elsewhere = "-"

// weighIO adds the weight at block devices: by iocost or bfq, as far as one is at work.
func (all *lists) weighIO(asked bool, weight string) {
	s := setting{name: "io.weight", controller: "io", optional: !asked, instead: "limits.io.devices, or the scheduler bfq for a disk: echo bfq > /sys/block/DISK/queue/scheduler",
		v2: value{file: "io.weight", lines: []string{"default " + weight}, clear: "100", byLine: true}, v1: value{file: "blkio.bfq.weight", text: weight}}
	if asked && disk.Scheduler("bfq") {
		s.v2.file = "io.bfq.weight"
	} else if asked {
		s.v1.file = ""
		s.held = func(g *cgroup.Group) error { return costed(g, s) }
	}
	all.add(asked, s)
	if !asked {
		s.v1.file, s.v2.file = "", "io.bfq.weight"
		all.add(false, s)
	}
}

// costed says when a weight at block devices would be taken and not heeded: no disk has
// a scheduler that weighs, nor iocost.
func costed(g *cgroup.Group, s setting) error {
	top, err := g.Top()
	if err != nil {
		return err
	}
	defer top.Close()
	if text, err := top.Read("io.cost.qos"); err == nil && strings.Contains(text, "enable=1") {
		return nil
	}
	return fault.Hint(fmt.Errorf("no disk of this host weighs requests: %w", guest.ErrUnsupported), "nearest: "+s.instead)
}

// latency adds the time that requests should take, for the devices named or all.
func (all *lists) latency(l *guest.Limits, numbers []string) (err error) {
	var lines []string
	if l.IO.Latency > 0 {
		if len(numbers) == 0 {
			if numbers, err = disk.All(); err != nil {
				return err
			}
		}
		for _, n := range numbers {
			lines = append(lines, n+" target="+micros(time.Duration(l.IO.Latency)))
		}
	}
	all.add(l.IO.Latency > 0, setting{name: "io.latency", controller: "io", optional: l.IO.Latency == 0, instead: "limits.io.devices of the other guests",
		v2: value{file: "io.latency", lines: lines, clear: "target=0", byLine: true}})
	return nil
}
