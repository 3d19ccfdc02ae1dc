package guest

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func prefixes(list ...string) (out []Address) {
	for _, s := range list {
		out = append(out, Address{Prefix: netip.MustParsePrefix(s)})
	}
	return out
}

func addresses(lines ...string) (out []Address) {
	for _, l := range lines {
		a, err := ParseAddress(l)
		if err != nil {
			panic(err)
		}
		out = append(out, a)
	}
	return out
}

func addrs(list ...string) (out []netip.Addr) {
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

// specCase is a spec with the paths that must be complained of.
type specCase struct {
	spec Spec
	want []string
}

func TestValidate(t *testing.T) {
	long := strings.Repeat("a", 5000)
	many := make([]string, MaxItems+1)
	for i := range many {
		many[i] = strings.Repeat("x", i%200+1) + string(rune('a'+i%26)) + strings.Repeat("y", i/200)
	}
	check(t, map[string]specCase{
		"nothing said":         {Spec{}, nil},
		"xid of the host":      {Spec{XID: 1}, []string{"xid"}},
		"xid too high":         {Spec{XID: 49152}, []string{"xid"}},
		"xid highest":          {Spec{XID: 49151}, nil},
		"hostname":             {Spec{Hostname: "web-1.example.org"}, nil},
		"hostname underscore":  {Spec{Hostname: "web_1"}, []string{"hostname"}},
		"hostname dash":        {Spec{Hostname: "web-.example"}, []string{"hostname"}},
		"hostname empty label": {Spec{Hostname: "web..example"}, []string{"hostname"}},
		"hostname label":       {Spec{Hostname: strings.Repeat("a", 64)}, []string{"hostname"}},
		"hostname long":        {Spec{Hostname: "a." + strings.Repeat("a", 63)}, []string{"hostname"}},
		"hostname newline":     {Spec{Hostname: "web1\nroot"}, []string{"hostname"}},
		"hostname bytes":       {Spec{Hostname: "web\xff"}, []string{"hostname"}},
		"userns":               {Spec{Userns: "host"}, []string{"userns"}},
		"idbase":               {Spec{IDBase: 524288}, nil},
		"idbase of the host":   {Spec{IDBase: 65535}, []string{"idbase"}},
		"idbase alignment":     {Spec{IDBase: 524289}, []string{"idbase"}},
		"idbase too high":      {Spec{IDBase: MaxIDBase + IDs}, []string{"idbase"}},
		"idbase without use":   {Spec{IDBase: 524288, Userns: UsernsNone}, []string{"idbase"}},
		"lower":                {Spec{Root: Root{Lower: []string{"bookworm", "/srv/tree", "debian:12"}}}, nil},
		"lower relative": {Spec{Root: Root{Lower: []string{"../etc", "a/b", "/srv/../etc", ""}}},
			[]string{"root.lower[0]", "root.lower[1]", "root.lower[2]", "root.lower[3]"}},
		"lower twice":     {Spec{Root: Root{Lower: []string{"a", "a"}}}, []string{"root.lower[1]"}},
		"lower with dir":  {Spec{Root: Root{Kind: RootDir, Lower: []string{"a"}}}, []string{"root.lower"}},
		"shared with dir": {Spec{Root: Root{Kind: RootDir, Shared: []string{"/usr"}}}, []string{"root.shared"}},
		"shared":          {Spec{Root: Root{Shared: []string{"/usr", "/opt/x"}}}, nil},
		"shared own": {Spec{Root: Root{Shared: []string{"/", "/proc", "/sys/fs", "/dev/", "run"}}},
			[]string{"root.shared[0]", "root.shared[1]", "root.shared[2]", "root.shared[3]", "root.shared[4]"}},
		"too many":           {Spec{Root: Root{Lower: many}}, []string{"root.lower"}},
		"style":              {Spec{Init: Init{Style: "systemd"}}, []string{"init.style"}},
		"command missing":    {Spec{Init: Init{Style: InitCommand}}, []string{"init.command"}},
		"command":            {Spec{Init: Init{Style: InitCommand, Command: []string{"/bin/sleep", ""}}}, nil},
		"command with sysv":  {Spec{Init: Init{Style: InitSysv, Command: []string{"/sbin/rc"}, RunlevelStop: "6"}}, nil},
		"runlevel with it":   {Spec{Init: Init{Style: InitSysv, Command: []string{"/sbin/rc"}, Runlevel: "3"}}, []string{"init.runlevel"}},
		"kill sequence":      {Spec{Init: Init{KillSequence: []string{"TERM", "5", "KILL"}}}, nil},
		"kill sequence odd":  {Spec{Init: Init{KillSequence: []string{"TERM", "5"}}}, []string{"init.kill_sequence"}},
		"root":               {Spec{Root: Root{Kind: RootDir, Path: "/vservers/web1", IDMap: true}}, nil},
		"root elsewhere":     {Spec{Root: Root{Path: "/vservers/web1", IDMap: true}}, []string{"root.path", "root.idmap"}},
		"root of the host":   {Spec{Root: Root{Kind: RootDir, Path: "/"}}, []string{"root.path"}},
		"shell":              {Spec{Shell: "zsh"}, []string{"shell"}},
		"hooks":              {Spec{Hooks: Hooks{Initialize: []string{"x"}, PostpostStop: []string{"/x"}}}, []string{"hooks.initialize[0]"}},
		"command relative":   {Spec{Init: Init{Command: []string{"init", "a\x00b", long}}}, []string{"init.command[0]", "init.command[1]", "init.command[2]"}},
		"command one word":   {Spec{Init: Init{Command: []string{"/bin/sleep 600"}}}, []string{"init.command[0]"}},
		"command empty":      {Spec{Init: Init{Command: []string{}}}, []string{"init.command"}},
		"runlevel":           {Spec{Init: Init{Style: InitSysv, Runlevel: "5"}}, nil},
		"runlevel 0":         {Spec{Init: Init{Style: InitSysv, Runlevel: "0"}}, []string{"init.runlevel"}},
		"runlevel with none": {Spec{Init: Init{Runlevel: "3"}}, []string{"init.runlevel"}},
		"environment":        {Spec{Init: Init{Environment: map[string]string{"A": "", "_b": "x=y", "C.d-e": "ä"}}}, nil},
		"environment names": {Spec{Init: Init{Environment: map[string]string{"": "", "1a": "", "a=b": "", "a b": ""}}},
			[]string{"init.environment.", "init.environment.1a", "init.environment.a b", "init.environment.a=b"}},
		"environment value": {Spec{Init: Init{Environment: map[string]string{"A": "b\nC=d", "B": "\x1b[2J"}}},
			[]string{"init.environment.A", "init.environment.B"}},
		"signal":            {Spec{Init: Init{StopSignal: 65}}, []string{"init.stop_signal"}},
		"signal or command": {Spec{Init: Init{StopSignal: 15, StopCommand: []string{"/sbin/halt"}}}, []string{"init.stop_signal"}},
		"timeout":           {Spec{Init: Init{StopTimeout: Duration(25 * time.Hour)}}, []string{"init.stop_timeout"}},
		"timeout negative":  {Spec{Init: Init{StopTimeout: -1}}, []string{"init.stop_timeout"}},
	})
}

func TestValidateRest(t *testing.T) {
	check(t, map[string]specCase{
		"mode":           {Spec{Network: Network{Mode: "bridge"}}, []string{"network.mode"}},
		"addresses":      {Spec{Network: Network{Addresses: prefixes("192.0.2.10/24", "192.0.2.11/32", "10.0.0.0/31", "2001:db8::1/64")}}, nil},
		"addresses host": {Spec{Network: Network{Mode: NetHost, Addresses: prefixes("192.0.2.10/24")}}, []string{"network.addresses"}},
		"addresses none": {Spec{Network: Network{Mode: NetNone, Addresses: prefixes("192.0.2.10/24")}}, []string{"network.addresses"}},
		"addresses of nobody": {Spec{Network: Network{Addresses: append(prefixes("0.0.0.0/0", "0.1.2.3/24", "192.0.2.0/24", "192.0.2.255/24",
			"127.0.0.1/8", "224.0.0.1/4", "169.254.1.1/16", "192.0.2.1/0", "::/64", "::1/128", "fe80::1/64", "ff02::1/64", "2001:db8::/64", "::ffff:192.0.2.1/120"),
			Address{})}}, indexed("network.addresses", 15)},
		"addresses twice": {Spec{Network: Network{Addresses: prefixes("192.0.2.10/24", "192.0.2.10/25")}}, []string{"network.addresses[1]"}},
		"addresses words": {Spec{Network: Network{Addresses: addresses("192.0.2.10/24 dev eth0 broadcast + scope link name web", "192.0.2.11/24 nodev",
			"192.0.2.12/24 scope 200 broadcast 192.0.2.255", "2001:db8::1/64 dev eth0.5 scope site")}}, nil},
		"addresses words wrong": {Spec{Network: Network{Addresses: addresses("192.0.2.10/24 dev a/b", "192.0.2.11/24 dev eth0 nodev", "192.0.2.12/24 scope 256",
			"192.0.2.13/24 broadcast all", "2001:db8::1/64 broadcast +", "2001:db8::2/64 name web", "192.0.2.14/24 dev eth0 name elevenchars", "192.0.2.15/24 name a:b",
			"192.0.2.16/24 dev ..", "192.0.2.17/24 dev abcdefghijklmnop")}}, indexed("network.addresses", 10)},
		"gateway": {Spec{Network: Network{Gateway: addrs("192.0.2.1", "2001:db8::1"), Table: 1008}}, nil},
		"gateway wrong": {Spec{Network: Network{Gateway: addrs("0.0.0.0", "127.0.0.1", "192.0.2.1", "192.0.2.2", "::ffff:192.0.2.1")}},
			[]string{"network.gateway[0]", "network.gateway[1]", "network.gateway[2]", "network.gateway[3]", "network.gateway[4]"}},
		"table":       {Spec{Network: Network{Table: 254}}, []string{"network.table"}},
		"flags":       {Spec{Network: Network{Flags: []string{"single_ip", "!NXF_HIDE_LBACK", "~lback_remap"}, NCaps: []string{"NXC_multicast"}}}, nil},
		"hidden":      {Spec{Network: Network{Flags: []string{"hide_netif"}}, Userns: UsernsPrivate}, nil},
		"hidden none": {Spec{Network: Network{Flags: []string{"hide_netif"}}, Userns: UsernsNone, Rights: Rights{Seccomp: SeccompNone}}, []string{"network.flags", "network.flags"}},
		"flags wrong": {Spec{Network: Network{Flags: []string{"single_ip", "hide_if"}, NCaps: []string{"net_raw"}}}, []string{"network.flags[1]", "network.ncaps[0]"}},
		"lback":       {Spec{Network: Network{Lback: netip.MustParseAddr("127.0.0.1")}}, []string{"network.lback"}},
		"lback high":  {Spec{Network: Network{Lback: netip.MustParseAddr("127.156.65.1")}}, nil},
		"shared keys": {Spec{Network: Network{Mode: NetHost, Flags: []string{"single_ip"}, NCaps: []string{"multicast"}, Gateway: addrs("192.0.2.1"),
			Table: 5, Lback: netip.MustParseAddr("127.0.8.1")}},
			[]string{"network.flags", "network.ncaps", "network.lback", "network.gateway", "network.table"}},
		"dns": {Spec{Network: Network{DNS: []netip.Addr{netip.MustParseAddr("::1"), netip.MustParseAddr("fe80::1%eth0")}}}, nil},
		"dns wrong": {Spec{Network: Network{DNS: []netip.Addr{{}, netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("fe80::1%a\nb")}}},
			[]string{"network.dns[0]", "network.dns[1]", "network.dns[2]"}},
		"search":            {Spec{Network: Network{Search: []string{"example.org", "lan."}}}, nil},
		"search wrong":      {Spec{Network: Network{Search: []string{"a b", "x\nnameserver 1.2.3.4"}}}, []string{"network.search[0]", "network.search[1]"}},
		"memory":            {Spec{Limits: Limits{Memory: 512}}, []string{"limits.memory"}},
		"swap alone":        {Spec{Limits: Limits{Swap: 1 << 30}}, []string{"limits.swap"}},
		"memory negative":   {Spec{Limits: Limits{Memory: -1}}, []string{"limits.memory"}},
		"ceiling's name":    {Spec{Limits: Limits{Ceilings: map[string]int{"inotify_instance": 5}}}, []string{"limits.ceilings.inotify_instance"}},
		"ceiling's depth":   {Spec{Limits: Limits{Ceilings: map[string]int{"cgroup_depth": 101}}}, []string{"limits.ceilings.cgroup_depth"}},
		"ceiling of users":  {Spec{Limits: Limits{Ceilings: map[string]int{"user_namespaces": 2}}}, []string{"limits.ceilings.user_namespaces"}},
		"ceiling, no users": {Spec{Userns: UsernsNone, Limits: Limits{Ceilings: map[string]int{"ptys": 2, "inotify_watches": 1}}}, []string{"limits.ceilings.inotify_watches"}},
		"cpus":              {Spec{Limits: Limits{CPUs: 0.001}}, []string{"limits.cpus"}},
		"pids":              {Spec{Limits: Limits{Pids: -1}}, []string{"limits.pids"}},
		"oom":               {Spec{Limits: Limits{OOMScoreAdj: -1001}}, []string{"limits.oom_score_adj"}},
		"rlimits":           {Spec{Limits: Limits{Rlimits: map[string]Rlimit{"nofile": {1, 2}, "nofiles": {1, 2}, "core": {2, 1}}}}, []string{"limits.rlimits.core", "limits.rlimits.nofiles"}},
		"bcaps":             {Spec{Rights: Rights{Bcaps: []string{"net_admin", "!CAP_MKNOD", "~^12", "all"}}}, nil},
		"bcaps wrong":       {Spec{Rights: Rights{Bcaps: []string{"net_admn", "^99", "!", ""}}}, []string{"rights.bcaps[0]", "rights.bcaps[1]", "rights.bcaps[2]", "rights.bcaps[3]"}},
		"seccomp":           {Spec{Rights: Rights{Seccomp: "off"}}, []string{"rights.seccomp"}},
		"firewall at bridge": {Spec{Network: Network{Mode: NetPrivate, Link: LinkBridge, Firewall: []Rule{{Deny: true}}, Egress: Egress{Rate: 1e6}},
			Rights: Rights{Bcaps: []string{"net_admin"}}}, []string{"network.firewall"}},
		"firewall beside": {Spec{Network: Network{Mode: NetPrivate, Link: LinkMacvlan, Parent: "eth0", Firewall: []Rule{{Deny: true}}, Egress: Egress{Rate: 1e6}},
			Rights: Rights{Syscalls: []string{"AF_PACKET"}}}, []string{"network.firewall", "network.egress"}},
		"syscalls":          {Spec{Rights: Rights{Syscalls: []string{"bpf", "Bpf", "a b"}}}, []string{"rights.syscalls[1]", "rights.syscalls[2]"}},
		"syscalls for none": {Spec{Rights: Rights{Seccomp: SeccompNone, Syscalls: []string{"bpf"}}}, []string{"rights.syscalls"}},
		"console":           {Spec{Console: Console{Type: "serial", LogSize: 100}}, []string{"console.type", "console.log_size"}},
		"marks":             {Spec{Boot: Boot{Marks: []string{"default", "a b", "default"}}}, []string{"boot.marks[1]", "boot.marks[2]"}},
		"depends":           {Spec{Boot: Boot{Depends: []Name{"db1", "start", "-a"}}}, []string{"boot.depends[1]", "boot.depends[2]"}},
		"restart":           {Spec{Restart: "sometimes"}, []string{"restart"}},
		"hooks":             {Spec{Hooks: Hooks{PreStart: []string{"/etc/h", "h"}, PostStop: []string{"/a/"}}}, []string{"hooks.pre-start[1]", "hooks.post-stop[0]"}},
	})
}

func check(t *testing.T, cases map[string]specCase) {
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, p := range test.spec.Validate() {
				got = append(got, p.Path)
				if !errors.Is(p, ErrInvalid) {
					t.Errorf("%v: is not ErrInvalid", p)
				}
				if strings.ContainsAny(p.Error(), "\n\x00\x1b") {
					t.Errorf("%q: would harm a terminal", p.Error())
				}
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("complains of %q, want %q\n%v", got, test.want, test.spec.Validate())
			}
		})
	}
}

