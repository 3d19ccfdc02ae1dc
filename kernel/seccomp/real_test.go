package seccomp

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"vserver/internal/need"
)

// childWord as first argument makes the test binary put itself under a filter and
// execute, or do, the rest of its arguments.
const childWord = "under-seccomp"

func TestMain(m *testing.M) {
	if len(os.Args) > 3 && os.Args[1] == childWord {
		fmt.Fprintln(os.Stderr, "child:", child(os.Args[2], os.Args[3:]))
		os.Exit(111)
	}
	need.Main(m)
}

// install puts all threads of the process under a filter. The thread that may do so is the
// one that said it wants no new privileges.
func install(prog []unix.SockFilter) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	return Install(prog)
}

func child(policy string, args []string) error {
	var installed time.Duration
	if policy != "" {
		var p Policy
		if err := json.Unmarshal([]byte(policy), &p); err != nil {
			return err
		}
		prog, err := Compile(p)
		if err != nil {
			return err
		}
		begin := time.Now()
		if err := install(prog); err != nil {
			return err
		}
		installed = time.Since(begin)
	}
	switch args[0] {
	case "probe":
		for _, p := range probes() {
			fmt.Println(p.name, unix.ErrnoName(p.try()))
		}
		os.Exit(0)
	case "bench":
		begin := time.Now()
		for range 1000000 {
			syscall.RawSyscall(unix.SYS_GETPPID, 0, 0, 0)
		}
		plain := time.Since(begin)
		begin = time.Now()
		for range 1000000 {
			syscall.RawSyscall(unix.SYS_IOCTL, ^uintptr(0), 0, 0)
		}
		fmt.Println(plain.Nanoseconds(), time.Since(begin).Nanoseconds(), installed.Nanoseconds())
		os.Exit(0)
	}
	path, err := exec.LookPath(args[0])
	if err != nil {
		return err
	}
	return syscall.Exec(path, args, os.Environ())
}

// under gives the command that runs args under a policy; nil is no filter.
func under(t testing.TB, p *Policy, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	if p != nil {
		b, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		text = string(b)
	}
	return exec.Command(self, append([]string{childWord, text}, args...)...)
}

func call(nr uintptr, args ...uintptr) syscall.Errno {
	var a [6]uintptr
	copy(a[:], args)
	_, _, e := syscall.RawSyscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5])
	return e
}

type probe struct {
	name string
	try  func() syscall.Errno
}

func probes() []probe {
	sock := func(family, kind, proto uintptr) func() syscall.Errno {
		return func() syscall.Errno { return call(unix.SYS_SOCKET, family, kind, proto) }
	}
	tty := func(request uintptr) func() syscall.Errno {
		return func() syscall.Errno {
			fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY, 0)
			if err != nil {
				return err.(syscall.Errno)
			}
			b := []byte("x")
			return call(unix.SYS_IOCTL, uintptr(fd), request, uintptr(unsafe.Pointer(&b[0])))
		}
	}
	return []probe{
		{"vsock", sock(unix.AF_VSOCK, unix.SOCK_STREAM, 0)},
		{"alg", sock(unix.AF_ALG, unix.SOCK_SEQPACKET, 0)},
		{"packet", sock(unix.AF_PACKET, unix.SOCK_RAW, 0)},
		{"audit", sock(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT)},
		{"mptcp", sock(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP)},
		{"tcp", sock(unix.AF_INET, unix.SOCK_STREAM, 0)},
		{"route", sock(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE)},
		{"io_uring", func() syscall.Errno { return call(unix.SYS_IO_URING_SETUP, 1, 0) }},
		{"userns", func() syscall.Errno { return call(unix.SYS_UNSHARE, unix.CLONE_NEWUSER) }},
		{"clone userns", func() syscall.Errno { return call(unix.SYS_CLONE, unix.CLONE_NEWUSER|unix.CLONE_FS) }},
		{"clone3", func() syscall.Errno { return call(unix.SYS_CLONE3, 0, 0) }},
		{"bpf", func() syscall.Errno { return call(unix.SYS_BPF, 0, 0, 0) }},
		{"kexec", func() syscall.Errno { return call(unix.SYS_KEXEC_LOAD, 0, 0, 0, ^uintptr(0)) }},
		{"perf", func() syscall.Errno { return call(unix.SYS_PERF_EVENT_OPEN, 0) }},
		{"handle", func() syscall.Errno { return call(unix.SYS_OPEN_BY_HANDLE_AT, ^uintptr(0), 0, 0) }},
		{"TIOCSTI", tty(unix.TIOCSTI)},
		{"TIOCSETD", tty(unix.TIOCSETD)},
		{"unknown", func() syscall.Errno { return call(900) }},
		{"x32", func() syscall.Errno { return call(1<<30 | 39) }},
	}
}

func TestProbes(t *testing.T) {
	out, err := under(t, &Policy{Private: true}, "probe").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want := `vsock EAFNOSUPPORT
alg EAFNOSUPPORT
packet EAFNOSUPPORT
audit EPROTONOSUPPORT
mptcp EPROTONOSUPPORT
tcp 
route 
io_uring EPERM
userns EPERM
clone userns EPERM
clone3 ENOSYS
bpf EPERM
kexec EPERM
perf EPERM
handle EPERM
TIOCSTI EPERM
TIOCSETD EPERM
unknown ENOSYS
x32 ENOSYS
`
	if string(out) != want {
		t.Errorf("got:\n%s\nwant:\n%s", out, want)
	}
	// Without the filter the kernel says otherwise, or the test proves nothing.
	free, err := under(t, nil, "probe").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(free), "\n") {
		if line == "userns EPERM" || line == "clone3 ENOSYS" || line == "TIOCSETD EPERM" {
			t.Errorf("%q without the filter as well", line)
		}
	}
}

