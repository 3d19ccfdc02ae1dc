package host

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vserver/fault"
	"vserver/guest"
	"vserver/internal/need"
	"vserver/kernel/file"
	"vserver/store"
)

// specs makes a host of guests that have specs and nothing else.
func specs(t *testing.T, texts map[guest.Name]string) *Host {
	t.Helper()
	h := Open(need.Dirs(t))
	if err := os.MkdirAll(h.Dirs.Config, 0o755); err != nil {
		t.Fatal(err)
	}
	for n, text := range texts {
		if err := os.WriteFile(h.Dirs.Spec(n), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func TestConfig(t *testing.T) {
	need.Root(t)
	text := "# mine\nxid: 12\nnetwork:\n  addresses: [192.0.2.10/24]\n"
	h := specs(t, map[guest.Name]string{"web1": text, "bad": "xid: no\n"})
	for key, want := range map[string]string{
		"": strings.TrimSuffix(text, "\n"), "xid": "12", "hostname": "web1", "idbase": "786432", "network.mode": "shared",
		"network.addresses": "- 192.0.2.10/24", "limits.pids": "4096", "init.stop_timeout": "1m30s", "init.stop_signal": "",
		"network.dns": "", "boot": "marks: []\ndepends: []", "limits.rlimits": "", "rights.nesting": "false", "init.command": "- /sbin/init",
	} {
		if got, err := h.Config("web1", key); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", key, got, err, want)
		}
	}
	for key, want := range map[string]string{
		"limits.memroy":         "web1: config: limits.memroy: no such key; did you mean memory?",
		"limits.rlimits.nofile": "web1: config: limits.rlimits.nofile: is not set",
	} {
		if _, err := h.Config("web1", key); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", key, err)
		}
	}
	if _, err := h.Config("web2", "xid"); !errors.Is(err, guest.ErrNotFound) || err.Error() != "web2: config: no such guest" {
		t.Errorf("no guest: %v", err)
	}
	if _, err := h.Config("bad", "xid"); !errors.Is(err, guest.ErrInvalid) || !strings.Contains(err.Error(), "bad.yaml:1:6: ") {
		t.Errorf("a wrong spec: %v", err)
	}
}

func TestSet(t *testing.T) {
	need.Root(t)
	h := specs(t, map[guest.Name]string{
		"web1": "# mine\nxid: 12 # ours\n", "db1": "xid: 13\nhostname: db\nnetwork:\n  addresses: [192.0.2.13/24]\nboot: {depends: [web1]}\n", "bad": "xid: no\n"})
	c, err := h.Set("web1", []string{"limits.memory=512M", "network.addresses+=192.0.2.10/24", "hostname=db"})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.Paths, []string{"hostname", "network.addresses", "limits.memory"}) || len(c.Restart) > 0 {
		t.Errorf("%+v", c)
	}
	if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0].Error(), "host name db is guest db1's") {
		t.Errorf("warnings: %v", c.Warnings)
	}
	path := h.Dirs.Spec("web1")
	want := "# mine\nxid: 12 # ours\nlimits:\n  memory: 512M\nnetwork:\n  addresses: [192.0.2.10/24]\nhostname: db\n"
	if got := read(t, path); got != want {
		t.Errorf("%s", got)
	}
	// What is refused leaves the file as it is, and says where.
	for change, text := range map[string]string{
		"xid=13":                           path + ":2:6: xid: number 13 is guest db1's",
		"network.addresses+=192.0.2.13/24": path + ":6:30: network.addresses[1]: 192.0.2.13 is guest db1's",
		"boot.depends=db1":                 path + ":10:13: boot.depends[0]: guests wait for each other: web1 -> db1 -> web1",
		"boot.depends=db2":                 path + ":10:13: boot.depends[0]: there is no guest db2",
		"limits.memory=5":                  path + ":4:11: limits.memory: 5: is too few bytes",
		"limits.memroy=5G":                 "limits.memroy: no such key",
		"rights.syscalls=bpf,fsopn":        path + ":10:13: rights.syscalls: system call \"fsopn\": not known; did you mean fsopen?",
		"network.mode=host":                path + ":6:14: network.addresses: have no meaning with mode: host",
	} {
		_, err := h.Set("web1", []string{"restart=always", change})
		if !errors.Is(err, guest.ErrInvalid) || !strings.HasPrefix(err.Error(), "web1: set: "+text) {
			t.Errorf("%s: %v\nwant %s", change, err, text)
		}
		if got := read(t, path); got != want {
			t.Errorf("%s changed the file:\n%s", change, got)
		}
	}
	if _, err := h.Set("web2", []string{"restart=always"}); !errors.Is(err, guest.ErrNotFound) {
		t.Errorf("no guest: %v", err)
	}
	if _, err := h.Set("bad", []string{"xid=14"}); err != nil {
		t.Errorf("mending: %v", err)
	}
}

