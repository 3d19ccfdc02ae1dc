// Command vmexec runs a Go test binary in a virtual machine that lives no longer
// than the test:
//
//	CGO_ENABLED=0 go build -o vmexec ./internal/vmexec
//	go test -exec "$PWD/vmexec" ./limit
//
// The machine is Debian's cloud kernel under qemu, emulated (no KVM is asked for),
// with cgroup v2 alone and every controller in it, a scratch ext4 disk on /tmp, the
// busybox of this host and the vserver program named by VSERVER_BINARY. The test
// runs as root in the directory of its package; the module's source comes along. Its output and its exit code come back over serial lines. There
// [vserver/internal/need.VM] holds.
//
// A package says in testdata/vm.conf what else it wants, a word and a value a line:
//
//	module xfs        a kernel module, loaded before the test (others load on demand)
//	program rsync     a program of this host with its libraries
//	ondisk /usr       a directory that lies on the ext4 disk, not on the root's tmpfs, which
//	                  the kernels before 6.3 do not map ids on
//	disk 512          one more empty disk, in MiB: /dev/vdb, then vdc ...
//	memory 4096       MiB, 2048 if not said
//	parts 3           the test is run in so many machines, one after the other: who stalls (see
//	                  run) has less to repeat
//	cuts 5            how often the machine may end without a word, as by sysrq b, and is
//	                  booted again upon the same disks: the test begins anew
//	seconds 900       time until the machine is taken for stuck, 600 if not said
//
// VSERVER_VM_KERNEL chooses the Debian suite whose kernel is booted; empty means
// that of the host's suite. VSERVER_VM_CONSOLE=1 prints the kernel's console always,
// not only when the machine dies. Times taken in an emulated machine mean nothing.
//
// The program is its own init: as process 1 it sets the machine up and runs the
// test, and as /sbin/modprobe it loads modules for the kernel.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
)

func main() {
	if os.Getpid() == 1 {
		initMain()
		return
	}
	if filepath.Base(os.Args[0]) == "modprobe" {
		if err := modprobe(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, "modprobe:", err)
			os.Exit(1)
		}
		return
	}
	code, err := host(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "vmexec:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// host boots a machine for one test binary and gives the exit code of the test.
func host(args []string) (int, error) {
	if len(args) == 0 {
		return 2, errors.New("usage: go test -exec vmexec PACKAGE")
	}
	self, err := os.Executable()
	if err != nil {
		return 1, err
	}
	if !static() {
		return 2, errors.New("wants the C library, which a machine has not: build it with CGO_ENABLED=0")
	}
	work, err := os.MkdirTemp("", "vmexec.")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(work)

	want, err := readSettings("testdata/vm.conf")
	if err != nil {
		return 1, err
	}
	k, err := findKernel(os.Getenv("VSERVER_VM_KERNEL"))
	if err != nil {
		return 1, err
	}
	parts, err := divide(args, want.parts)
	if err != nil {
		return 1, err
	}
	m := machine{kernel: k.image, initrd: filepath.Join(work, "initrd"), settings: want}
	worst := 0
	for _, part := range parts {
		if err := writeImage(m.initrd, self, k, want, part); err != nil {
			return 1, err
		}
		code, err := m.run(work, os.Stdout, os.Stderr)
		if worst = max(worst, code); err != nil {
			return worst, err
		}
	}
	return worst, nil
}

// divide gives the command lines of so many parts of a test, of about as many tests each. One
// that says itself which tests to run is not divided.
func divide(args []string, parts int) ([][]string, error) {
	chosen := func(a string) bool { return strings.HasPrefix(a, "-test.run=") || strings.HasPrefix(a, "-test.skip=") }
	if parts < 2 || slices.ContainsFunc(args, chosen) {
		return [][]string{args}, nil
	}
	list, err := exec.Command(args[0], "-test.list=.").Output()
	if err != nil {
		return nil, fmt.Errorf("%s -test.list: %w", args[0], err)
	}
	names := make([][]string, parts)
	for i, name := range strings.Fields(string(list)) {
		names[i%parts] = append(names[i%parts], name)
	}
	var all [][]string
	for _, n := range names {
		all = append(all, append(slices.Clone(args), "-test.run=^("+strings.Join(n, "|")+")$"))
	}
	return all, nil
}

// static tells whether this program runs where there is nothing else.
func static() bool {
	info, ok := debug.ReadBuildInfo()
	return !ok || !slices.Contains(info.Settings, debug.BuildSetting{Key: "CGO_ENABLED", Value: "1"})
}
