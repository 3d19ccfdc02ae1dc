package schema

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"vserver/store/settings"
)

var update = flag.Bool("update", false, "write the files in doc/ anew")

// TestCurrent holds the files in doc/ to what the code says.
func TestCurrent(t *testing.T) {
	text, err := JSON()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]byte{"schema.json": text, "config.md": Manual(), "rights.md": Rights()} {
		path := filepath.Join("..", "..", "doc", name)
		if *update {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what the code says; run: go test ./store/schema -update", path)
		}
	}
}

// verdicts are specs with what both the schema and Parse should say of them. Those
// in arithmetic are wrong by a rule that a schema cannot tell.
var good = []string{
	"",
	"{}\n",
	"# nothing but a comment\n",
	"xid: 8\n",
	"xid: \"8\"\n",
	"limits:\nnetwork: ~\ninit: {}\n",
	"hostname: web1.example.org\n",
	"hostname: 7\n",
	"idbase: 524288\n",
	"userns: none\n",
	"root: {kind: dir}\n",
	"root: {kind: dir, lower: []}\n",
	"root: {lower: [bookworm, \"debian:12\", /srv/tree], shared: [/usr, /opt/a]}\n",
	"init: {style: command, command: [/bin/sleep, 10, true, '']}\n",
	"init: {style: sysv, runlevel: 3}\n",
	"init: {style: sysv, runlevel: \"S\"}\n",
	"init: {stop_signal: SIGRTMIN+3, stop_timeout: 1h30m}\n",
	"init: {stop_signal: 15, stop_timeout: 30}\n",
	"init: {stop_command: [/sbin/halt, -p], environment: {A: b, _B: 1, C.d: true, E: ''}}\n",
	"network: {addresses: [192.0.2.10/24, \"2001:db8::1/64\"], dns: [192.0.2.53, \"2001:db8::53\"], search: [example.org, lan.]}\n",
	"network: {addresses: [192.0.2.10/24 dev eth0 broadcast + scope link name web, 192.0.2.11/32 nodev, '2001:db8::2/64  dev eth0.5']}\n",
	"network: {gateway: [192.0.2.1, \"2001:db8::1\"], table: 1008, flags: ['!hide_lback', NXF_single_ip], ncaps: [multicast, ~raw_icmp], lback: 127.1.2.3}\n",
	"network: {mode: private, gateway: [192.0.2.1], ncaps: [tun_create]}\n",
	"network: {mode: private, link: bridge, bridge: br0.5, gateway: [192.0.2.1], addresses: [192.0.2.10/24, '2001:db8::2/64'], publish: ['8080:80', '[2001:db8::1]:80-81:80-81/tcp', '1-9:192.0.2.10:11/udp']}\n",
	"network: {mode: private, link: macvlan, parent: eth0, dhcp: true}\n",
	"network: {mode: private, link: routed}\n",
	"network: {mode: host, addresses: []}\n",
	"network: {mode: none, dns: []}\n",
	"limits: {memory: 512M, cpus: 1.5, pids: 100, oom_score_adj: -500, rlimits: {nofile: \"1024:4096\", core: unlimited, nproc: 100}}\n",
	"limits: {memory: 1.5GiB, cpus: 0, rlimits: {memlock: 64M, stack: '8MiB:unlimited', as: '1.5G:2G', fsize: 1e6}}\n",
	"limits: {ceilings: {inotify_instances: 512, net_namespaces: 1, ptys: 10, msgqueue: 100000}}\n",
	"limits: {cpu_burst: 20ms, cpus: 1, cpu_shares: 200, cpu_reserved: 25%, cpuset: \"0-3,8\", mems: 0, nice: -5, ionice: best-effort:4}\n",
	"limits: {cpu_reserved: 12.5, cpu_idle: false, oom_group: true, memory_soft: 1G, memory_reserved: 1M, memory_low: 2M, memory_idle: 10m, zswap: 1M}\n",
	"limits: {token_bucket: {fill_rate: 1, interval: 4, tokens_min: 15, tokens_max: 500, per_cpu: true, idle_time: true}, hugepages: {2M: 64M}}\n",
	"limits: {io: {weight: 50, latency: 10ms, devices: {/dev/vda: {rbps: 10M, wiops: 100}}}}\n",
	"limits: {memory: 0}\n",
	"limits: {memory: 1048576}\n",
	"rights: {ccaps: ['!secure_mount', VXC_TIOCSTI, '^0', ~remount, all], flags: [lock, igneg_nice, '!virt_time', VXF_INFO_INIT]}\n",
	"rights: {devices: [/dev/fuse rw, /dev/net/tun, c 10:200 rwm, 'b 8:* r']}\n",
	"{network: {mode: private}, rights: {sysctls: {net.core.somaxconn: 1024, kernel.sem: 250 32000 32 128}}}\n",
	"rights: {bcaps: [net_admin, \"!CAP_MKNOD\", \"~sys_boot\", all, \"^12\"], seccomp: default, syscalls: [bpf], nesting: true, no_new_privileges: false}\n",
	"console: {type: log, log_size: 64K}\n",
	"boot: {marks: [default, a.b], depends: [db1, 10]}\n",
	"restart: on-failure\n",
	"hooks: {pre-start: [/etc/hook], post-stop: []}\n",
}

