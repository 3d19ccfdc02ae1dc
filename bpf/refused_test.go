package bpf

import (
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"vserver/guest"
	"vserver/internal/need"
	"vserver/kernel/ebpf"
)

// Where a program can be called when a function returns, every ceiling is counted: the depth
// of groups with their number.
func TestRefusalsAttach(t *testing.T) {
	need.VM(t)
	counts, attached, names, err := CountRefusals(2)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range append(attached, counts) {
		defer syscall.Close(fd)
	}
	want := slices.DeleteFunc(guest.CeilingNames(), func(name string) bool { return name == "cgroup_depth" })
	slices.Sort(names)
	slices.Sort(want)
	if !slices.Equal(names, want) {
		t.Errorf("counted are %v, want %v", names, want)
	}
}

// The texts of the programs change only on purpose, and there is room for each ceiling.
func TestRefusedText(t *testing.T) {
	var text strings.Builder
	for _, r := range Refusals() {
		values := make([]int32, len(r.Names))
		for i := range values {
			values[i] = int32(i + 1)
		}
		text.WriteString(r.Function + "\n" + ebpf.Text(r.Refused(3, 2, values)))
	}
	text.WriteString("security_kernel_module_request\n" + ebpf.Text(Modules(Names{Tasks{Cgroups: 100, Group: 200, Ancestors: 300, Node: 50}, 60}, "vserver", 2)))
	const golden = "testdata/refused.golden"
	if *update {
		os.WriteFile(golden, []byte(text.String()), 0o644)
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if text.String() != string(want) {
		t.Errorf("programs changed (go test -update):\n%s", text.String())
	}
	if n := len(guest.Ceilings()); n > ceilings {
		t.Errorf("%d ceilings, and room for %d", n, ceilings)
	}
}
