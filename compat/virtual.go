package compat

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"vserver/fault"
	"vserver/guest"
	"vserver/host"
	"vserver/kernel/proc"
)

// vciInfo is what /proc/virtual/info said on the last kernels of Linux-VServer: readers
// look for the bit by which the names of a guest stand in nsproxy.
const vciInfo = "VCIVersion:\t0002:0308\nVCISyscall:\t236\nVCIKernel:\t00000400\n"

// virtual is what is told of a running guest, or of a context without one, in its
// directory of /proc/virtual.
type virtual struct {
	host.Usage
	proc.Tasks
	init  int
	names [6]string // sysname nodename release version machine domainname
	flags guest.RightSet
	ccaps guest.RightSet
	bcaps guest.Capset
}

// writeVirtual writes what stood in /proc/virtual into a directory, for plugins of monitoring
// that read it there: no file can be put into the kernel's own. Each call brings it up to
// date.
func (c *call) writeVirtual(words []string) error {
	if len(words) != 1 {
		return usagef("VIRTUAL wants a directory to write to")
	}
	dir := words[0]
	if err := ourVirtual(dir); err != nil {
		return err
	}
	all, err := c.host.Usage()
	if err != nil {
		return err
	}
	list, err := c.host.Processes()
	if err != nil {
		return err
	}
	of := map[guest.XID][]host.Process{}
	for _, p := range list {
		of[p.XID] = append(of[p.XID], p)
	}
	all = slices.DeleteFunc(all, func(u host.Usage) bool { return u.XID == 0 })
	if err := putFiles(dir, map[string]string{"info": vciInfo, "status": fmt.Sprintf("#CTotal:\t%d\n#CActive:\t%d\n", len(all), len(all))}); err != nil {
		return err
	}
	there := []string{}
	for _, u := range all {
		x, err := c.virtual(u, of[u.XID])
		if errors.Is(err, guest.ErrStopped) {
			continue // it went meanwhile
		}
		if err != nil {
			return err
		}
		name := strconv.Itoa(int(u.XID))
		if err := putFiles(filepath.Join(dir, name), x.files()); err != nil {
			return err
		}
		there = append(there, name)
	}
	return forget(dir, there)
}

// virtual asks about a guest what its usage does not tell.
func (c *call) virtual(u host.Usage, list []host.Process) (virtual, error) {
	x := virtual{Usage: u}
	var pids []int
	for _, p := range list {
		pids = append(pids, p.PID)
		if p.Inner == 1 {
			x.init = p.PID
		}
	}
	if x.init == 0 {
		return x, guest.ErrStopped
	}
	for i, tag := range utsNames()[1:] {
		x.names[i], _ = c.uts(subject{}, tag)
	}
	err := inUTSOf(x.init, func() (err error) {
		for i, tag := range map[int]string{1: "nodename", 5: "domainname"} {
			if x.names[i], err = proc.Sysctl(utsKey(tag)); err != nil {
				break
			}
		}
		return err
	})
	if errors.Is(err, syscall.ESRCH) {
		err = guest.ErrStopped
	}
	if err == nil {
		x.Tasks, err = tasks(pids)
	}
	if err != nil || u.Name == "" {
		return x, err
	}
	spec, err := c.host.Load(u.Name)
	if err != nil {
		return x, nil // it runs, and its spec is being written
	}
	x.flags, _ = spec.FlagSet()
	x.ccaps, _ = spec.CcapSet()
	x.bcaps, _ = spec.Bounding()
	if !slices.ContainsFunc(x.Limits, func(p guest.Pool) bool { return p.Name == "pids" }) { // held by its user namespace
		x.Limits = append(x.Limits, guest.Pool{Name: "pids", Max: int64(spec.Limits.Pids)})
	}
	return x, nil
}

// tasks counts the threads of processes.
func tasks(pids []int) (proc.Tasks, error) {
	d, err := proc.Open()
	if err != nil {
		return proc.Tasks{}, err
	}
	defer d.Close()
	return d.Tasks(pids)
}

// files are a context's, by their names.
func (x *virtual) files() map[string]string {
	uts := ""
	for i, name := range []string{"SysName", "NodeName", "Release", "Version", "Machine", "DomainName"} {
		uts += name + ":\t" + x.names[i] + "\n"
	}
	return map[string]string{
		"info":    fmt.Sprintf("ID:\t%d\nInfo:\t%016x\nInit:\t%d\nOOM:\t0\n", x.XID, 0, x.init),
		"status":  fmt.Sprintf("UseCnt:\t%d\nTasks:\t%d\nFlags:\t%016x\nBCaps:\t%016x\nCCaps:\t%016x\n", x.All, x.All, x.flags, x.bcaps, x.ccaps),
		"nsproxy": uts,
		"cvirt":   x.cvirt(),
		"limit":   x.limit(),
		"sched":   x.sched(),
		"cacct":   x.cacct(),
	}
}

