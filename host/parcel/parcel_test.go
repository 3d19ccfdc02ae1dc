package parcel

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"vserver/guest"
	"vserver/pool"
	"vserver/stack"
)

// labelOf writes a label as a stranger might.
func labelOf(t *testing.T, l any) io.Reader {
	t.Helper()
	text, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := putFile(&b, labelName, text); err != nil {
		t.Fatal(err)
	}
	return &b
}

// TestLabel refuses labels that no export writes.
func TestLabel(t *testing.T) {
	const id, digest = "0123456789abcdef", "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	good := func() Label {
		return Label{
			Version: version, Guest: "web1", Layers: []string{id},
			Images:    []Image{{Name: "a@1", Meta: pool.Meta{Digest: digest}}},
			Snapshots: []stack.Snapshot{{Name: "s", ID: id, Stack: []string{id + " 0"}}},
		}
	}
	if l, err := readLabel(labelOf(t, good())); err != nil || l.Guest != "web1" {
		t.Errorf("%+v, %v", l, err)
	}
	for what, spoil := range map[string]func(*Label){
		"a layer up":             func(l *Label) { l.Layers[0] = "../../../../etc" },
		"a layer twice":          func(l *Label) { l.Layers = append(l.Layers, id) },
		"many layers":            func(l *Label) { l.Layers = make([]string, 65) },
		"an image up":            func(l *Label) { l.Images[0].Name = "../x" },
		"an image without sum":   func(l *Label) { l.Images[0].Meta.Digest = "" },
		"an image's escapes":     func(l *Label) { l.Images[0].Meta.Source = "\x1b[2J" },
		"a snapshot up":          func(l *Label) { l.Snapshots[0].Name = "../x" },
		"a snapshot's layer":     func(l *Label) { l.Snapshots[0].Stack[0] = "fedcba9876543210 0" },
		"a snapshot's odd layer": func(l *Label) { l.Snapshots[0].Stack[0] = "../x 0" },
		"a snapshot's id":        func(l *Label) { l.Snapshots[0].ID = "x" },
	} {
		l := good()
		spoil(&l)
		if _, err := readLabel(labelOf(t, l)); !errors.Is(err, ErrForeign) {
			t.Errorf("%s: %v", what, err)
		}
	}
	later := good()
	later.Version++
	if _, err := readLabel(labelOf(t, later)); err == nil || errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), "version 2 of the format") {
		t.Errorf("a later version: %v", err)
	}
	for _, text := range []string{"", "x", strings.Repeat("x", 2000)} {
		if _, err := readLabel(strings.NewReader(text)); !errors.Is(err, ErrForeign) {
			t.Errorf("%.5q: %v", text, err)
		}
	}
}

// TestAsks names what gives a guest more of the host, and nothing of an ordinary one.
func TestAsks(t *testing.T) {
	plain := guest.Spec{
		XID: 9, Root: guest.Root{Lower: []string{"bookworm@1"}}, Mounts: []guest.Mount{{Source: "data", Target: "/srv", Type: guest.MountVolume}},
		Limits: guest.Limits{Memory: 1 << 30, Nice: 5}, Rights: guest.Rights{NoNewPrivileges: true},
	}
	if got := Asks(&plain); got != "" {
		t.Errorf("an ordinary guest: %s", got)
	}
	for want, change := range map[string]func(*guest.Spec){
		"userns":      func(s *guest.Spec) { s.Userns = guest.UsernsNone },
		"root.lower":  func(s *guest.Spec) { s.Root.Lower = append(s.Root.Lower, "/etc") },
		"root.shared": func(s *guest.Spec) { s.Root.Shared = []string{"/usr"} },
		"mounts": func(s *guest.Spec) {
			s.Mounts = append(s.Mounts, guest.Mount{Source: "/etc", Target: "/x", Type: guest.MountBind})
		},
		"network.mode":         func(s *guest.Spec) { s.Network.Mode = guest.NetHost },
		"network.link":         func(s *guest.Spec) { s.Network.Link = guest.LinkBridge },
		"rights.bcaps":         func(s *guest.Spec) { s.Rights.Bcaps = []string{"SYS_ADMIN"} },
		"rights.nesting":       func(s *guest.Spec) { s.Rights.Nesting = true },
		"rights.cgroup1":       func(s *guest.Spec) { s.Rights.Cgroup1 = true },
		"limits.oom_score_adj": func(s *guest.Spec) { s.Limits.OOMScoreAdj = -1000 },
		"hooks":                func(s *guest.Spec) { s.Hooks.PostStop = []string{"/tmp/x"} },
	} {
		s := plain
		change(&s)
		if got := Asks(&s); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
