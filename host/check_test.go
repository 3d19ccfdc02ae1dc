package host

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"vserver/guest"
	"vserver/internal/need"
	"vserver/kernel/probe"
	"vserver/sysctl"
)

func TestCheck(t *testing.T) {
	need.Overlay(t)
	h := Open(need.Dirs(t))
	r, err := h.Check()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Err(); err != nil {
		t.Errorf("this kernel: %v", err)
	}
	if len(r.Features) < 20 || len(r.Settings) < 15 {
		t.Errorf("%d features, %d settings", len(r.Features), len(r.Settings))
	}
	for _, f := range r.Features {
		if f.State == probe.Unknown {
			t.Errorf("%s is unknown to root", f.Name)
		}
	}
	for _, s := range r.Settings {
		if s.Name == "net.ipv4.ip_forward" {
			t.Error("no guest is private, and the host should be a router")
		}
	}
	if _, err := os.Stat(h.Dirs.Data); err == nil {
		t.Error("checking made the guests' directory")
	}
}

func TestCheckPrivate(t *testing.T) {
	need.Root(t)
	h := Open(need.Dirs(t))
	if err := os.MkdirAll(h.Dirs.Config, 0o755); err != nil {
		t.Fatal(err)
	}
	spec := "xid: 8\nnetwork:\n  mode: private\n  addresses: [192.0.2.1/24]\n"
	if err := os.WriteFile(h.Dirs.Spec("web1"), []byte(spec), 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := h.Check()
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, s := range r.Settings {
		found = found || s.Name == "net.ipv4.ip_forward"
	}
	if !found {
		t.Error("a guest is private, and nobody looks at forwarding")
	}
}

func TestCheckMissing(t *testing.T) {
	need.Root(t)
	t.Setenv(WithoutVar, "seccomp,time-namespaces,cgroup-kill")
	r, err := Open(need.Dirs(t)).Check()
	if err != nil {
		t.Fatal(err)
	}
	err = r.Err()
	if !errors.Is(err, guest.ErrUnsupported) || err.Error() != "cgroup-kill, seccomp: "+guest.ErrUnsupported.Error() {
		t.Errorf("error %v", err)
	}
}

// What cannot be set is said, and nothing is noted of it; what needs a human hand is
// left alone.
func TestFixSaysWhatItCannot(t *testing.T) {
	h := Open(need.Dirs(t))
	r := &Report{Settings: []sysctl.Setting{
		{Name: "no.such.setting", Value: "1", Wanted: "2"},
		{Name: "RLIMIT_NOFILE", Value: "1", Wanted: "2", Hint: "by hand"},
		{Name: "kernel.pid_max", Value: "9", Wanted: "8", OK: true},
	}}
	changes, err := r.Fix(h.Dirs)
	if err != nil || len(changes) != 1 || changes[0].Name != "no.such.setting" || changes[0].Err == nil {
		t.Errorf("changes %+v, %v", changes, err)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(h.Dirs.Config), "sysctl.d")); err == nil {
		t.Error("noted though nothing was set")
	}
}
