package guest

import (
	"fmt"
	"strings"
	"time"
)

// IO is what a guest may do with block devices.
type IO struct {
	Weight  int                 `yaml:"weight" doc:"weight of the guest where block devices are fought for (scheduler bfq, or the kernel's iocost)" default:"100"`
	Latency Duration            `yaml:"latency" doc:"time that a request should take at most: guests that ask for more or for none are held back for it; of the devices named, or of all"`
	Devices map[string]IODevice `yaml:"devices" doc:"bounds for single devices, as /dev/vda: {rbps: 10M, wiops: 100}"`
}

// IODevice is what a guest may do with one block device.
type IODevice struct {
	RBPS  Bytes `yaml:"rbps" doc:"bytes read a second"`
	WBPS  Bytes `yaml:"wbps" doc:"bytes written a second"`
	RIOPS int   `yaml:"riops" doc:"reads a second"`
	WIOPS int   `yaml:"wiops" doc:"writes a second"`
}

// HugePage is a size of huge pages in the words of the kernel's files, "2MB", from that
// in a spec: "2M".
func HugePage(size string) (string, error) {
	var b Bytes
	if err := b.UnmarshalText([]byte(size)); err != nil {
		return "", err
	}
	// mem_fmt of mm/hugetlb_cgroup.c
	for _, u := range []struct {
		name   string
		factor Bytes
	}{{"GB", 1 << 30}, {"MB", 1 << 20}, {"KB", 1 << 10}} {
		if b >= u.factor && b&(b-1) == 0 {
			return fmt.Sprintf("%d%s", b/u.factor, u.name), nil
		}
	}
	return "", fmt.Errorf("huge page of %q: want a power of two, as 2M: %w", size, ErrInvalid)
}

// shares checks how processor time, memory and devices are divided.
func (v *validator) shares(l *Limits) {
	v.within("limits.cpu_burst", l.CPUBurst, float64(l.CPUBurst)/1e9)
	v.within("limits.cpu_shares", l.CPUShares, float64(l.CPUShares))
	v.within("limits.cpu_reserved", l.CPUReserved, float64(l.CPUReserved))
	v.within("limits.nice", l.Nice, float64(l.Nice))
	if l.CPUBurst > 0 {
		switch {
		case l.CPUs == 0:
			v.bad("limits.cpu_burst", "has no meaning without limits.cpus")
		case float64(l.CPUBurst) > l.CPUs*float64(DefaultCPUPeriod):
			v.bad("limits.cpu_burst", "%v: the kernel saves at most what comes in %v, %v here", l.CPUBurst, DefaultCPUPeriod, l.Bandwidth(1).Quota)
		}
	}
	switch {
	case l.CPUIdle && l.CPUReserved > 0:
		v.bad("limits.cpu_idle", "contradicts limits.cpu_reserved")
	case l.CPUIdle && l.CPUShares > 0:
		v.bad("limits.cpu_idle", "contradicts limits.cpu_shares: an idle guest has none")
	}
	v.numbers("limits.cpuset", l.CPUSet)
	v.numbers("limits.mems", l.Mems)
	v.bucket(l)
	for _, m := range []struct {
		key   string
		value Bytes
	}{{"memory_soft", l.MemorySoft}, {"memory_reserved", l.MemoryReserved}, {"memory_low", l.MemoryLow}} {
		v.within("limits."+m.key, m.value, float64(m.value))
		if l.Memory > 0 && m.value > l.Memory {
			v.bad("limits."+m.key, "%v: is above limits.memory, %v", m.value, l.Memory)
		}
	}
	v.within("limits.memory_idle", l.MemoryIdle, time.Duration(l.MemoryIdle).Seconds())
	v.within("limits.zswap", l.Zswap, float64(l.Zswap))
	for _, size := range sorted(l.HugePages) {
		at := "limits.hugepages." + size
		if _, err := HugePage(size); err != nil {
			v.fail(at, err)
		}
		v.withinAs(at, "limits.hugepages.", l.HugePages[size], float64(l.HugePages[size]))
	}
	v.io(&l.IO)
}

