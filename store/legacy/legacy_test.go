package legacy

import (
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"vserver/guest"
)

// tree makes the files of a guest web1, each a line "PATH=CONTENT"; a content that begins
// with "->" is a link, one with "+x " is executable.
func tree(lines ...string) fstest.MapFS {
	out := fstest.MapFS{"web1/vdir": {Data: []byte("/vservers/web1"), Mode: fs.ModeSymlink | 0o777}}
	for _, l := range lines {
		at, text, _ := strings.Cut(l, "=")
		f := &fstest.MapFile{Data: []byte(text), Mode: 0o644}
		if to, ok := strings.CutPrefix(text, "->"); ok {
			f = &fstest.MapFile{Data: []byte(to), Mode: fs.ModeSymlink | 0o777}
		} else if script, ok := strings.CutPrefix(text, "+x "); ok {
			f = &fstest.MapFile{Data: []byte(script), Mode: 0o755}
		}
		if !strings.HasPrefix(at, ".defaults/") {
			at = "web1/" + at
		}
		out[at] = f
	}
	return out
}

func read(lines ...string) *Guest { return Read(tree(lines...), "/etc/vservers", "web1") }

// find gives the finding of a key.
func find(t *testing.T, g *Guest, key string) Finding {
	t.Helper()
	for _, f := range g.Findings {
		if f.Key == key {
			return f
		}
	}
	t.Fatalf("no finding of %s in %v", key, g.Findings)
	return Finding{}
}

// What a key means in the company of another.
func TestCompany(t *testing.T) {
	g := read("cgroup/memory.limit_in_bytes=512M", "cgroup/memory.memsw.limit_in_bytes=768M")
	if f := find(t, g, "cgroup/memory.memsw.limit_in_bytes"); f.Fate != Same || g.Spec.Limits.Swap != 256<<20 {
		t.Errorf("%+v, swap %v", f, g.Spec.Limits.Swap)
	}
	g = read("cgroup/memory.max=512M", "cgroup/memory.swap.max=64M")
	if f := find(t, g, "cgroup/memory.swap.max"); f.Fate != Same || g.Spec.Limits.Swap != 64<<20 {
		t.Errorf("%+v, swap %v", f, g.Spec.Limits.Swap)
	}
	g = read("nflags=HIDE_NETIF", "ccapabilities=quota_ctl")
	if f := find(t, g, "ccapabilities:1"); f.Fate != Refused || len(g.Spec.Rights.Ccaps) > 0 { // and the guest starts
		t.Errorf("%+v, %v", f, g.Spec.Rights.Ccaps)
	}
	if f := find(t, read("scripts/poststart="), "scripts/poststart"); !strings.Contains(f.Why, "was post-start meant?") {
		t.Errorf("%+v", f)
	}
}

// single is a key alone: what becomes of it, and where it goes.
type single struct {
	line, key string
	fate      Fate
	got       func(*guest.Spec) any
	want      any
}

func (c single) check(t *testing.T) {
	t.Helper()
	g := read(c.line)
	f := find(t, g, c.key)
	if f.Fate != c.fate {
		t.Errorf("%q: %+v, want %s", c.line, f, c.fate)
	}
	if (f.Fate == Near || f.Fate == Refused || f.Fate == Wrong || f.Fate == Unknown || f.Fate == Passed) && f.Why == "" {
		t.Errorf("%q: no reason", c.line)
	}
	if c.got != nil && f.Fate == c.fate {
		if got := c.got(&g.Spec); got != c.want {
			t.Errorf("%q: %v, want %v", c.line, got, c.want)
		}
	}
	if wrong := len(g.Problems()) > 0; wrong != (c.fate == Wrong) {
		t.Errorf("%q: problems %v", c.line, g.Problems())
	}
}

