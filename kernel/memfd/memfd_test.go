package memfd

import (
	"os"
	"os/exec"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"vserver/internal/need"
)

func TestMain(m *testing.M) { need.Main(m) }

func TestExecutable(t *testing.T) {
	script := []byte("#!/bin/sh\necho \"$1\"\n")
	fd, err := Executable("hello", script)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "hello")
	defer f.Close()
	path := "/proc/" + strconv.Itoa(os.Getpid()) + "/fd/" + strconv.Itoa(fd)
	if out, err := exec.Command(path, "world").Output(); err != nil || string(out) != "world\n" {
		t.Errorf("output %q, %v", out, err)
	}
	seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	const want = unix.F_SEAL_WRITE | unix.F_SEAL_GROW | unix.F_SEAL_SHRINK | unix.F_SEAL_SEAL
	if err != nil || seals&want != want {
		t.Errorf("seals %#x, %v", seals, err)
	}
	for op, err := range map[string]error{
		"write":    writeAt(path),
		"truncate": os.Truncate(path, 0),
		"grow":     os.Truncate(path, 1<<20),
	} {
		if err == nil {
			t.Errorf("%s succeeded", op)
		}
	}
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("not close-on-exec: %#x, %v", flags, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&0o7777 != 0o555 || st.Size != int64(len(script)) {
		t.Errorf("mode %o, size %d, %v", st.Mode, st.Size, err)
	}
}

func writeAt(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt([]byte("x"), 0)
	return err
}