var bad = []string{
	"- a\n",
	"hello\n",
	"xdi: 8\n",
	"limits: {memroy: 1G}\n",
	"limits: {ceilings: {inotify: 5}}\n",
	"limits: {ceilings: {ptys: -1}}\n",
	"limits: 5\n",
	"xid: 1\n",
	"xid: 49152\n",
	"xid: -8\n",
	"xid: [8]\n",
	"xid: many\n",
	"xid: ~\n",
	"hostname: ''\n",
	"hostname: -web\n",
	"hostname: we_b\n",
	"hostname: " + strings.Repeat("a", 64) + "\n",
	"hostname: \"a\\nb\"\n",
	"idbase: 0\n",
	"idbase: \"524288\"\n",
	"idbase: 4294901760\n",
	"userns: public\n",
	"userns: none\nidbase: 524288\n",
	"root: {kind: dir, lower: [bookworm]}\n",
	"root: {kind: dir, shared: [/usr]}\n",
	"root: {lower: [../x]}\n",
	"root: {lower: [a, a]}\n",
	"root: {shared: [/proc]}\n",
	"root: {shared: [/]}\n",
	"root: {shared: [/dev/shm]}\n",
	"root: {shared: [/usr/]}\n",
	"root: {shared: [/usr/../etc]}\n",
	"root: {shared: [usr]}\n",
	"init: {style: command}\n",
	"init: {style: command, command: ~}\n",
	"init: {style: sysv, runlevel: 3, command: [/sbin/rc]}\n",
	"init: {command: []}\n",
	"init: {command: /sbin/init}\n",
	"init: {command: [init]}\n",
	"init: {command: [[/sbin/init]]}\n",
	"init: {runlevel: 3}\n",
	"init: {style: sysv, runlevel: 0}\n",
	"init: {stop_signal: 65}\n",
	"init: {stop_signal: 'a b'}\n",
	"init: {stop_signal: 15, stop_command: [/sbin/halt]}\n",
	"init: {stop_timeout: 0}\n",
	"init: {stop_timeout: -5}\n",
	"init: {stop_timeout: soon}\n",
	"init: {environment: {1A: b}}\n",
	"init: {environment: {A: \"b\\nC=d\"}}\n",
	"init: {environment: [A=b]}\n",
	"network: {mode: bridge}\n",
	"network: {mode: host, addresses: [192.0.2.10/24]}\n",
	"network: {mode: none, addresses: [192.0.2.10/24]}\n",
	"network: {addresses: 192.0.2.10/24}\n",
	"network: {addresses: [192.0.2.10/24 eth0]}\n",
	"network: {addresses: [192.0.2.10/24 dev a/b]}\n",
	"network: {addresses: [192.0.2.10/24 dev]}\n",
	"network: {gateway: 192.0.2.1}\n",
	"network: {table: 0}\n",
	"network: {table: main}\n",
	"network: {flags: [hide_netifs]}\n",
	"network: {ncaps: [net_raw]}\n",
	"network: {lback: localhost}\n",
	"network: {mode: private, flags: [hide_lback]}\n",
	"network: {mode: private, lback: 127.0.8.1}\n",
	"network: {mode: host, gateway: [192.0.2.1]}\n",
	"network: {mode: none, table: 1008}\n",
	"network: {addresses: [192.0.2.10]}\n",
	"network: {mode: private, link: vlan}\n",
	"network: {mode: private, link: macvlan}\n",
	"network: {mode: private, bridge: br0}\n",
	"network: {mode: private, link: bridge, bridge: a/b}\n",
	"network: {mode: private, link: bridge, parent: eth0}\n",
	"network: {mode: host, link: bridge}\n",
	"network: {mode: private, publish: ['80']}\n",
	"network: {mode: private, publish: ['80:80/sctp']}\n",
	"network: {mode: private, publish: ['080:80']}\n",
	"network: {mode: private, dhcp: maybe}\n",
	"network: {addresses: [192.0.2.10/0]}\n",
	"network: {addresses: [192.0.2.10/33]}\n",
	"network: {addresses: [192.0.2.10/24, 192.0.2.10/24]}\n",
	"network: {dns: [resolver]}\n",
	"network: {dns: ['fe80::1%a b']}\n",
	"network: {search: ['exa mple']}\n",
	"limits: {memory: 512}\n",
	"limits: {memory: lots}\n",
	"limits: {cpu_shares: 10001}\n",
	"limits: {cpuset: all}\n",
	"limits: {nice: 20}\n",
	"limits: {ionice: low}\n",
	"limits: {token_bucket: {fill: 1}}\n",
	"limits: {hugepages: {small: 1M}}\n",
	"limits: {io: {devices: {/dev/vda: {rbps: 1}}}}\n",
	"limits: {io: {devices: {vda: {riops: 1}}}}\n",
	"limits: {memory: -1}\n",
	"limits: {cpus: two}\n",
	"limits: {cpus: \"2\"}\n",
	"limits: {cpus: 100000}\n",
	"limits: {cpus: 0.001}\n",
	"limits: {pids: 0}\n",
	"limits: {pids: 1.5}\n",
	"limits: {oom_score_adj: 1001}\n",
	"limits: {rlimits: {files: 1024}}\n",
	"limits: {rlimits: {nofile: some}}\n",
	"limits: {rlimits: {memlock: 64X}}\n",
	"limits: {rlimits: {memlock: -1}}\n",
	"rights: {bcaps: [net_admn]}\n",
	"rights: {ccaps: [secure_mont]}\n",
	"rights: {ccaps: [dev_mount]}\n",
	"rights: {ccaps: ['!audit_control']}\n",
	"rights: {flags: [virt_time]}\n",
	"rights: {flags: [hide_netif]}\n",
	"rights: {flags: ['!lock']}\n",
	"rights: {devices: [/etc/fuse]}\n",
	"rights: {devices: [c 10]}\n",
	"rights: {devices: [/dev/fuse x]}\n",
	"rights: {sysctls: {kernel.pid_max: 5}}\n",
	"rights: {sysctls: {net..core: 5}}\n",
	"rights: {bcaps: [\"^41\"]}\n",
	"rights: {seccomp: strict}\n",
	"rights: {seccomp: none, syscalls: [bpf]}\n",
	"rights: {syscalls: [Bpf]}\n",
	"rights: {nesting: yes}\n",
	"rights: {nesting: 1}\n",
	"console: {type: serial}\n",
	"console: {log_size: 100}\n",
	"boot: {marks: [a b]}\n",
	"boot: {depends: [start]}\n",
	"boot: {depends: [-a]}\n",
	"restart: sometimes\n",
	"hooks: {pre-start: [hook]}\n",
	"hooks: {pre_start: [/etc/hook]}\n",
}

