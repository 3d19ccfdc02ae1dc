package guest

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// The names of Linux-VServer, by bit, as util-vserver 0.30.216 and the last kernels with
// it have them.
const (
	legacyFlags = "lock sched nproc private fakeinit hideinfo ulimit namespace sched_hard sched_prio sched_pause " +
		"virt_mem virt_uptime virt_cpu virt_load virt_time hide_mount hide_netif hide_vinfo state_setup state_init " +
		"state_admin sc_helper reboot_kill persistent fork_rss prolific igneg_nice igneg_ionice secure default"
	legacyCcaps = "set_utsname set_rlimit fs_security fs_trusted tiocsti raw_icmp syslog oom_adjust audit_control " +
		"secure_mount secure_remount binary_mount dev_mount quota_ctl admin_mapper admin_cloop kthread namespace"
	legacyAliases = "info_lock info_nproc info_private info_init info_hideinfo info_ulimit info_nspace fakeinit " +
		"utsname rlimit icmp ping mount remount vxf_virt_mem VXC_RAW_ICMP"
)

// TestLegacy wants every name of Linux-VServer in the tables, each once and with what
// becomes of it.
func TestLegacy(t *testing.T) {
	for _, table := range []struct {
		r     rightsOf
		names string
	}{{flags(), legacyFlags}, {ccaps(), legacyCcaps}, {rightsOf{table: Bcaps()}, strings.Join(Caps(), " ")}} {
		var have []string
		bits := map[int]string{}
		for _, r := range table.r.table {
			have = append(have, r.Name)
			if other, twice := bits[r.Bit]; twice && r.Bit >= 0 {
				t.Errorf("%s and %s have bit %d", r.Name, other, r.Bit)
			}
			bits[r.Bit] = r.Name
			if r.By == "" || (r.Honour == Elsewhere || r.Honour == Refused) != (r.Instead != "") {
				t.Errorf("%s: %+v", r.Name, r)
			}
		}
		want := strings.Fields(table.names)
		if slices.Sort(have); !slices.Equal(have, slices.Sorted(slices.Values(want))) {
			t.Errorf("have %v\nwant %v", have, want)
		}
	}
	for _, word := range strings.Fields(legacyAliases) {
		_, err1 := flags().find(word)
		_, err2 := ccaps().find(word)
		if err1 != nil && err2 != nil {
			t.Errorf("%s: %v", word, err1)
		}
	}
}

func TestRightWords(t *testing.T) {
	for words, want := range map[string]string{
		"":                           "set_utsname fs_security audit_control secure_mount secure_remount namespace",
		"!secure_mount ~remount":     "set_utsname fs_security audit_control namespace",
		"!utsname VXC_SET_UTSNAME":   "set_utsname fs_security audit_control secure_mount secure_remount namespace",
		"none":                       "audit_control",
		"none ^4":                    "tiocsti audit_control",
		"all !namespace":             "set_utsname set_rlimit fs_security tiocsti audit_control secure_mount secure_remount quota_ctl",
		"!quota_ctl !syslog tiocsti": "set_utsname fs_security tiocsti audit_control secure_mount secure_remount namespace",
	} {
		s := Spec{Rights: Rights{Ccaps: strings.Fields(words)}}
		set, err := s.CcapSet()
		var got []string
		for _, r := range Ccaps() {
			if set.Has(r.Bit) {
				got = append(got, r.Name)
			}
		}
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%q: %v, %v; want %s", words, got, err, want)
		}
	}
	for word, want := range map[string]string{
		"secure_mont": "did you mean secure_mount?", "zzz": "doc/rights.md", "dev_mount": "instead: rights.devices",
		"raw_icmp": "network.ncaps: [raw_icmp]", "!audit_control": "cannot be taken away", "^3": "fs_trusted", "^63": "no such name",
	} {
		_, err := (&Spec{Rights: Rights{Ccaps: []string{word}}}).CcapSet()
		known := !strings.Contains(want, "did you") && !strings.Contains(want, "doc/") && !strings.Contains(want, "no such")
		if !errors.Is(err, ErrInvalid) || errors.Is(err, ErrUnsupported) != known || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", word, err, want)
		}
	}
	none := Spec{Userns: UsernsNone}
	if set, err := none.CcapSet(); err != nil || set.Has(SecureMount) || set.Has(Namespace) || !set.Has(FsSecurity) {
		t.Errorf("without a user namespace: %b, %v", set, err)
	}
}