// TestKeys reads each key alone: what becomes of it, and where it goes.
func TestKeys(t *testing.T) {
	for _, c := range []single{
		{"context=40001", "context", Same, func(s *guest.Spec) any { return s.XID }, guest.XID(40001)},
		{"context=49153", "context", Near, func(s *guest.Spec) any { return s.XID }, guest.XID(0)},
		{"context=one", "context", Wrong, nil, nil},
		{"uts/nodename=web1.example.org", "uts/nodename", Same, func(s *guest.Spec) any { return s.Hostname }, "web1.example.org"},
		{"uts/nodename=web1\r\n", "uts/nodename", Same, func(s *guest.Spec) any { return s.Hostname }, "web1"},
		{"uts/domainname=example.org", "uts/domainname", Same, func(s *guest.Spec) any { return s.Rights.Sysctls["kernel.domainname"] }, "example.org"},
		{"uts/release=2.6.32", "uts/release", Refused, nil, nil},
		{"nice=5\n", "nice", Same, func(s *guest.Spec) any { return s.Limits.Nice }, 5},
		{"nice=55", "nice", Wrong, nil, nil},
		{"ionice/priority=3", "ionice/priority", Same, func(s *guest.Spec) any { return s.Limits.IONice.String() }, "best-effort:3"},
		{"badness=100", "badness", Same, func(s *guest.Spec) any { return s.Limits.OOMScoreAdj }, 100},
		{"shell=/bin/zsh -l", "shell", Same, func(s *guest.Spec) any { return s.Shell }, "/bin/zsh"},
		{"personality=LINUX_32BIT\nUNAME26", "personality", Same, func(s *guest.Spec) any { return strings.Join(s.Rights.Personality, ",") }, "addr_limit_32bit,uname26"},
		{"personality=SOLARIS", "personality", Wrong, nil, nil},
		{"tag=7", "tag", Near, nil, nil},
		{"noncontext=", "noncontext", Same, func(s *guest.Spec) any { return s.Network.Mode }, guest.NetHost},
		{"apps/init/style=plain", "apps/init/style", Same, func(s *guest.Spec) any { return s.Init.Style }, guest.InitPlain},
		{"apps/init/style=runit", "apps/init/style", Wrong, nil, nil},
		{"apps/init/runlevel.start=2", "apps/init/runlevel.start", Same, func(s *guest.Spec) any { return s.Init.Runlevel }, "2"},
		{"apps/init/cmd.start=/sbin/go\nfast", "apps/init/cmd.start", Same, func(s *guest.Spec) any { return strings.Join(s.Init.Command, " ") }, "/sbin/go fast"},
		{"apps/init/cmd.stop=halt", "apps/init/cmd.stop", Same, func(s *guest.Spec) any { return strings.Join(s.Init.StopCommand, " ") }, "/usr/bin/env halt"},
		{"apps/init/killseq=15\n5\n9\n", "apps/init/killseq", Same, func(s *guest.Spec) any { return strings.Join(s.Init.KillSequence, " ") }, "15 5 9"},
		{"apps/init/killseq=15\n5\n", "apps/init/killseq", Wrong, nil, nil},
		{"apps/init/mark=default\nweb\n", "apps/init/mark", Same, func(s *guest.Spec) any { return strings.Join(s.Boot.Marks, " ") }, "default web"},
		{"apps/init/depends=# first\ndb1\n", "apps/init/depends", Same, func(s *guest.Spec) any { return len(s.Boot.Depends) }, 1},
		{"apps/init/environment=PATH=/bin\nLANG=C", "apps/init/environment", Near, func(s *guest.Spec) any { return s.Init.Environment["LANG"] }, "C"},
		{"apps/vshelper/sync-timeout=60", "apps/vshelper/sync-timeout", Same, func(s *guest.Spec) any { return s.Init.StopTimeout.String() }, "1m0s"},
		{"apps/vshelper/restart=+x #!/bin/sh", "apps/vshelper/restart", Near, nil, nil},
		{"interfaces/lback=127.9.9.1", "interfaces/lback", Same, func(s *guest.Spec) any { return s.Network.Lback.String() }, "127.9.9.1"},
		{"nflags=hide_netif\n", "nflags:1", Same, func(s *guest.Spec) any { return s.Network.Flags[0] }, "hide_netif"},
		{"nflags=state_setup\n", "nflags:1", Passed, nil, nil},
		{"ncapabilities=tun_create", "ncapabilities:1", Same, func(s *guest.Spec) any { return s.Network.NCaps[0] }, "tun_create"},
		{"flags=hide_netif", "flags:1", Same, func(s *guest.Spec) any { return s.Network.Flags[0] }, "hide_netif"},
		{"flags=VXF_VIRT_MEM", "flags:1", Same, func(s *guest.Spec) any { return s.View.Flags[0] }, "virt_mem"},
		{"cflags=igneg_nice", "cflags:1", Same, func(s *guest.Spec) any { return s.Rights.Flags[0] }, "igneg_nice"},
		{"flags=persistent", "flags:1", Refused, nil, nil},
		{"flags=fork_rs", "flags:1", Wrong, nil, nil},
		{"bcapabilities=CAP_NET_ADMIN", "bcapabilities:1", Same, func(s *guest.Spec) any { return s.Rights.Bcaps[0] }, "CAP_NET_ADMIN"},
		{"bcapabilities=0x2000", "bcapabilities:1", Same, func(s *guest.Spec) any { return s.Rights.Bcaps[0] }, "^13"},
		{"bcapabilities=SYS_TIME", "bcapabilities:1", Near, nil, nil},
		{"ccapabilities=~secure_mount", "ccapabilities:1", Same, func(s *guest.Spec) any { return s.Rights.Ccaps[0] }, "!secure_mount"},
		{"ccapabilities=kthread", "ccapabilities:1", Refused, nil, nil},
		{"rlimits/nproc.hard=200", "rlimits/nproc.hard", Same, func(s *guest.Spec) any { return s.Limits.Pids }, 200},
		{"rlimits/nproc=2k", "rlimits/nproc", Same, func(s *guest.Spec) any { return s.Limits.Pids }, 2000},
		{"rlimits/rss=65536", "rlimits/rss", Near, func(s *guest.Spec) any { return s.Limits.Memory }, guest.Bytes(256 << 20)},
		{"rlimits/rss.soft=inf", "rlimits/rss.soft", Passed, nil, nil},
		{"rlimits/openfd=100", "rlimits/openfd", Refused, nil, nil},
		{"rlimits/nproc=many", "rlimits/nproc", Wrong, nil, nil},
		{"ulimits/nofile.hard=4096", "ulimits/nofile.hard", Same, func(s *guest.Spec) any { return s.Limits.Rlimits["nofile"] }, guest.Rlimit{Soft: 4096, Hard: 4096}},
		{"schedule=1\n4\n100\n50\n500\n", "schedule", Near, func(s *guest.Spec) any { return s.Limits.TokenBucket.Interval }, 4},
		{"cpuset/cpus=0-1", "cpuset/cpus", Same, func(s *guest.Spec) any { return s.Limits.CPUSet }, guest.Numbers("0-1")},
		{"ncapabilities=^12", "ncapabilities:1", Same, func(s *guest.Spec) any { return s.Network.NCaps[0] }, "multicast"},
		{"spaces/net=", "spaces/net", Same, func(s *guest.Spec) any { return s.Network.Mode }, guest.NetPrivate},
		{"netns/name=dmz", "netns/name", Near, func(s *guest.Spec) any { return string(s.Network.Mode) + " " + s.Network.Netns }, "host dmz"},
		{"netns/name=../x", "netns/name", Wrong, nil, nil},
		{"netns/shared=", "netns/shared", Same, nil, nil},
		{"netns/interfaces/0/host=vs0", "netns/interfaces/0/host", Refused, nil, nil},
		{"spaces/pid=web2", "spaces/pid", Refused, nil, nil},
		{"nonamespace=", "nonamespace", Refused, nil, nil},
		{"contxt=40001", "contxt", Unknown, nil, nil},
		{"context.rpmsave=1", "context.rpmsave", Passed, nil, nil},
		{"fstab=none /proc proc defaults 0 0", "fstab:1", Passed, nil, nil},
		{"fstab=\n# x\n/srv/a /data none bind,ro 0 0", "fstab:3", Same, func(s *guest.Spec) any { return s.Mounts[0].String() }, "/srv/a /data bind ro,idmap,nofail"},
		{"fstab=none /tmp tmpfs size=16m,mode=1777 0 0", "fstab:1", Same, func(s *guest.Spec) any { return s.Mounts[0].String() }, "tmpfs /tmp tmpfs size=16m,mode=1777"},
		{"fstab.remote=nas:/x /mnt nfs rw 0 0", "fstab.remote:1", Refused, nil, nil},
		{"fstab=/dev/vdb /srv ext4 noatime,user 0 0", "fstab:1", Near, nil, nil},
	} {
		c.check(t)
	}
}

