package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vserver/internal/need"
)

// What a run prints is kept by row, and what is no figure passed over.
func TestNote(t *testing.T) {
	var p place
	rows := p.note([]byte("null 60.5\nfork+exec 900000.0\nsomething is said\n"))
	rows = append(rows, p.note([]byte("null 58.5\n"))...)
	if !slices.Equal(rows, []string{"null", "fork+exec", "null"}) || slices.Min(p.time["null"]) != 58.5 || len(p.time) != 2 {
		t.Errorf("%v, %v", rows, p.time)
	}
}

// The median of rounds counts, not what one of them was disturbed by.
func TestMiddle(t *testing.T) {
	for want, list := range map[float64][]float64{3: {9, 1, 3}, 7: {7}, 5: {5, 5, 100, 1, 5}} {
		if got := middle(list); got != want {
			t.Errorf("%v: %v", list, got)
		}
	}
}

// The programs that run in guests can be compiled, and know all kinds that are asked of
// them.
func TestPrograms(t *testing.T) {
	need.Command(t, "gcc")
	dir := t.TempDir()
	for _, name := range []string{"inside", "neighbour"} {
		if err := run("gcc", "-O2", "-Wall", "-Werror", "-static", "-o", filepath.Join(dir, name), name+"/"+name+".c"); err != nil {
			t.Fatal(err)
		}
	}
	if err := run(filepath.Join(dir, "inside"), "nothing"); err != nil {
		t.Error(err)
	}
	for _, h := range hogs() {
		if h.kind == "disk" {
			continue // it would write to the root
		}
		out, err := said("", filepath.Join(dir, "neighbour"), "work", h.kind, "1")()
		if err != nil || strings.TrimSpace(string(out)) == "" {
			t.Errorf("%s: %s, %v", h.kind, out, err)
		}
	}
	if err := run(filepath.Join(dir, "neighbour"), "work", "nothing"); err == nil {
		t.Error("an unknown kind is done")
	}
}

// The filter of containers is turned into a runtime's words, without what is for other
// machines or for capabilities that the guest has not.
func TestFiltered(t *testing.T) {
	need.Root(t)
	need.Mirror(t)
	if _, err := containersFilter(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(path, []byte(`{"linux": {"namespaces": []}, "hostname": "bench"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := filtered(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Hostname string
		Linux    struct {
			Seccomp struct {
				DefaultAction string
				Syscalls      []struct {
					Names  []string
					Action string
				}
			}
		}
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	allowed := map[string]bool{}
	for _, s := range got.Linux.Seccomp.Syscalls {
		for _, n := range s.Names {
			allowed[n] = allowed[n] || s.Action == "SCMP_ACT_ALLOW"
		}
	}
	if got.Hostname != "bench" || got.Linux.Seccomp.DefaultAction != "SCMP_ACT_ERRNO" || !allowed["read"] || allowed["bpf"] || allowed["kexec_load"] {
		t.Errorf("%s", text)
	}
}

// The disk of a file is a whole one.
func TestDeviceOf(t *testing.T) {
	dev, err := deviceOf("/")
	if err != nil {
		t.Skip("need a disk below /: ", err)
	}
	if st, err := os.Stat(dev); err != nil || st.Mode()&os.ModeDevice == 0 {
		t.Errorf("%s: %v", dev, err)
	}
}