// cvirt tells of a load what there is at this moment: nobody counts it over time for all guests.
func (x *virtual) cvirt() string {
	up := time.Duration(x.Uptime)
	load := fmt.Sprintf("%d.00", x.Running+x.Blocked)
	return fmt.Sprintf("BiasUptime:\t%d.%02d\nnr_threads:\t%d\nnr_running:\t%d\nnr_unintr:\t%d\nnr_onhold:\t0\nload_updates:\t0\nloadavg:\t%s %[6]s %[6]s\ntotal_forks:\t0\n",
		int(up.Seconds()), up.Milliseconds()%1000/10, x.All, x.Running, x.Blocked, load)
}

// limit has the lines that there is a count for: now, the least and the most seen, the soft
// and the hard limit, and how often that was hit.
func (x *virtual) limit() string {
	page := int64(os.Getpagesize())
	var b strings.Builder
	b.WriteString("Limit\t current\t     min/max\t\t    soft/hard\t\thits\n")
	line := func(name string, now, unit int64, pool string) {
		hard, hits := int64(-1), uint64(0)
		for _, p := range x.Limits {
			if p.Name == pool && p.Max > 0 {
				hard = p.Max / unit
				if p.Hits != nil {
					hits = *p.Hits
				}
			}
		}
		fmt.Fprintf(&b, "%s:\t%8d\t%8d/%8d\t%8d/%8d\t%6d\n", name, now/unit, 0, now/unit, hard, hard, hits)
	}
	line("PROC", int64(x.All), 1, "pids")
	line("VM", x.VSZ, page, "")
	line("RSS", x.RSS, page, "memory")
	if x.Net != nil {
		line("SOCK", int64(x.Net.Sockets), 1, "")
	}
	return b.String()
}

// sched tells the processor time in hundredths of a second, all of it as the first
// processor's: a control group of cgroup v2 counts for all together.
func (x *virtual) sched() string {
	ticks := func(s host.Seconds) int64 { return time.Duration(s).Milliseconds() / 10 }
	out := "FillRate:\t       1,1\nInterval:\t       1,1\nTokensMin:\t       0\nTokensMax:\t       0\nPrioBias:\t       0\n"
	out += fmt.Sprintf("cpu 0: %d %d 0 0 0 R- 0 0 0 1/1 1/1\n", ticks(x.User), ticks(x.System))
	for n := 1; n < runtime.NumCPU(); n++ {
		out += fmt.Sprintf("cpu %d: 0 0 0 0 0 R- 0 0 0 1/1 1/1\n", n)
	}
	return out
}

// cacct tells what went over the network as INET, IPv6 too.
func (x *virtual) cacct() string {
	var b strings.Builder
	b.WriteString("Type\t    recv #/bytes\t\t   send #/bytes\t\t    fail #/bytes\n")
	for _, family := range []string{"UNSPEC", "UNIX", "INET", "INET6", "PACKET", "OTHER"} {
		var n guest.NetStatus
		if family == "INET" && x.Net != nil {
			n = *x.Net
		}
		fmt.Fprintf(&b, "%s:\t%10d/%-10d\t%10d/%-10d\t%10d/%-10d\n", family, n.PacketsIn, n.BytesIn, n.PacketsOut, n.BytesOut, n.Dropped, 0)
	}
	return b.String()
}

// ourVirtual makes sure that a directory is there which is empty, or was written by us.
func ourVirtual(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	list, err := os.ReadDir(dir)
	if err != nil || len(list) == 0 {
		return err
	}
	if text, err := os.ReadFile(filepath.Join(dir, "info")); err != nil || string(text) != vciInfo {
		return fault.Hint(fmt.Errorf("%s: has other files in it: %w", dir, guest.ErrInvalid), "vserver-info - VIRTUAL /run/virtual")
	}
	return nil
}

// putFiles writes files so that a reader sees the old ones or the new.
func putFiles(dir string, files map[string]string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, text := range files {
		temp := filepath.Join(dir, "."+name)
		if err := os.WriteFile(temp, []byte(text), 0o644); err != nil {
			return err
		}
		if err := os.Rename(temp, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// forget removes what is there of contexts that are not.
func forget(dir string, there []string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		if _, err := strconv.Atoi(e.Name()); err != nil || slices.Contains(there, e.Name()) {
			continue
		}
		for name := range new(virtual).files() {
			if err := os.Remove(filepath.Join(dir, e.Name(), name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