// TestInterfaces reads addresses in the order of their directories' names.
func TestInterfaces(t *testing.T) {
	g := read("interfaces/dev=eth0", "interfaces/mask=255.255.255.0",
		"interfaces/2/ip=192.0.2.12", "interfaces/2/name=web",
		"interfaces/10/ip=192.0.2.11", "interfaces/10/bcast=192.0.2.255",
		"interfaces/3/ip=2001:db8::1", "interfaces/3/prefix=64", "interfaces/3/dev=eth1",
		"interfaces/4/ip=198.51.100.1", "interfaces/4/nodev=", "interfaces/4/scope=host",
		"interfaces/5/ip=198.51.100.9", "interfaces/5/disabled=", "interfaces/6/ip=203.0.113.1/25", "interfaces/6/dev=eth0")
	var got []string
	for _, a := range g.Spec.Network.Addresses {
		got = append(got, a.String())
	}
	want := []string{"192.0.2.11/24 dev eth0 broadcast 192.0.2.255", "192.0.2.12/24 dev eth0 name web", "2001:db8::1/64 dev eth1", "198.51.100.1/24 nodev", "203.0.113.1/25 dev eth0"}
	if !slices.Equal(got, want) || len(g.Problems()) > 0 {
		t.Errorf("%q, want %q; %v", got, want, g.Problems())
	}
	for _, f := range g.Findings {
		if f.Fate == Unknown {
			t.Errorf("%+v", f)
		}
	}
	vlan := read("interfaces/vlandev=", "interfaces/0/ip=192.0.2.1/24", "interfaces/0/dev=eth0.5", "interfaces/1/ip=192.0.2.2/24", "interfaces/1/dev=eth0",
		"interfaces/2/ip=192.0.2.3/24", "interfaces/2/dev=eth0.6", "interfaces/2/novlandev=", "interfaces/3/ip=192.0.2.4/32", "interfaces/3/dev=ppp0", "interfaces/3/peer=198.51.100.1")
	got = nil
	for _, a := range vlan.Spec.Network.Addresses {
		got = append(got, a.String())
	}
	want = []string{"192.0.2.1/24 dev eth0.5 vlan", "192.0.2.2/24 dev eth0", "192.0.2.3/24 dev eth0.6", "192.0.2.4/32 dev ppp0 peer 198.51.100.1"}
	if !slices.Equal(got, want) || len(vlan.Problems()) > 0 {
		t.Errorf("%q, want %q; %v", got, want, vlan.Problems())
	}
	tun := read("interfaces/0/ip=10.9.0.1/24", "interfaces/0/dev=tun0", "interfaces/0/tun=", "interfaces/0/uid=1000", "interfaces/1/ip=10.9.1.1/24", "interfaces/1/dev=tap0", "interfaces/1/tap=", "interfaces/1/gid=5")
	if a := tun.Spec.Network; len(a.Addresses) != 2 || a.Addresses[0].String() != "10.9.0.1/24 dev tun0 tun owner 1000" ||
		a.Addresses[1].String() != "10.9.1.1/24 dev tap0 tap group 5" || !slices.Equal(a.NCaps, []string{"tun_create"}) {
		t.Errorf("%+v, %v", a, tun.Problems())
	}
	if p := read("interfaces/0/ip=192.0.2.1").Problems(); len(p) != 1 || !strings.Contains(p.Error(), "/etc/vservers/web1/interfaces/0/dev: No device specified") {
		t.Errorf("neither dev nor nodev: %v", p)
	}
	if s := read().Spec; s.Network.Addresses == nil || len(s.Network.Addresses) != 0 {
		t.Errorf("no interfaces are no network, got %v", s.Network.Addresses)
	}
}