var arithmetic = []string{
	"xid: \"49152\"\n",
	"idbase: 524289\n",
	"init: {stop_signal: SIGFOO}\n",
	"limits: {rlimits: {nofile: \"4096:1024\"}}\n",
	"limits: {memory: \"512\"}\n",
	"limits: {cpu_reserved: 101%}\n",
	"network: {addresses: [192.0.2.0/24]}\n",
	"network: {addresses: [192.0.2.255/24]}\n",
	"network: {mode: private, addresses: [192.0.2.10/24], publish: ['80:80', '80:81']}\n",
	"network: {mode: private, addresses: [192.0.2.10/24], publish: ['[2001:db8::1]:80:80']}\n",
	"network: {mode: private, addresses: [192.0.2.10/24], publish: ['80:192.0.2.11:80']}\n",
	"network: {mode: private, publish: ['90-80:90-80']}\n",
	"network: {mode: private, dhcp: true}\n",
	"network: {addresses: [127.0.0.1/8]}\n",
	"network: {addresses: [192.0.2.10/24 dev eth0 nodev]}\n",
	"network: {addresses: ['2001:db8::1/64 broadcast +']}\n",
	"network: {gateway: [192.0.2.1, 192.0.2.2]}\n",
	"network: {table: 254}\n",
	"network: {lback: 127.0.0.1}\n",
	"network: {addresses: [300.0.2.1/24]}\n",
	"network: {addresses: [192.0.2.10/24, 192.0.2.10/25]}\n",
	"xid: 8\nxid: 9\n",
	"xid: !!int 8\n",
	"a: &a {b: c}\nlimits: {<<: *a}\n",
}

