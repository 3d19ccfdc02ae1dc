package cli

import (
	"bytes"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"vserver/internal/need"
)

// Bounds for what runs before main in every start of the program, counted in
// allocations because these do not depend on the machine's load. What they are made
// of (2026): 276 of the YAML library, 50 of nftables, 20 to 40 each of net, netip and
// unicode; ours are sentinel errors. A start must not take more than 4 ms in all.
const (
	maxInitAllocs  = 700
	maxOwnAllocs   = 20 // of one package of ours
	maxInitedBytes = 100_000
)

// No package may do work when the program starts: tables are built where they are
// used, expressions compiled there, libraries with dear initialisers kept out (as the
// registry's client is, in vserver-image).
func TestStartUp(t *testing.T) {
	c := exec.Command(need.Binary(t), "--version")
	c.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	var trace bytes.Buffer
	c.Stderr = &trace
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
	allocs, size := 0, 0
	for line := range strings.Lines(trace.String()) {
		// init PACKAGE @N ms, N ms clock, N bytes, N allocs
		f := strings.Fields(line)
		if len(f) < 11 || f[0] != "init" {
			continue
		}
		n, err1 := strconv.Atoi(f[9])
		b, err2 := strconv.Atoi(f[7])
		if err1 != nil || err2 != nil {
			t.Fatalf("trace %q", line)
		}
		allocs, size = allocs+n, size+b
		if strings.HasPrefix(f[1], "vserver/") && n > maxOwnAllocs {
			t.Errorf("%s: %d allocations before main; build tables where they are used", f[1], n)
		}
	}
	t.Logf("%d allocations, %d bytes before main", allocs, size)
	if allocs == 0 || allocs > maxInitAllocs || size > maxInitedBytes {
		t.Errorf("%d allocations and %d bytes before main:\n%s", allocs, size, trace.String())
	}
}

// BenchmarkVersion is the start of the whole program, with no work of ours: 3 ms at
// most.
func BenchmarkVersion(b *testing.B) {
	program := need.Binary(b)
	for b.Loop() {
		if err := exec.Command(program, "--version").Run(); err != nil {
			b.Fatal(err)
		}
	}
}