// TestTogether reads keys that say one thing between them.
func TestTogether(t *testing.T) {
	g := read("rlimits/rss.soft=1000", "rlimits/rss.hard=2000", "ulimits/core=0", "ulimits/nofile=1024", "ulimits/nofile.hard=4096",
		"dlimits/0/directory=/vservers", "dlimits/0/space_total=1048576", "dlimits/0/inodes_total=1000", "dlimits/0/reserved=5",
		"dlimits/1/directory=/srv", "dlimits/1/space_total=5", "sysctl/0/setting=kernel.shmmax", "sysctl/0/value=65536",
		"sysctl/1/setting=vm.swappiness", "sysctl/1/value=1", "sched/fill-rate=30", "sched/interval=100", "sched/tokens-max=500",
		"scripts/pre-start=+x #!/bin/sh", "scripts/pre-start.d/10-a=true", "scripts/pre-start.d/10-a~=true", "apps/vdevmap/a/device=/dev/fuse", "apps/vdevmap/a/open=")
	s := g.Spec
	if s.Limits.MemorySoft != 1000*page || s.Limits.Memory != 2000*page || s.Limits.Rlimits["nofile"] != (guest.Rlimit{Soft: 1024, Hard: 4096}) {
		t.Errorf("limits: %+v", s.Limits)
	}
	if s.Limits.Disk != 1<<30 || s.Limits.Inodes != 1000 || find(t, g, "dlimits/1/directory").Fate != Refused {
		t.Errorf("disk: %v, %v", s.Limits.Disk, s.Limits.Inodes)
	}
	if s.Rights.Sysctls["kernel.shmmax"] != "65536" || find(t, g, "sysctl/1/setting").Fate != Refused || len(s.Rights.Sysctls) != 1 {
		t.Errorf("sysctls: %v", s.Rights.Sysctls)
	}
	if b := s.Limits.TokenBucket; b.FillRate != 30 || b.Interval != 100 || b.TokensMax != 500 || !b.PerCPU {
		t.Errorf("bucket: %+v", b)
	}
	if want := []string{"/etc/vservers/web1/scripts/pre-start", "/etc/vservers/web1/scripts/pre-start.d/10-a"}; !slices.Equal(s.Hooks.PreStart, want) {
		t.Errorf("hooks: %q", s.Hooks.PreStart)
	}
	if find(t, g, "scripts/pre-start").Fate != Same || find(t, g, "scripts/pre-start.d/10-a").Fate != Near {
		t.Error("a script that is executable is run, one that is not is read")
	}
	if len(s.Rights.Devices) != 1 || len(g.Problems()) > 0 {
		t.Errorf("devices %v, problems %v", s.Rights.Devices, g.Problems())
	}
}

