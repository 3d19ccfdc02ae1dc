package view

import (
	"syscall"
	"testing"
	"time"

	"vserver/guest"
)

// What a guest is told by sysinfo(2) is its own by the flags that it has.
func TestInto(t *testing.T) {
	s := Size{Up: 90 * time.Second, Load: Load{1024, 2048, 4096}, Tasks: 70000, Total: 1 << 30, Free: 1 << 29, memory: true}
	host := syscall.Sysinfo_t{Uptime: 1000, Totalram: 1 << 22, Freeram: 1 << 21, Procs: 300, Totalhigh: 5, Unit: 4096}
	all := guest.VirtMem | guest.VirtLoad | guest.VirtUptime
	info := host
	s.Into(&info, all)
	if info.Uptime != 90 || info.Loads != [3]uint64{1 << 15, 1 << 16, 1 << 17} || info.Procs != 65535 ||
		info.Totalram != 1<<18 || info.Freeram != 1<<17 || info.Totalhigh != 0 || info.Unit != 4096 {
		t.Errorf("%+v", info)
	}
	info = host
	s.Into(&info, guest.HostTime)
	if info != host {
		t.Errorf("without flags: %+v", info)
	}
	s.memory = false
	s.Into(&info, all)
	if info.Totalram != host.Totalram || info.Uptime != 90 {
		t.Errorf("of memory that nobody counts: %+v", info)
	}
}

// A mask has the processors that are seen, unless none would be left.
func TestMask(t *testing.T) {
	s := Size{CPUs: Set{0, 9}}
	for _, c := range [][2][2]byte{{{0xff, 0xff}, {1, 2}}, {{2, 0}, {2, 0}}, {{3, 0}, {1, 0}}} {
		if got := s.Mask(c[0][:]); [2]byte(got) != c[1] {
			t.Errorf("%x: %x, want %x", c[0], got, c[1])
		}
	}
}