// TestEdit takes a whole text by the same rules.
func TestEdit(t *testing.T) {
	need.Root(t)
	h := specs(t, map[guest.Name]string{"web1": "xid: no\n", "db1": "xid: 13\n"})
	for text, want := range map[string]string{
		"xid: 13\n":            ":1:6: xid: number 13 is guest db1's",
		"xid: 12\nlimit: {}\n": ":2:1: limit: no such key; did you mean limits?",
	} {
		if _, err := h.Edit("web1", []byte(text)); err == nil || err.Error() != "web1: edit: "+h.Dirs.Spec("web1")+want {
			t.Errorf("%v", err)
		}
	}
	text := "# now right\nxid: 12\n"
	if c, err := h.Edit("web1", []byte(text)); err != nil || read(t, h.Dirs.Spec("web1")) != text || !slices.Equal(c.Paths, []string{"xid"}) {
		t.Errorf("%+v, %v", c, err)
	}
}

// TestSetOfABuiltGuest keeps what its files depend on, and writes its new names into
// them.
func TestSetOfABuiltGuest(t *testing.T) {
	need.Root(t)
	h := Open(need.Dirs(t))
	mustBuild(t, h, "web1", guest.Spec{Network: guest.Network{Addresses: []guest.Address{{Prefix: netip.MustParsePrefix("192.0.2.10/24")}}}})
	defer h.Delete(t.Context(), "web1", DeleteOptions{})
	for change, want := range map[string]string{
		"xid=9":         "xid: the guest's files belong to ids from 524288",
		"xid=":          "xid: must stay, now that the guest has its files; it is 8",
		"idbase=589824": "idbase: must stay 524288",
		"userns=none":   "userns: must stay private",
	} {
		_, err := h.Set("web1", []string{change})
		if !errors.Is(err, guest.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", change, err)
		}
		if change == "xid=9" && fault.HintOf(err) != "keep its ids: vserver web1 set xid=9 idbase=524288" {
			t.Errorf("hint: %s", fault.HintOf(err))
		}
	}
	if _, err := h.Set("web1", []string{"xid=9", "idbase=524288", "hostname=shop.example.org", "network.dns=192.0.2.53"}); err != nil {
		t.Fatal(err)
	}
	upper := filepath.Join(h.Dirs.Guest("web1"), "upper")
	if got := read(t, upper+"/etc/hostname"); got != "shop.example.org\n" {
		t.Errorf("hostname: %q", got)
	}
	if got := read(t, upper+"/etc/resolv.conf"); !strings.Contains(got, "nameserver 192.0.2.53") {
		t.Errorf("resolv.conf: %q", got)
	}
	if there, _ := file.Exists(filepath.Join(h.Dirs.Guest("web1"), "stale")); there {
		t.Error("the mark is left")
	}
	records, err := store.Records(h.Dirs)
	if err != nil || len(records) != 2 || records[1] != (store.Record{XID: 9, IDBase: 524288, Name: "web1"}) {
		t.Errorf("%v, %v", records, err)
	}
}
