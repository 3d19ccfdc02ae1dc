// Command nobody runs a test binary without any rights: go test -exec nobody ./...
//
// The binary lies in a directory that only its owner may enter, and so may the
// source tree. Therefore it is opened, and the working directory kept, before the
// rights go; it is executed by its file descriptor.
package main

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// id is the user and group of nobody, of Debian as of most.
const id = 65534

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: nobody PROGRAM [ARGUMENT...]")
		os.Exit(2)
	}
	fmt.Fprintln(os.Stderr, "nobody:", run(os.Args[1:]))
	os.Exit(1)
}

// run becomes the program, or says why not.
func run(args []string) error {
	fd, err := unix.Open(args[0], unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", args[0], err)
	}
	if err := syscall.Setgroups(nil); err != nil {
		return fmt.Errorf("setgroups: %w", err)
	}
	if err := syscall.Setresgid(id, id, id); err != nil {
		return fmt.Errorf("setresgid: %w", err)
	}
	if err := syscall.Setresuid(id, id, id); err != nil {
		return fmt.Errorf("setresuid: %w", err)
	}
	for _, v := range []string{"HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "GOCACHE"} {
		os.Unsetenv(v)
	}
	os.Setenv("HOME", "/nonexistent")
	return fmt.Errorf("exec %s: %w", args[0], execFD(fd, args, os.Environ()))
}

// execFD replaces this process by the program that fd is open on.
func execFD(fd int, args, env []string) error {
	argv, err := syscall.SlicePtrFromStrings(args)
	if err != nil {
		return err
	}
	envv, err := syscall.SlicePtrFromStrings(env)
	if err != nil {
		return err
	}
	empty := []byte{0}
	_, _, errno := unix.RawSyscall6(unix.SYS_EXECVEAT, uintptr(fd), uintptr(unsafe.Pointer(&empty[0])),
		uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&envv[0])), unix.AT_EMPTY_PATH, 0)
	return errno
}
