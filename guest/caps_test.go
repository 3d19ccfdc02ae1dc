package guest

import (
	"bufio"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestParseCap(t *testing.T) {
	for word, want := range map[string]int{
		"chown": 0, "CAP_CHOWN": 0, "cap_sys_admin": 21, "Sys_Admin": 21, "^12": 12, "checkpoint_restore": 40,
	} {
		if got, err := ParseCap(word); err != nil || got != want {
			t.Errorf("%s: %d, %v; want %d", word, got, err, want)
		}
	}
	for word, near := range map[string]string{"sys_admn": "sys_admin", "CAP_NETADMIN": "net_admin", "^41": "^40", "^x": "^40", "": "", "!chown": "chown"} {
		_, err := ParseCap(word)
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), near) {
			t.Errorf("%q: %v, want it to name %q", word, err, near)
		}
	}
}

// TestCaps holds the list to the kernel's: as many as it has, where it has no more.
func TestCaps(t *testing.T) {
	text, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err != nil {
		t.Fatal(err)
	}
	if last, err := strconv.Atoi(strings.TrimSpace(string(text))); err != nil || last > len(Caps())-1 {
		t.Errorf("this kernel has a capability %d that has no name here (%v)", last, err)
	}
}

func TestChange(t *testing.T) {
	base := capset("chown", "kill")
	for words, want := range map[string]string{
		"":                  "chown kill",
		"net_admin":         "chown kill net_admin",
		"!kill":             "chown",
		"~CAP_KILL":         "chown",
		"!!kill":            "chown kill",
		"!chown chown":      "chown kill",
		"none":              "",
		"!all":              "",
		"none setuid ^5":    "kill setuid",
		"all":               strings.Join(Caps(), " "),
		"!none":             strings.Join(Caps(), " "),
		"!kill !setuid any": strings.Join(Caps(), " "),
	} {
		got, err := base.Change(strings.Fields(words))
		if err != nil || strings.Join(got.Names(), " ") != want {
			t.Errorf("%q: %v, %v; want %s", words, got.Names(), err, want)
		}
	}
	if _, err := base.Change([]string{"kill", "kil"}); !errors.Is(err, ErrInvalid) {
		t.Errorf("kil: %v", err)
	}
}

func TestBounding(t *testing.T) {
	for name, test := range map[string]struct {
		spec     Spec
		has, not []string
	}{
		"private": {Spec{}, []string{"sys_admin", "net_raw", "sys_boot", "setfcap", "audit_write"},
			[]string{"net_admin", "sys_module", "sys_rawio", "sys_time", "mknod", "bpf", "perfmon", "syslog", "mac_admin", "linux_immutable", "audit_control", "checkpoint_restore"}},
		"none": {Spec{Userns: UsernsNone, Network: Network{Mode: NetNone}}, []string{"chown", "setuid", "sys_boot", "net_raw"},
			[]string{"sys_admin", "dac_read_search", "sys_ptrace", "mknod", "net_admin", "sys_resource", "sys_module"}},
		"none, host's network": {Spec{Userns: UsernsNone, Network: Network{Mode: NetHost}}, nil, []string{"net_raw"}},
		"none, shared":         {Spec{Userns: UsernsNone, Network: Network{Mode: NetShared}}, nil, []string{"net_raw"}},
		"tunnels":              {Spec{Network: Network{Mode: NetPrivate, NCaps: []string{"tun_create"}}}, []string{"net_admin"}, nil},
		"tunnels, shared":      {Spec{Network: Network{Mode: NetShared, NCaps: []string{"tun_create"}}}, nil, []string{"net_admin"}},
		"tunnels, none":        {Spec{Userns: UsernsNone, Network: Network{Mode: NetPrivate, NCaps: []string{"tun_create"}}}, nil, []string{"net_admin"}},
		"none, no filter":      {Spec{Userns: UsernsNone, Rights: Rights{Seccomp: SeccompNone}}, nil, []string{"sys_boot"}},
		"changed":              {Spec{Rights: Rights{Bcaps: []string{"net_admin", "!sys_admin"}}}, []string{"net_admin"}, []string{"sys_admin"}},
	} {
		c, err := test.spec.Bounding()
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		names := c.Names()
		for _, want := range test.has {
			if !slices.Contains(names, want) {
				t.Errorf("%s: lacks %s", name, want)
			}
		}
		for _, no := range test.not {
			if slices.Contains(names, no) {
				t.Errorf("%s: has %s", name, no)
			}
		}
	}
}

// TestRlimits holds the names to what the kernel calls them, in its order.
func TestRlimits(t *testing.T) {
	f, err := os.Open("/proc/self/limits")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	n := -1
	for lines.Scan() {
		if n >= 0 {
			name := Rlimits()[n]
			word := map[string]string{
				"cpu": "cpu time", "fsize": "file size", "data": "data size", "stack": "stack size", "core": "core file size",
				"rss": "resident set", "nproc": "processes", "nofile": "open files", "memlock": "locked memory", "as": "address space",
				"locks": "file locks", "sigpending": "pending signals", "msgqueue": "msgqueue size", "nice": "nice priority",
				"rtprio": "realtime priority", "rttime": "realtime timeout",
			}[name]
			if !strings.HasPrefix(lines.Text(), "Max "+word) {
				t.Errorf("limit %d is %q, not %s", n, lines.Text(), name)
			}
			if got, ok := RlimitNumber(name); !ok || got != n {
				t.Errorf("%s: number %d", name, got)
			}
		}
		n++
	}
	if n != len(Rlimits()) {
		t.Errorf("the kernel has %d limits, not %d", n, len(Rlimits()))
	}
	if _, ok := RlimitNumber("nofiles"); ok {
		t.Error("nofiles has a number")
	}
}
