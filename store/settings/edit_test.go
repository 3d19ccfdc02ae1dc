package settings

import (
	"errors"
	"math/rand"
	"reflect"
	"slices"
	"strings"
	"testing"

	"vserver/fault"
	"vserver/guest"
)

// samples are values for every key, as a command line gives them.
func samples() map[string][]string {
	argv := []string{"[/bin/a]", "[/bin/b, '-c', 'x, y']", `["/bin/c", "#", "a: b", "\"", "ä", 5, true]`}
	paths := []string{"/etc/h1", "/etc/h1,/etc/h2", "[/etc/h3, /etc/h1, /etc/h2]"}
	return map[string][]string{
		"xid": {"8", "12", "40000"}, "hostname": {"web1", "a.example.org", "7"}, "idbase": {"524288"},
		"userns": {"private", "none"}, "root.kind": {"overlay", "dir"},
		"root.lower": {"bookworm", "a,b,c", "[c, a]", "[]", "debian:12"}, "root.shared": {"/usr", "/usr, /opt"},
		"init.style": {"plain", "sysv", "command"}, "init.command": argv, "init.stop_command": argv, "init.runlevel": {"3", "S"},
		"init.environment": {"{A: b}", "{A: '1', B: 2, C: \"x # y\"}", "{}"}, "init.environment.FOO": {"bar", "a # b", "yes", "1.10", "null", "{x}"},
		"init.environment.LANG": {"C.UTF-8"}, "init.stop_signal": {"SIGTERM", "RTMIN+3", "15"}, "init.stop_timeout": {"30", "1m30s"},
		"network.mode": {"private", "shared", "host", "none"}, "network.dns": {"192.0.2.53", "[2001:db8::53, '192.0.2.53']", "[]"},
		"network.addresses": {"192.0.2.10/24", "192.0.2.10/24 dev eth0 name web, 192.0.2.11/24 nodev", "192.0.2.11/24,2001:db8::1/64", "[2001:db8::1/64, 192.0.2.10/24, 192.0.2.12/24]", "[]"},
		"network.search":    {"example.org", "a.org, b.org"}, "network.netns": {"dmz", "vpn.1"},
		"network.gateway": {"192.0.2.1", "[192.0.2.1, 2001:db8::1]"}, "network.table": {"1008", "5"}, "network.lback": {"127.0.8.1"},
		"network.sockets": {"100", "0"}, "network.connections": {"50"},
		"network.flags": {"single_ip", "'!hide_lback'", "lback_allow,~lback_remap"}, "network.ncaps": {"multicast", "tun_create,broadcast"},
		"network.link": {"bridge", "routed"}, "network.bridge": {"br0"}, "network.parent": {"eth0"}, "network.dhcp": {"true"},
		"network.publish":     {"8080:80/tcp", "8080:80, 198.51.100.1:53:53/udp", "[2001:db8::1]:81:80, 8081:80", "['[2001:db8::1]:80:80/tcp', '1-9:192.0.2.1:11-19/udp']", "[]"},
		"network.firewall":    {"allow in tcp from 10.0.0.0/8 port 22,80-90, deny all", `["deny out udp port 53,5353"]`, "[]"},
		"network.egress.rate": {"100M", "64000"}, "network.egress.reserved": {"1.5M"}, "network.egress.share": {"10", "25"},
		"network.ingress.rate": {"1G", "100Mbit"},
		"limits.memory":        {"512M", "1.5G", "0"}, "limits.swap": {"1G"}, "limits.cpus": {"1.5", "2"}, "limits.pids": {"100"}, "limits.oom_score_adj": {"-500", "0"},
		"limits.disk": {"10G", "1.5T"}, "limits.inodes": {"500k", "1000000"},
		"limits.cpu_burst": {"20ms"}, "limits.cpu_shares": {"200"}, "limits.cpu_reserved": {"25%", "12.5"}, "limits.cpu_idle": {"true"},
		"limits.cpuset": {"0-3,8", "0"}, "limits.mems": {"0"}, "limits.nice": {"-5"}, "limits.ionice": {"idle", "best-effort:2"},
		"limits.token_bucket.fill_rate": {"1"}, "limits.token_bucket.interval": {"4"}, "limits.token_bucket.tokens_min": {"15"},
		"limits.token_bucket.tokens_max": {"500"}, "limits.token_bucket.per_cpu": {"true"}, "limits.token_bucket.idle_time": {"true"},
		"limits.memory_soft": {"1G"}, "limits.memory_reserved": {"1M"}, "limits.memory_low": {"1M"}, "limits.memory_idle": {"10m"}, "limits.zswap": {"5M"},
		"limits.hugepages": {"{2M: 64M, 1G: 1G}"}, "limits.hugepages.2M": {"64M"}, "limits.oom_group": {"true"},
		"limits.io.weight": {"50"}, "limits.io.latency": {"10ms"}, "limits.io.devices": {"{/dev/vda: {rbps: 10M, wiops: 100}}"},
		"limits.io.devices./dev/vda": {"{rbps: 10M, wiops: 100}", "{riops: 5}"}, "limits.io.devices./dev/disk/by-id/a.b.wbps": {"5M"},
		"limits.rlimits": {"{nofile: '1024:4096', core: unlimited}"}, "limits.rlimits.nproc": {"100", "1:2"}, "limits.rlimits.core": {"0"},
		"limits.ceilings": {"{ptys: 100, inotify_watches: 5000}"}, "limits.ceilings.msgqueue": {"100000", "0"},
		"rights.bcaps": {"net_admin", "'!mknod'", "!kill,~setuid", "[^12]"}, "rights.seccomp": {"none", "default"},
		"rights.ccaps": {"tiocsti", "[~secure_mount, '!set_utsname']"}, "rights.flags": {"igneg_nice,private", "prolific"},
		"mounts":         {"/srv/data /data bind ro, data /srv/vol", "tmpfs /tmp tmpfs nosuid,size=1M,mode=1777", `["tmpfs /tmp tmpfs size=1M,mode=1777"]`, "[]"},
		"init.user":      {"nobody", "33:33"},
		"view.flags":     {"virt_mem,virt_cpu", "[virt_mem, '!virt_load']"},
		"rights.devices": {"/dev/fuse rw", "/dev/fuse r, c 10:200 rwm", "[/dev/loop0]"},
		"rights.sysctls": {"{kernel.shmmax: 1073741824}"}, "rights.sysctls.kernel.sem": {"250 32000 32 128", "250"},
		"rights.syscalls": {"bpf", "bpf,keyctl"}, "rights.nesting": {"true", "false"}, "rights.cgroup1": {"true"}, "rights.personality": {"linux32", "uname26,linux32"}, "rights.no_new_privileges": {"true"},
		"console.type": {"log"}, "console.log_size": {"64K"},
		"boot.marks": {"default", "a,b"}, "boot.depends": {"db1", "db1, db2, 10"}, "restart": {"always", "on-failure"},
		"hooks.initialize": paths, "hooks.prepre-start": paths, "hooks.postpost-stop": paths,
		"root.path": {"/vservers/web1"}, "root.device": {"/dev/vg/web1"}, "root.idmap": {"true"}, "shell": {"/bin/zsh"}, "init.runlevel_stop": {"0", "6"}, "init.kill_sequence": {"TERM", "[TERM, 5, KILL]"},
		"hooks.pre-start": paths, "hooks.post-start": paths, "hooks.pre-stop": paths, "hooks.post-stop": paths,
	}
}

