package isolation_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vserver/guest"
	"vserver/host"
	"vserver/internal/need"
	"vserver/isolation"
	"vserver/isolation/attack"
	"vserver/kernel/cgroup"
)

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == attack.Name {
		os.Exit(attack.Main(os.Args[1:], os.Stdin, os.Stdout))
	}
	need.Main(m)
}

// TestNothingComesOff runs all attacks in guests of each kind.
func TestNothingComesOff(t *testing.T) {
	for _, o := range []isolation.Options{
		{Mode: guest.NetShared}, {Mode: guest.NetPrivate}, {Mode: guest.NetShared, Userns: guest.UsernsNone},
		{Mode: guest.NetPrivate, Userns: guest.UsernsNone},
	} {
		t.Run(string(o.Mode)+" "+string(o.Userns), func(t *testing.T) {
			need.Root(t)
			need.Cgroup2(t)
			h := host.Open(need.Dirs(t))
			t.Cleanup(func() { clear(t, h) })
			var told []attack.Outcome
			o.Each = func(a attack.Outcome) { told = append(told, a) }
			all, err := isolation.Run(t.Context(), h, o)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(told, all) {
				t.Errorf("told %v, and at last %v", told, all)
			}
			for _, a := range all {
				if a.Bad() {
					t.Errorf("%s%d %s: %s: %s %s", a.Class, a.Row, a.Name, a.Verdict, a.Errno, a.Said)
				} else if testing.Verbose() {
					t.Logf("%s%d %s: %s %s %s", a.Class, a.Row, a.Name, a.Verdict, a.Errno, a.Why)
				}
			}
			if names, err := h.Names(); len(names) != 0 || err != nil {
				t.Errorf("left: %v, %v", names, err)
			}
		})
	}
}

// clear takes away what guests of a world share.
func clear(t *testing.T, h *host.Host) {
	if cg, err := cgroup.Find(); err == nil {
		if err := cg.Remove(h.Dirs.Cgroup); err != nil && !strings.Contains(err.Error(), "no such file") {
			t.Error(err)
		}
	}
}