// TestVdir finds the guest's tree.
func TestVdir(t *testing.T) {
	for to, want := range map[string]string{"/vservers/web1/": "/vservers/web1", "../../../srv/web1": "/srv/web1"} {
		fsys := tree()
		fsys["web1/vdir"].Data = []byte(to)
		if s := Read(fsys, "/etc/vservers", "web1").Spec; s.Root.Path != want || !s.Root.IDMap || s.Root.Kind != guest.RootDir {
			t.Errorf("vdir -> %s: %+v", to, s.Root)
		}
	}
	fsys := tree()
	delete(fsys, "web1/vdir")
	fsys["web1/vdir/etc/shadow"] = &fstest.MapFile{Data: []byte("secret"), Mode: 0o600}
	g := Read(fsys, "/etc/vservers", "web1")
	if g.Spec.Root.Path != "/etc/vservers/web1/vdir" || len(g.Findings) > 3 {
		t.Errorf("a directory: %+v %v", g.Spec.Root, g.Findings)
	}
}

// TestDefaults reads what is said for all guests.
func TestDefaults(t *testing.T) {
	g := read(".defaults/shell=/bin/ksh", ".defaults/apps/init/environment=PATH=/opt/bin", ".defaults/cgroup/cpu.shares=2048")
	if s := g.Spec; s.Shell != "/bin/ksh" || s.Init.Environment["PATH"] != "/opt/bin" || s.Limits.CPUShares != 200 {
		t.Errorf("%+v", s)
	}
	if g := read(".defaults/cgroup/cpu.cfs_quota_us=50000", ".defaults/cgroup/cpu.cfs_period_us=200000"); g.Spec.Limits.CPUs != 0.25 {
		t.Errorf("%v", g.Spec.Limits.CPUs)
	}
	if g := read("cgroup/cpu.cfs_quota_us=50000", "cgroup/cpu.cfs_period_us=200000", ".defaults/cgroup/cpu.cfs_period_us=1000000"); g.Spec.Limits.CPUs != 0.25 {
		t.Errorf("%v", g.Spec.Limits.CPUs)
	}
	if g := read(".defaults/cgroup/devices.allow=c 10:200 rw", ".defaults/cgroup/mnt=/dev/cgroup"); len(g.Spec.Rights.Devices) != 1 || find(t, g, ".defaults/cgroup/mnt").Fate != Passed {
		t.Errorf("%+v", g.Findings)
	}
	if g := read("cgroup/cpu.cfs_quota_us=50000", "cgroup/cpu.cfs_burst_us=20000"); g.Spec.Limits.CPUBurst.String() != "20ms" {
		t.Errorf("%+v", g.Spec.Limits)
	}
	for want, lines := range map[string][]string{"30s": nil, "45s": {".defaults/apps/vshelper/sync-timeout=45"}, "1m0s": {".defaults/apps/vshelper/sync-timeout=45", "apps/vshelper/sync-timeout=60"}} {
		if g := read(lines...); g.Spec.Init.StopTimeout.String() != want {
			t.Errorf("%q: %+v", lines, g.Spec.Init)
		}
	}
	if g := read(".defaults/netns/name=dmz"); g.Spec.Network.Netns != "dmz" {
		t.Errorf("%+v", g.Spec.Network)
	}
	if g := read(".defaults/netns/name=dmz", "nonetns="); g.Spec.Network.Netns != "" {
		t.Errorf("%+v", g.Spec.Network)
	}
	if g := read(".defaults/cgroup/cpu.shares=2048", "cgroup/pids.max=9"); g.Spec.Limits.CPUShares != 0 || g.Spec.Limits.Pids != 9 {
		t.Errorf("a guest with groups of its own: %+v", g.Spec.Limits)
	}
}