// TestForeignKeys: the words of other tools lead to keys that there are.
func TestForeignKeys(t *testing.T) {
	for word, key := range foreign() {
		if _, err := find(key); err != nil {
			t.Errorf("%s: %v", word, err)
		}
	}
	for path, want := range map[string]string{"limits.nproc": "limits.pids", "limits.as": "limits.rlimits.as", "bcapabilities": "rights.bcaps",
		"limits.cpu": "limits.cpus", "security.nesting": "rights", "limits.memroy": "memory", "dlimits": "limits.disk"} {
		if _, err := Set(nil, path, "1"); err == nil || !strings.Contains(err.Error(), "did you mean "+want+"?") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestSetNone: who asks for no limit by a word is told how.
func TestSetNone(t *testing.T) {
	for value, want := range map[string]string{"unlimited": "vserver NAME set limits.memory=", "none": "vserver NAME set limits.memory=", "much": ""} {
		if _, err := Set(nil, "limits.memory", value); err == nil || !strings.HasSuffix(fault.HintOf(err), want) || want == "" && fault.HintOf(err) != "" {
			t.Errorf("%s: %v (%s)", value, err, fault.HintOf(err))
		}
	}
}

// TestSetOfEntry changes one bound of a device, and refuses to take away what cannot be
// there under that name.
func TestSetOfEntry(t *testing.T) {
	const key = "limits.io.devices./dev/vda"
	text, _, err := Apply("f", nil, []string{key + "={rbps: 10M, wbps: 5M}", key + ".riops=7", key + ".wbps="})
	if err != nil {
		t.Fatal(err)
	}
	spec := decoded(text)
	if want := map[string]guest.IODevice{"/dev/vda": {RBPS: 10 << 20, RIOPS: 7}}; !reflect.DeepEqual(spec.Limits.IO.Devices, want) {
		t.Errorf("%v, want %v", spec.Limits.IO.Devices, want)
	}
	for path, want := range map[string]string{key: "rbps: 10M\nwbps: 0\nriops: 7\nwiops: 0", key + ".riops": "7"} {
		if got, err := Get(spec, path); got != want || err != nil {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
	if _, err := Get(spec, "limits.io.devices./dev/vdb.riops"); !errors.Is(err, guest.ErrInvalid) {
		t.Errorf("a bound of a device without any: %v", err)
	}
	if text, _, err = Apply("f", text, []string{key + ".rbps=", key + ".riops="}); err != nil || decoded(text).Limits.IO.Devices != nil {
		t.Errorf("without the last bound: %v in\n%s", err, text)
	}
	for _, c := range []string{"limits.rlimits.nofiles=", "limits.ceilings.pty=", "limits.hugepages.3M=", "rights.sysctls.kernel.panic="} {
		if _, _, err := Apply("f", nil, []string{c}); !errors.Is(err, guest.ErrInvalid) {
			t.Errorf("%s: %v", c, err)
		}
		if _, err := Get(spec, c[:len(c)-1]); err == nil || strings.Contains(err.Error(), "is not set") {
			t.Errorf("%s: %v", c, err)
		}
	}
	if _, _, err := Apply("f", []byte("limits: {rlimits: {nofiles: 1}}\n"), []string{"limits.rlimits.nofiles="}); err != nil {
		t.Errorf("a wrong name that is there: %v", err)
	}
}

func TestSamples(t *testing.T) {
	all := samples()
	for _, k := range Keys() {
		if !k.Section && all[k.Path] == nil {
			t.Errorf("%s: no sample", k.Path)
		}
	}
}

// TestSetEach sets every key to every sample in files of three kinds, reads it back,
// takes it away again, and finds the file's own settings as they were.
func TestSetEach(t *testing.T) {
	ours := string(Render("web1", mustParse(t, web1)))
	for _, text := range []string{"", "# empty\n", web1, ours, "{xid: 12, limits: {memory: 1G}} # in one line\n"} {
		for path, values := range samples() {
			for _, value := range values {
				if (path == "rights.bcaps" || path == "network.flags") && value[0] == '\'' {
					continue // quotes are the shell's outside of brackets
				}
				out, err := Set([]byte(text), path, value)
				if err != nil {
					t.Errorf("%s=%s: %v in\n%s", path, value, err, text)
					continue
				}
				to, _ := find(path)
				w, _ := to.wanted(value)
				spec := decoded(out)
				if got := to.of(spec); !got.IsValid() || !same(got, w.value) {
					t.Errorf("%s=%s: reads %v", path, value, got)
				}
				back, err := Set(out, path, "")
				if err != nil {
					t.Errorf("%s=: %v in\n%s", path, err, out)
					continue
				}
				before := decoded([]byte(text))
				if to.put(before, reflect.Value{}); meaning(before) != meaning(decoded(back)) {
					t.Errorf("%s=%s and away again gives\n%s\nfrom\n%s", path, value, back, text)
				}
				if text == ours && !strings.Contains(string(out), "\n\n# ") {
					t.Errorf("%s: descriptions are gone:\n%s", path, out)
				}
			}
		}
	}
}

func same(a, b reflect.Value) bool {
	if a.Kind() == reflect.Slice || a.Kind() == reflect.Map {
		return a.Len() == 0 && b.Len() == 0 || reflect.DeepEqual(a.Interface(), b.Interface())
	}
	return reflect.DeepEqual(a.Interface(), b.Interface())
}

func mustParse(t testing.TB, text string) *guest.Spec {
	t.Helper()
	spec, err := Parse("web1.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

func decoded(text []byte) *guest.Spec {
	root, _ := tree("", text)
	spec := new(guest.Spec)
	decode(root, spec)
	return spec
}

// TestUnsetUndoes gives back the very bytes of a file of ours, with its descriptions.
func TestUnsetUndoes(t *testing.T) {
	ours := string(Render("web1", mustParse(t, web1)))
	for _, path := range []string{"rights.seccomp", "limits.pids", "network.dns", "userns", "hooks.pre-start", "init.environment.B"} {
		value := "x"
		if list := samples()[path]; list != nil {
			value = list[0]
		}
		out, err := Set([]byte(ours), path, value)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if !strings.Contains(string(out), value) {
			t.Errorf("%s is not there:\n%s", path, out)
		}
		if back, err := Set(out, path, ""); err != nil || string(back) != ours {
			t.Errorf("%s set and unset: %v\n%s", path, err, back)
		}
	}
}

// TestEdits holds the exact outcome for a file such as people write.
func TestEdits(t *testing.T) {
	const before = `# the shop's front
xid: 12
root:
  lower: [bookworm] # the image
network:
  # ours
  addresses:
    - 192.0.2.10/24 # first
    - 2001:db8::10/64 # second
    # third
limits:
  # cpus: 1
init: {style: plain, environment: {A: b}} # x

boot:
    depends: [ db1,
      db2 ] # d
restart: on-failure # r`
	for change, want := range map[string][2]string{
		"xid=13":                                {"xid: 12", "xid: 13"},
		"restart=":                              {"restart: on-failure # r", "# r\n"},
		"restart=always":                        {"restart: on-failure # r", "restart: always # r"},
		"limits.memory=512M":                    {"  # cpus: 1\n", "  # cpus: 1\n  memory: 512M\n"},
		"limits.rlimits.nofile=1024":            {"  # cpus: 1\n", "  # cpus: 1\n  rlimits:\n    nofile: 1024\n"},
		"console.type=log":                      {"# r", "# r\nconsole:\n  type: log\n"},
		"network.mode=private":                  {"    # third\n", "    # third\n  mode: private\n"},
		"network.addresses+=192.0.2.11/24":      {"# second\n", "# second\n    - 192.0.2.11/24\n"},
		"network.addresses+=192.0.2.10/24":      {"xid", "xid"},
		"network.addresses-=192.0.2.10/24":      {"    - 192.0.2.10/24 # first\n", "    # first\n"},
		"network.addresses=2001:db8::10/64":     {"    - 192.0.2.10/24 # first\n", "    # first\n"},
		"network.addresses=[]":                  {"  addresses:\n    - 192.0.2.10/24 # first\n    - 2001:db8::10/64 # second\n", "  # first\n  addresses: [] # second\n"},
		"network=":                              {"network:\n  # ours\n  addresses:\n    - 192.0.2.10/24 # first\n    - 2001:db8::10/64 # second\n", "# ours\n# first\n# second\n"},
		"root.lower=trixie,bookworm":            {"[bookworm]", "[trixie, bookworm]"},
		"root.lower+=site":                      {"[bookworm]", "[bookworm, site]"},
		"root.lower=":                           {"root:\n  lower: [bookworm] # the image\n", "root:\n  # the image\n"},
		"init.environment.C=d e":                {"{A: b}", "{A: b, C: d e}"},
		"init.environment.C=3":                  {"{A: b}", "{A: b, C: \"3\"}"},
		"init.environment.A=":                   {"{A: b}", "{}"},
		"init.environment=":                     {", environment: {A: b}", ""},
		"init.style=":                           {"style: plain, ", ""},
		"init.stop_timeout=2m":                  {"{A: b}}", "{A: b}, stop_timeout: 2m}"},
		"boot.depends-=db1":                     {"[ db1,\n      db2 ]", "[ \n      db2 ]"},
		"boot.depends=db3":                      {"[ db1,\n      db2 ]", "[db3]"},
		"boot.depends=":                         {"    depends: [ db1,\n      db2 ] # d\n", "    # d\n"},
		"boot.marks=default":                    {"db2 ] # d\n", "db2 ] # d\n    marks: [default]\n"},
		"hooks.pre-start=[/bin/a,\"/bin/b c\"]": {"# r", "# r\nhooks:\n  pre-start: [/bin/a, /bin/b c]\n"},
	} {
		text := strings.Replace(before, want[0], want[1], 1)
		got, _, err := Apply("web1.yaml", []byte(before), []string{change})
		if err != nil {
			t.Errorf("%s: %v", change, err)
		} else if string(got) != text {
			t.Errorf("%s gives\n%s\nwant\n%s", change, got, text)
		}
	}
}

func TestApply(t *testing.T) {
	text := []byte("init: {style: plain}\n")
	out, paths, err := Apply("a.yaml", text, []string{"init.style=command", "init.command=/bin/a", "limits.memory = 1G"})
	if err != nil || string(out) != "init: {style: command, command: [/bin/a]}\nlimits:\n  memory: 1G\n" ||
		!slices.Equal(paths, []string{"init.style", "init.command", "limits.memory"}) {
		t.Errorf("%q %q %v", out, paths, err)
	}
	if _, _, err := Apply("a.yaml", []byte("a:\n  b: [\n"), []string{"xid=8"}); err == nil || !strings.HasPrefix(err.Error(), "a.yaml:") {
		t.Errorf("no YAML: %v", err)
	}
	if _, err := Set([]byte("a:\n  b: [\n"), "xid", "8"); err == nil || !strings.HasPrefix(err.Error(), "line ") {
		t.Errorf("no YAML: %v", err)
	}
	for change, want := range map[string]string{
		"limits.memory":              `"limits.memory": want KEY=VALUE`,
		"limits.memroy=1G":           "limits.memroy: no such key; did you mean memory?",
		"memory=1G":                  "memory: no such key here; did you mean limits.memory?",
		"limits=1G":                  "limits: is a section; set one of its keys",
		"=1":                         "want the path of a key",
		"limits.=1":                  "limits.: ends with a dot",
		"limits.memory.x=1":          "limits.memory: has no keys below it",
		"limits.memory=lots":         `limits.memory: size "lots": want a number`,
		"limits.memory=1":            "a.yaml:3:11: limits.memory: 1: is too few bytes",
		"limits.pids=0":              `limits.pids: "0" is no value`,
		"limits.pids=\"5\"":          `limits.pids: "\"5\"": want a whole number`,
		"limits.pids+=5":             "limits.pids: is no list; write limits.pids=VALUE",
		"limits.rlimits=5":           "limits.rlimits: set one entry, as limits.rlimits.NAME=VALUE",
		"limits.rlimits={a":          `limits.rlimits: "{a": `,
		"init.environment.A=a\nb":    "has a control character",
		"init.style=command":         "a.yaml:1:1: init.command: style command needs it",
		"userns=privat":              "userns: \"privat\": want private, none; did you mean private?",
		"network.dns-=192.0.2.1":     `network.dns: "192.0.2.1" is not in the list`,
		"network.addresses=10.0.0.1": "as 10.0.0.1/32",
		"network.addresses=[10.0.0.1/8, 10.0.0.1/8]": "network.addresses[1]: 10.0.0.1/8: is there twice",
		"boot.depends=a": "a guest cannot depend on itself",
	} {
		out, _, err := Apply("a.yaml", text, []string{change})
		if !errors.Is(err, guest.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s\n%s", change, err, want, out)
		}
	}
}

// TestUnchangeable refuses to touch what is written too cleverly, and says what to do.
func TestUnchangeable(t *testing.T) {
	for text, change := range map[string]string{
		"root: {lower: &l [a]}\nboot: {marks: *l}\n":                    "root.lower+=b",
		"limits: {pids: 5}\n? [rights]\n: {nesting: true}\n":            "rights.nesting=false",
		"init: {environment: {A: b, C: \"x\n y\", D: [1,\n2]}}\n":       "init.environment.A=c",
		"init:\n  environment:\n    A: |2-\n      x\n    B: y\n":        "init.environment.A=c",
		"boot: {marks: [a]}\nnetwork: {search: [b: c, d]}\nhooks: *x\n": "boot.marks+=b",
	} {
		out, _, err := Apply("a.yaml", []byte(text), []string{change})
		if !errors.Is(err, guest.ErrInvalid) {
			t.Errorf("%s: %v\n%s", change, err, out)
		}
	}
	_, err := Set([]byte("root: {lower: &l [a]}\nboot: {marks: *l}\n"), "root.lower", "b,c")
	if !strings.Contains(fault.HintOf(err), "vserver NAME edit") {
		t.Errorf("%v: no hint", err)
	}
}

// FuzzSet changes any text at all: never a panic, and what comes out says what it should.
func FuzzSet(f *testing.F) {
	for i, change := range []string{"limits.memory=1G", "network.addresses+=192.0.2.1/24", "init.environment.A=b", "boot.depends=", "root.lower-=bookworm"} {
		f.Add([]byte(web1), change)
		f.Add([]byte((&layouts{Rand: rand.New(rand.NewSource(int64(i)))}).spec()), change)
	}
	f.Add([]byte("{a: &x {b: c}, limits: *x}"), "limits.memory=1G")
	f.Add([]byte("init:\n  environment:\n    A: >-\n      b\n\n# c\n"), "init.environment.A=")
	f.Fuzz(func(t *testing.T, text []byte, change string) {
		out, paths, err := Apply("a.yaml", text, []string{change})
		if err != nil {
			return
		}
		spec, err := Parse("a.yaml", out)
		if err != nil {
			t.Fatalf("%q gives a wrong text: %v\n%s", change, err, out)
		}
		if _, err := Get(spec, paths[0]); err != nil && !strings.HasSuffix(change, "=") {
			t.Fatalf("%q: %v", change, err)
		}
	})
}

func BenchmarkSet(b *testing.B) {
	for b.Loop() {
		if _, err := Set([]byte(web1), "limits.memory", "1G"); err != nil {
			b.Fatal(err)
		}
	}
}