func indexed(path string, n int) (out []string) {
	for i := range n {
		out = append(out, index(path, i))
	}
	return out
}

// TestWithDefaults holds the defaults to being valid, lasting and what the doc tags say.
func TestWithDefaults(t *testing.T) {
	for _, s := range []Spec{
		{}, {XID: 8}, {XID: 40000}, {Userns: UsernsNone, XID: 8},
		{Init: Init{Style: InitSysv}}, {Init: Init{Style: InitCommand, Command: []string{"/bin/a"}}},
		{Network: Network{Addresses: prefixes("192.0.2.1/24")}}, {Network: Network{Mode: NetHost}},
	} {
		full := s.WithDefaults("web_1.")
		if wrong := full.Validate(); wrong != nil {
			t.Errorf("%+v: %v", s, wrong)
		}
		if again := full.WithDefaults("other"); again.Hostname != full.Hostname || again.Network.Mode != full.Network.Mode ||
			again.Console != full.Console || again.IDBase != full.IDBase {
			t.Errorf("%+v: defaults filled twice differ: %+v", full, again)
		}
	}
	full := (&Spec{XID: 8, Network: Network{Addresses: prefixes("192.0.2.1/24")}}).WithDefaults("web_1.")
	switch {
	case full.Hostname != "web-1":
		t.Errorf("hostname %q", full.Hostname)
	case full.IDBase != 524288:
		t.Errorf("idbase %d", full.IDBase)
	case full.Network.Mode != NetShared:
		t.Errorf("mode %s with addresses", full.Network.Mode)
	case full.Console.Type != ConsoleTTY, (&Spec{Init: Init{Style: InitSysv}}).WithDefaults("a").Console.Type != ConsoleLog:
		t.Error("console types")
	case (&Spec{XID: 40000}).WithDefaults("a").IDBase != 0:
		t.Error("a high xid gives ids above 2^31")
	case (&Spec{XID: 9, Userns: UsernsNone}).WithDefaults("a").IDBase != 0:
		t.Error("ids without a user namespace")
	}
}

func TestNearest(t *testing.T) {
	words := []string{"memory", "swap", "cpus", "pids", "oom_score_adj", "rlimits"}
	for word, want := range map[string]string{
		"memroy": "memory", "Memory": "memory", "cpu": "cpus", "pid": "pids", "rlimit": "rlimits",
		"oom-score-adj": "oom_score_adj", "xid": "", "addresses": "", "": "",
	} {
		if got := Nearest(word, words); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}
