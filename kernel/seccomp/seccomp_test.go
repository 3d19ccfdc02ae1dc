package seccomp

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

var update = flag.Bool("update", false, "write the golden files")

// policies are all combinations of the switches, with and without 32-bit programs.
func policies() []Policy {
	var out []Policy
	for i := range 16 {
		p := Policy{Private: i&1 != 0, Nesting: i&2 != 0, Capped: i&4 != 0}
		if i&8 != 0 && sibling().arch != 0 {
			p.Extra = []string{Bits32}
		}
		out = append(out, p)
	}
	return out
}

func compile(t testing.TB, p Policy) []unix.SockFilter {
	t.Helper()
	prog, err := Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	return prog
}

// expected tells, without any program, what an innocent call of a verdict gives.
func expected(p Policy, v verdict) string {
	switch v {
	case admin:
		if p.Private || p.Nesting {
			return "allow"
		}
	case private, requestKey:
		if p.Private {
			return "allow"
		}
	case absent:
		return "ENOSYS"
	case clone3:
		if p.Nesting || p.Private && p.Capped {
			return "allow"
		}
		return "ENOSYS"
	case socket:
		return "EAFNOSUPPORT" // AF_UNSPEC
	case socketpair:
		return "ENOTSUP"
	case refuse:
	default:
		return "allow"
	}
	return "EPERM"
}

// TestEveryNumber holds each policy's program against the tables, for every number
// that means something and a good many that do not.
func TestEveryNumber(t *testing.T) {
	for _, p := range policies() {
		prog := compile(t, p)
		abis := []abi{native()}
		if len(p.Extra) > 0 {
			abis = append(abis, sibling())
		}
		for _, a := range abis {
			verdicts := map[uint32]verdict{}
			for _, b := range a.blocks {
				for i := range len(b.verdicts) {
					verdicts[b.first+uint32(i)] = verdict(b.verdicts[i])
				}
			}
			try := func(nr uint32) {
				v, known := verdicts[nr]
				if !known {
					v = absent
				}
				got, _ := run(t, prog, data{nr: nr, arch: a.arch})
				if want := expected(p, v); said(got) != want {
					t.Errorf("%+v: arch %#x call %d (%c): %s, want %s", p, a.arch, nr, v, said(got), want)
				}
			}
			for nr := range uint32(2000) {
				try(nr)
				try(nr + 0x0f0000 - 1000)
				try(nr | 1<<30) // x32
				try(-nr)
			}
		}
	}
}

func TestForeignArchitectures(t *testing.T) {
	for _, p := range policies() {
		prog := compile(t, p)
		for _, arch := range []uint32{unix.AUDIT_ARCH_I386, unix.AUDIT_ARCH_X86_64, unix.AUDIT_ARCH_ARM,
			unix.AUDIT_ARCH_AARCH64, unix.AUDIT_ARCH_MIPS, 0} {
			if arch == native().arch || len(p.Extra) > 0 && arch == sibling().arch {
				continue
			}
			for nr := range uint32(600) {
				if got, _ := run(t, prog, data{nr: nr, arch: arch}); said(got) != "ENOSYS" {
					t.Fatalf("%+v: arch %#x call %d: %s", p, arch, nr, said(got))
				}
			}
		}
	}
}

// TestDepth holds the longest way through the program short: the argument checks
// come after it.
func TestDepth(t *testing.T) {
	prog := compile(t, Policy{Private: true})
	for nr := range uint32(600) {
		if _, steps := run(t, prog, data{nr: nr, arch: native().arch}); steps > 22 {
			t.Errorf("call %d: %d instructions", nr, steps)
		}
	}
	if _, steps := run(t, prog, data{nr: unix.SYS_IOCTL, arch: native().arch}); steps > 12 {
		t.Errorf("ioctl: %d instructions", steps)
	}
	if len(prog) > 200 {
		t.Errorf("program of %d instructions", len(prog))
	}
}

func TestGolden(t *testing.T) {
	file := filepath.Join("testdata", "private_"+runtime.GOARCH+".golden")
	got := listing(compile(t, Policy{Private: true}))
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("program differs from %s; look at it, then go test -update:\n%s", file, got)
	}
}