// A word that its list does not have is refused with the list that has it.
func TestNamesElsewhere(t *testing.T) {
	for key, words := range map[string]map[string]string{
		"rights.bcaps":  {"quotactl": "rights.ccaps: [quota_ctl]", "CAP_SINGLE_IP": "network.flags: [single_ip]", "mount": "rights.ccaps: [mount]"},
		"rights.ccaps":  {"net_admin": "rights.bcaps: [net_admin]", "hide_lback": "network.flags: [hide_lback]", "zzz": "doc/rights.md"},
		"rights.flags":  {"multicast": "network.ncaps: [multicast]", "tiocsti": "rights.ccaps: [tiocsti]", "prolfic": "did you mean prolific?"},
		"network.flags": {"prolific": "rights.flags: [prolific]", "virt_mem": "view.flags: [virt_mem]"},
		"network.ncaps": {"net_admin": "rights.bcaps: [net_admin]", "raw_imcp": "did you mean raw_icmp?"},
		"view.flags":    {"virt_mam": "did you mean virt_mem?", "sched_hard": "rights.flags: [sched_hard]", "zzz": "want virt_mem"},
	} {
		for word, want := range words {
			var s Spec
			list := map[string]*[]string{"rights.bcaps": &s.Rights.Bcaps, "rights.ccaps": &s.Rights.Ccaps, "rights.flags": &s.Rights.Flags,
				"network.flags": &s.Network.Flags, "network.ncaps": &s.Network.NCaps, "view.flags": &s.View.Flags}
			*list[key] = []string{word}
			if p := s.Validate(); len(p) != 1 || p[0].Path != key+"[0]" || !strings.Contains(p[0].Error(), want) {
				t.Errorf("%s: %s: %v, want %s", key, word, p, want)
			}
		}
	}
}