// FuzzRead gives files of any content and name: the spec stays valid, and each file has
// its finding.
func FuzzRead(f *testing.F) {
	for _, seed := range [][2]string{
		{"interfaces/0/ip", "192.0.2.1/24"}, {"fstab", "none /tmp tmpfs size=1m 0 0\n/a /b none bind"}, {"rlimits/rss.hard", "1M"},
		{"flags", "virt_mem,~hide_netif\n^17"}, {"bcapabilities", "~^3\n0xffff"}, {"apps/init/cmd.start", "/bin/x\ny"}, {"sched/fill-rate", "3"},
		{"cgroup/memory.max", "1g"}, {"apps/init/killseq", "15 5 9"}, {"sysctl/0/setting", "kernel.sem"}, {"dlimits/0/space_total", "inf"}, {"context", "2"},
	} {
		f.Add(seed[0], seed[1], "interfaces/0/nodev", "")
	}
	f.Fuzz(func(t *testing.T, a, one, b, two string) {
		fsys := tree()
		for name, text := range map[string]string{"web1/" + a: one, "web1/" + b: two} {
			if fs.ValidPath(name) && !strings.HasPrefix(name, "web1/vdir") {
				fsys[name] = &fstest.MapFile{Data: []byte(text), Mode: 0o644}
			}
		}
		g := Read(fsys, "/etc/vservers", "web1")
		if found := g.Spec.Validate(); len(found) > 0 {
			t.Errorf("%q=%q %q=%q: %v", a, one, b, two, found)
		}
		for _, f := range g.Findings {
			if f.Fate == "" || f.Key == "" && f.Fate != Wrong {
				t.Errorf("%+v", f)
			}
		}
	})
}