// TestFarJumps compiles a search that is wider than the 8 bits of a jump.
func TestFarJumps(t *testing.T) {
	letters := strings.Repeat("aen", 400)
	c := &code{}
	checks := c.checks(Policy{}, extra{})
	a := abi{arch: 7, blocks: [2]block{{verdicts: letters}}}
	// Far from the shared ends, so that both arms of jumps must be led there.
	for range 300 {
		c.load(0)
	}
	c.search(Policy{}, a, extra{}, checks)
	prog := c.done()
	for nr := range uint32(1300) {
		want := "ENOSYS"
		if nr < 1200 {
			want = expected(Policy{}, verdict(letters[nr]))
		}
		if got, _ := run(t, prog, data{nr: nr}); said(got) != want {
			t.Fatalf("call %d: %s, want %s", nr, said(got), want)
		}
	}
}

func TestExtra(t *testing.T) {
	prog := compile(t, Policy{Extra: []string{"io_uring_setup", "mount", "unshare", "AF_VSOCK", "IPPROTO_SCTP", "NETLINK_XFRM"}})
	for _, c := range []struct {
		nr   uint32
		args [6]uint64
		want string
	}{
		{unix.SYS_IO_URING_SETUP, [6]uint64{}, "allow"},
		{unix.SYS_IO_URING_ENTER, [6]uint64{}, "EPERM"},
		{unix.SYS_MOUNT, [6]uint64{}, "allow"},
		{unix.SYS_UNSHARE, [6]uint64{unix.CLONE_NEWUSER}, "allow"},
		{unix.SYS_CLONE, [6]uint64{unix.CLONE_NEWUSER}, "EPERM"},
		{unix.SYS_SOCKET, [6]uint64{unix.AF_VSOCK, 1, 0}, "allow"},
		{unix.SYS_SOCKET, [6]uint64{unix.AF_ALG, 5, 0}, "EAFNOSUPPORT"},
		{unix.SYS_SOCKET, [6]uint64{unix.AF_INET, unix.SOCK_SEQPACKET, unix.IPPROTO_SCTP}, "allow"},
		{unix.SYS_SOCKET, [6]uint64{unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP}, "EPROTONOSUPPORT"},
		{unix.SYS_SOCKET, [6]uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_XFRM}, "allow"},
		{unix.SYS_SOCKET, [6]uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT}, "EPROTONOSUPPORT"},
	} {
		if got, _ := run(t, prog, data{c.nr, native().arch, c.args}); said(got) != c.want {
			t.Errorf("call %d %v: %s, want %s", c.nr, c.args, said(got), c.want)
		}
	}
}

// TestEveryWord compiles with each word alone and sees that it opens something.
func TestEveryWord(t *testing.T) {
	for _, word := range Words() {
		if _, err := Compile(Policy{Extra: []string{word}}); err != nil {
			t.Error(err)
		}
	}
	n, ok := native().blocks[0].find("io_uring_setup")
	if !ok || n != unix.SYS_IO_URING_SETUP {
		t.Errorf("io_uring_setup is %d, %v", n, ok)
	}
	if n, ok := native().blocks[0].find("read"); !ok || n != unix.SYS_READ {
		t.Errorf("read is %d, %v", n, ok)
	}
}

func TestUnknownWord(t *testing.T) {
	for word, near := range map[string]string{
		"iouring_setup": "io_uring_setup", "af_vsock": "AF_VSOCK", "BPF": "bpf", "32bit": Bits32,
		"keyctl2": "keyctl", "read write": "read", "": "", "AF_VSOK": "AF_VSOCK",
	} {
		if sibling().arch == 0 && near == Bits32 {
			continue
		}
		_, err := Compile(Policy{Extra: []string{"mount", word}})
		if err == nil {
			t.Errorf("%q was taken", word)
			continue
		}
		if want := fmt.Sprintf("%q", word); !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), near) {
			t.Errorf("%q: %v", word, err)
		}
	}
}

func FuzzCompile(f *testing.F) {
	f.Add("mount", uint32(1), uint64(3))
	f.Add("AF_VSOCK", uint32(41), uint64(40))
	f.Fuzz(func(t *testing.T, word string, nr uint32, arg uint64) {
		prog, err := Compile(Policy{Extra: []string{word}, Private: true})
		if err == nil {
			run(t, prog, data{nr, native().arch, [6]uint64{arg, arg, arg}})
		}
	})
}

func BenchmarkCompile(b *testing.B) {
	for name, p := range map[string]Policy{
		"private": {Private: true},
		"extra":   {Private: true, Extra: []string{"io_uring_setup", "AF_VSOCK", "bpf", Bits32}},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Compile(p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