func (v *validator) numbers(at string, n Numbers) {
	if n == "" {
		return
	}
	if _, err := n.List(); err != nil {
		v.fail(at, err)
	}
}

func (v *validator) bucket(l *Limits) {
	const at = "limits.token_bucket"
	b := l.TokenBucket
	for _, f := range []struct {
		key   string
		value int
	}{{"fill_rate", b.FillRate}, {"interval", b.Interval}, {"tokens_min", b.TokensMin}, {"tokens_max", b.TokensMax}} {
		v.within(at+"."+f.key, f.value, float64(f.value))
	}
	switch {
	case b == (TokenBucket{}):
	case b.FillRate == 0:
		v.bad(at+".fill_rate", "is missing")
	case b.Interval == 0:
		v.bad(at+".interval", "is missing")
	case l.CPUs > 0:
		v.bad(at, "contradicts limits.cpus: give one of them")
	case b.IdleTime && l.CPUReserved > 0:
		v.bad(at+".idle_time", "contradicts limits.cpu_reserved: give one of them")
	case b.IdleTime && l.CPUIdle:
		v.bad(at+".idle_time", "contradicts limits.cpu_idle: give one of them")
	case b.TokensMax > 0 && b.TokensMax < b.TokensMin:
		v.bad(at+".tokens_max", "%d: is below tokens_min, %d", b.TokensMax, b.TokensMin)
	}
}

func (v *validator) io(io *IO) {
	v.within("limits.io.weight", io.Weight, float64(io.Weight))
	v.within("limits.io.latency", io.Latency, float64(io.Latency)/1e9)
	if len(io.Devices) > MaxItems {
		v.bad("limits.io.devices", "%d devices: want at most %d", len(io.Devices), MaxItems)
	}
	for _, dev := range sorted(io.Devices) {
		at := "limits.io.devices." + dev
		if v.isAbsolute(at, dev) && !strings.HasPrefix(dev, "/dev/") {
			v.bad(at, "%q: want the path of a device, as /dev/vda", dev)
		}
		d := io.Devices[dev]
		v.withinAs(at+".rbps", "limits.io.devices..rbps", d.RBPS, float64(d.RBPS))
		v.withinAs(at+".wbps", "limits.io.devices..wbps", d.WBPS, float64(d.WBPS))
		v.withinAs(at+".riops", "limits.io.devices..riops", d.RIOPS, float64(d.RIOPS))
		v.withinAs(at+".wiops", "limits.io.devices..wiops", d.WIOPS, float64(d.WIOPS))
		if d == (IODevice{}) {
			v.bad(at, "bounds nothing: want rbps, wbps, riops or wiops")
		}
	}
}

// rangeOfLimit is RangeOf for the settings checked here.
func rangeOfLimit(path string) (r Range, ok bool) {
	switch path {
	case "limits.cpu_burst":
		return Range{0.000001, 8192 * 0.1}, true // a period of all processors
	case "limits.cpu_shares", "limits.io.weight":
		return Range{1, 10000}, true // CGROUP_WEIGHT_MIN, CGROUP_WEIGHT_MAX
	case "limits.cpu_reserved":
		return Range{0.1, 100}, true
	case "limits.nice":
		return Range{-20, 19}, true
	case "limits.token_bucket.fill_rate", "limits.token_bucket.interval", "limits.token_bucket.tokens_min", "limits.token_bucket.tokens_max":
		return Range{1, 1e6}, true // a quarter of an hour
	case "limits.memory_soft", "limits.memory_reserved", "limits.memory_low", "limits.zswap", "limits.hugepages.":
		return Range{4 << 10, 1 << 53}, true // a page
	case "limits.memory_idle":
		return Range{10, 30 * 24 * 3600}, true // a round of vserverd's; a month
	case "limits.io.latency":
		return Range{0.00001, 10}, true
	case "limits.io.devices..rbps", "limits.io.devices..wbps":
		return Range{4 << 10, 1 << 53}, true // a page a second
	case "limits.io.devices..riops", "limits.io.devices..wiops":
		return Range{1, 1 << 31}, true
	}
	return Range{}, false
}