func TestRightsTogether(t *testing.T) {
	nested := (&Spec{Rights: Rights{Flags: []string{"prolific"}}}).WithDefaults("a")
	if !nested.Rights.Nesting {
		t.Error("prolific gives no nesting")
	}
	if c, err := (&Spec{Rights: Rights{Ccaps: []string{"!fs_security"}}}).Bounding(); err != nil || c&capset("setfcap") != 0 {
		t.Errorf("setfcap without fs_security: %v, %v", c.Names(), err)
	}
	for words, want := range map[string]bool{"mknod": true, "all": false, "!mknod": false, "mknod none": false, "all CAP_MKNOD": true, "^27": true} {
		if got := (&Spec{Rights: Rights{Bcaps: strings.Fields(words)}}).MakesNodes(); got != want {
			t.Errorf("%s: makes nodes: %t", words, got)
		}
	}
	for name, test := range map[string]struct {
		s    Spec
		want string
	}{
		"good": {Spec{Rights: Rights{Bcaps: []string{"mknod"}, Ccaps: []string{"!secure_mount"}, Flags: []string{"private"},
			Sysctls: map[string]string{"kernel.sem": "1 2 3 4"}}}, ""},
		"private's net":    {Spec{Network: Network{Mode: NetPrivate}, Rights: Rights{Sysctls: map[string]string{"net.core.somaxconn": "5"}}}, ""},
		"shared's net":     {Spec{Rights: Rights{Sysctls: map[string]string{"net.core.somaxconn": "5"}}}, "rights.sysctls.net.core.somaxconn"},
		"host's net":       {Spec{Network: Network{Mode: NetHost}, Rights: Rights{Sysctls: map[string]string{"net.core.somaxconn": "5"}}}, "rights.sysctls.net.core.somaxconn"},
		"path out":         {Spec{Network: Network{Mode: NetPrivate}, Rights: Rights{Sysctls: map[string]string{"net.core/../../kernel.panic": "5"}}}, "rights.sysctls.net.core/../../kernel.panic"},
		"dots out":         {Spec{Network: Network{Mode: NetNone}, Rights: Rights{Sysctls: map[string]string{"net....kernel.panic": "5"}}}, "rights.sysctls.net....kernel.panic"},
		"host's":           {Spec{Rights: Rights{Sysctls: map[string]string{"kernel.core_pattern": "|/bin/sh"}}}, "rights.sysctls.kernel.core_pattern"},
		"host's name":      {Spec{Rights: Rights{Sysctls: map[string]string{"kernel.hostname": "x"}}}, "rights.sysctls.kernel.hostname"},
		"two listeners":    {Spec{Network: Network{Flags: []string{"hide_netif"}}, Rights: Rights{Bcaps: []string{"mknod"}}}, "rights.bcaps"},
		"no filter":        {Spec{Rights: Rights{Seccomp: SeccompNone, Bcaps: []string{"mknod"}}}, "rights.bcaps"},
		"no filter, flag":  {Spec{Rights: Rights{Seccomp: SeccompNone, Flags: []string{"igneg_nice"}}}, "rights.flags[0]"},
		"no filter, less":  {Spec{Rights: Rights{Seccomp: SeccompNone, Ccaps: []string{"!secure_mount"}}}, "rights.ccaps[0]"},
		"no filter, have":  {Spec{Rights: Rights{Seccomp: SeccompNone, Ccaps: []string{"secure_mount"}}}, ""},
		"no users":         {Spec{Userns: UsernsNone, Rights: Rights{Ccaps: []string{"tiocsti", "mount"}}}, "rights.ccaps[1]"},
		"unknown flag":     {Spec{Rights: Rights{Flags: []string{"lock", "igneg_nize"}}}, "rights.flags[1]"},
		"memory":           {Spec{Rights: Rights{Devices: []Device{{Path: "/dev/mem"}}}}, "rights.devices[0]"},
		"memory's numbers": {Spec{Rights: Rights{Devices: []Device{{Major: 1, Minor: AnyMinor}}}}, "rights.devices[0]"},
		"own":              {Spec{Rights: Rights{Devices: []Device{{Path: "/dev/pts/5"}}}}, "rights.devices[0]"},
	} {
		got := ""
		for _, p := range test.s.Validate() {
			got += p.Path
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q: %v", name, got, test.want, test.s.Validate())
		}
	}
}

func TestDevice(t *testing.T) {
	for text, want := range map[string]string{
		"/dev/fuse": "/dev/fuse rw", " /dev/net/tun  r ": "/dev/net/tun r", "c 10:200 rwm": "c 10:200 rwm",
		"b 8:* wr": "b 8:* rw", "c 1:9": "c 1:9 rw", "/dev/loop0 m": "/dev/loop0 m",
	} {
		var d, again Device
		if err := d.UnmarshalText([]byte(text)); err != nil || d.String() != want {
			t.Errorf("%q: %q, %v", text, d, err)
		}
		if err := again.UnmarshalText([]byte(d.String())); err != nil || again != d {
			t.Errorf("%q again: %v, %v", text, again, err)
		}
	}
	for _, bad := range []string{"", "fuse", "/etc/passwd", "/dev/../etc/passwd", "/dev/", "/dev/a/", "/dev//a", "c", "c 1", "c 0:5", "c 1:2:3",
		"c 5000:1", "c 1:9999999", "c *:1", "b 8:-1", "a *:* rwm", "/dev/fuse rx", "/dev/fuse rr", "/dev/fuse rw m", "/dev/a\nb", "/dev/.."} {
		if err := new(Device).UnmarshalText([]byte(bad)); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzDevice(f *testing.F) {
	f.Add("c 10:200 rwm")
	f.Add("/dev/fuse r")
	f.Fuzz(func(t *testing.T, text string) {
		var d, again Device
		if d.UnmarshalText([]byte(text)) != nil {
			return
		}
		if err := again.UnmarshalText([]byte(d.String())); err != nil || again != d {
			t.Errorf("%q: %v, %v, %v", text, d, again, err)
		}
		if d.Path != "" && (!strings.HasPrefix(d.Path, "/dev/") || strings.Contains(d.Path, "..")) {
			t.Errorf("%q: path %q", text, d.Path)
		}
	})
}