func TestVerdicts(t *testing.T) {
	check := validator(t)
	for _, text := range good {
		if _, err := settings.Parse("x.yaml", []byte(text)); err != nil {
			t.Errorf("Parse refuses %q: %v", text, err)
		}
		if err := check(text); err != nil {
			t.Errorf("schema refuses %q: %v", text, err)
		}
	}
	for _, text := range bad {
		if _, err := settings.Parse("x.yaml", []byte(text)); err == nil {
			t.Errorf("Parse takes %q", text)
		}
		if err := check(text); err == nil {
			t.Errorf("schema takes %q", text)
		}
	}
	for _, text := range arithmetic {
		if _, err := settings.Parse("x.yaml", []byte(text)); err == nil {
			t.Errorf("Parse takes %q", text)
		}
	}
}

// FuzzSchema looks for a text that Parse takes and the schema refuses.
func FuzzSchema(f *testing.F) {
	for _, list := range [][]string{good, bad, arithmetic} {
		for _, text := range list {
			f.Add(text)
		}
	}
	check := validator(f)
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := settings.Parse("x.yaml", []byte(text)); err != nil {
			return
		}
		if err := check(text); err != nil {
			t.Errorf("Parse takes what the schema refuses: %v", err)
		}
	})
}

func validator(t testing.TB) func(text string) error {
	t.Helper()
	text, err := JSON()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return func(text string) error {
		var v any
		if err := yaml.Unmarshal([]byte(text), &v); err != nil {
			return err
		}
		if v == nil {
			v = map[string]any{}
		}
		// As an editor's schema checker sees it: by way of JSON.
		asJSON, err := json.Marshal(v)
		if err != nil {
			return err
		}
		inst, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
		if err != nil {
			return err
		}
		return s.Validate(inst)
	}
}