// elf64 is an amd64 program whose text is code.
func elf64(text []byte) []byte {
	const base, head = 0x400000, 64 + 56
	var b bytes.Buffer
	b.WriteString("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	le := binary.LittleEndian
	binary.Write(&b, le, []uint16{2, 62})
	binary.Write(&b, le, uint32(1))
	binary.Write(&b, le, []uint64{base + head, 64, 0})
	binary.Write(&b, le, uint32(0))
	binary.Write(&b, le, []uint16{64, 56, 1, 0, 0, 0})
	binary.Write(&b, le, []uint32{1, 5})
	n := uint64(head + len(text))
	binary.Write(&b, le, []uint64{0, base, base, n, n, 0x1000})
	b.Write(text)
	return b.Bytes()
}

// TestOtherDoors enters the kernel as i386 and as x32: the answer must be ENOSYS
// also where the kernel has these doors.
func TestOtherDoors(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("amd64 alone has several ways in")
	}
	// exit_group(eax == -ENOSYS)
	tail := []byte{0x83, 0xf8, 0xda, 0x0f, 0x94, 0xc0, 0x0f, 0xb6, 0xf8, 0xb8, 0xe7, 0, 0, 0, 0x0f, 0x05}
	for name, text := range map[string][]byte{
		"int80": {0xb8, 20, 0, 0, 0, 0xcd, 0x80},    // i386 getpid
		"x32":   {0xb8, 39, 0, 0, 0x40, 0x0f, 0x05}, // x32 getpid
	} {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, elf64(append(text, tail...)), 0o755); err != nil {
			t.Fatal(err)
		}
		code := func(p *Policy) int {
			err := under(t, p, file).Run()
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			if exit == nil {
				return 0
			}
			return exit.ExitCode()
		}
		if got := code(nil); got != 0 {
			t.Logf("%s: this kernel has no such door (%d)", name, got)
		}
		if got := code(&Policy{Private: true, Nesting: true}); got != 1 {
			t.Errorf("%s: exit code %d, want 1 (ENOSYS)", name, got)
		}
		if got := code(&Policy{Extra: []string{Bits32}}); name == "int80" && got != code(nil) {
			t.Errorf("%s with %s: exit code %d", name, Bits32, got)
		}
	}
}

// TestOrdinaryPrograms runs what is installed here, under the shortest list.
func TestOrdinaryPrograms(t *testing.T) {
	tmp := t.TempDir()
	for _, args := range [][]string{
		{"sh", "-c", "ls -lR /etc >/dev/null 2>&1; echo $(id -u) | cat; (sleep 0 & wait); cp -a /bin/ls " + tmp + "; tar cf - " + tmp + " 2>/dev/null | gzip | gunzip | tar tf - >/dev/null; df . >/dev/null"},
		{"python3", "-c", "import threading,subprocess,socket,select,multiprocessing as m\nt=threading.Thread(target=print);t.start();t.join()\nsubprocess.run(['true'],check=True)\ns=socket.socket();s.bind(('127.0.0.1',0));s.listen()\nassert m.Pool(2).map(abs,[-1])==[1]"},
		{"perl", "-e", "fork or exit 0; wait; print `true`; exit $?"},
		{"systemd-analyze", "--version"},
		{"systemd-analyze", "calendar", "daily"},
		{"apt-get", "--version"},
		{"openssl", "rand", "-hex", "4"},
		{"git", "--version"},
		{"go", "env", "GOROOT"},
		{"ip", "addr"},
		{"ss", "-tnl"},
		{"busybox", "ps"},
		{"setsid", "true"},
		{"gcc", "--version"},
	} {
		if _, err := exec.LookPath(args[0]); err != nil {
			continue
		}
		for _, p := range []*Policy{{}, {Private: true}, {Private: true, Nesting: true}} {
			cmd := under(t, p, args...)
			cmd.Dir = tmp
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%+v: %q: %v\n%s", *p, args, err, out)
			}
		}
	}
}

// BenchmarkCall tells the cost of a filter per call: one that is allowed whatever
// its arguments, and ioctl, for which the program runs; and what the kernel takes to
// check, translate and attach it.
func BenchmarkCall(b *testing.B) {
	for b.Loop() {
		var ns [2][3]float64
		for i, p := range []*Policy{nil, {Private: true}} {
			out, err := under(b, p, "bench").Output()
			if err != nil {
				b.Fatal(err)
			}
			fmt.Sscan(string(out), &ns[i][0], &ns[i][1], &ns[i][2])
		}
		for i, name := range []string{"getppid", "ioctl"} {
			b.ReportMetric(ns[0][i]/1e6, name+"-free-ns")
			b.ReportMetric(ns[1][i]/1e6, name+"-filtered-ns")
		}
		b.ReportMetric(ns[1][2]/1e3, "install-us")
	}
	b.ReportMetric(0, "ns/op")
}
