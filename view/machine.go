package view

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"vserver/kernel/proc"
)

// Times are a guest's times.
type Times struct {
	Up           time.Duration // since its start
	User, System time.Duration // that its processes have used
	Idle         time.Duration // of all its processors together
}

// idle gives the time in which a guest's processors had nothing to do, never less than
// what was told before: a guest may use more in a moment than the processors it sees.
func (t Times) idle(cpus int, before time.Duration) time.Duration {
	return max(before, t.Up*time.Duration(cpus)-t.User-t.System)
}

func ticks(d time.Duration) int64 { return int64(d / (time.Second / proc.Hertz)) }

// Stat gives a guest's /proc/stat. A control group counts no processors apart: each of
// them shows its part of the whole.
func Stat(shown Set, t Times, boot time.Time, tasks proc.Tasks) []byte {
	out := make([]byte, 0, 128+64*len(shown))
	line := func(name string, t Times) {
		out = fmt.Appendf(out, "%s %d 0 %d %d 0 0 0 0 0 0\n", name, ticks(t.User), ticks(t.System), ticks(t.Idle))
	}
	line("cpu ", t)
	n := time.Duration(max(1, len(shown)))
	for _, cpu := range shown {
		line("cpu"+strconv.Itoa(cpu), Times{User: t.User / n, System: t.System / n, Idle: t.Idle / n})
	}
	return fmt.Appendf(out, "intr 0\nctxt 0\nbtime %d\nprocesses %d\nprocs_running %d\nprocs_blocked %d\nsoftirq 0 0 0 0 0 0 0 0 0 0 0\n",
		boot.Unix(), tasks.All, max(1, tasks.Running), tasks.Blocked) // who reads runs
}

// Uptime gives a guest's /proc/uptime.
func Uptime(t Times) []byte {
	hundredths := func(d time.Duration) (s, h int64) {
		n := int64(d / (10 * time.Millisecond))
		return n / 100, n % 100
	}
	us, uh := hundredths(t.Up)
	is, ih := hundredths(t.Idle)
	return fmt.Appendf(nil, "%d.%02d %d.%02d\n", us, uh, is, ih)
}

// CPUInfo gives those paragraphs of the host's /proc/cpuinfo that are about processors
// which are shown, and those about none.
func CPUInfo(host []byte, shown Set) []byte {
	out := make([]byte, 0, len(host))
	for len(host) > 0 {
		end := bytes.Index(host, []byte("\n\n"))
		if end < 0 {
			end = len(host) - 2
		}
		var part []byte
		part, host = host[:max(0, end+2)], host[max(0, end+2):]
		if len(part) == 0 {
			break
		}
		first, _, _ := bytes.Cut(part, []byte("\n"))
		key, number, _ := bytes.Cut(first, []byte(":"))
		if string(bytes.TrimSpace(key)) == "processor" {
			cpu, err := strconv.Atoi(string(bytes.TrimSpace(number)))
			if err == nil && !shown.Has(cpu) {
				continue
			}
		}
		out = append(out, part...)
	}
	return out
}

// IO is what a guest did with a block device.
type IO struct {
	ReadBytes, WriteBytes, DiscardBytes, Reads, Writes, Discards uint64
}

// Diskstats gives the lines of the host's /proc/diskstats of those devices that the guest
// used, with its own numbers. Devices are called as in cgroups, "8:0".
func Diskstats(host []byte, used map[string]IO) []byte {
	var out []byte
	for line := range bytes.Lines(host) {
		f := bytes.Fields(line)
		if len(f) < 3 {
			continue
		}
		io, ok := used[string(f[0])+":"+string(f[1])]
		if !ok {
			continue
		}
		out = append(fmt.Appendf(out, "%4s %7s %s ", f[0], f[1], f[2]), DiskStat(io)...)
	}
	return out
}

// DiskStat gives what stands of a disk behind its name there, and in /sys/block/NAME/stat.
func DiskStat(io IO) []byte {
	return fmt.Appendf(nil, "%d 0 %d 0 %d 0 %d 0 0 0 0 %d 0 %d 0 0 0\n",
		io.Reads, io.ReadBytes/512, io.Writes, io.WriteBytes/512, io.Discards, io.DiscardBytes/512)
}

// ParseIO reads io.stat of cgroup v2: "8:0 rbytes=1 wbytes=2 rios=3 ...".
func ParseIO(text string) map[string]IO {
	all := map[string]IO{}
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		var io IO
		for _, word := range words[1:] {
			key, value, _ := strings.Cut(word, "=")
			n, _ := strconv.ParseUint(value, 10, 64)
			switch key {
			case "rbytes":
				io.ReadBytes = n
			case "wbytes":
				io.WriteBytes = n
			case "dbytes":
				io.DiscardBytes = n
			case "rios":
				io.Reads = n
			case "wios":
				io.Writes = n
			case "dios":
				io.Discards = n
			}
		}
		all[words[0]] = io
	}
	return all
}

// ParseOldIO reads the two files of the v1 controller blkio: "8:0 Read 4096".
func ParseOldIO(bytesText, countText string) map[string]IO {
	all := map[string]IO{}
	each := func(text string, take func(io *IO, what string, n uint64)) {
		for line := range strings.Lines(text) {
			w := strings.Fields(line)
			if len(w) != 3 {
				continue
			}
			n, _ := strconv.ParseUint(w[2], 10, 64)
			io := all[w[0]]
			take(&io, w[1], n)
			all[w[0]] = io
		}
	}
	each(bytesText, func(io *IO, what string, n uint64) {
		switch what {
		case "Read":
			io.ReadBytes = n
		case "Write":
			io.WriteBytes = n
		case "Discard":
			io.DiscardBytes = n
		}
	})
	each(countText, func(io *IO, what string, n uint64) {
		switch what {
		case "Read":
			io.Reads = n
		case "Write":
			io.Writes = n
		case "Discard":
			io.Discards = n
		}
	})
	return all
}
