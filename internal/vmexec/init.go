package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"vserver/kernel/proc"
)

// initMain is process 1 of the machine: it sets up, runs the test, reports, and ends
// the machine. It never returns.
func initMain() {
	code, err := initRun()
	if err != nil {
		fmt.Println("vmexec:", err) // to the console, which the host then shows
	} else if err := report(code); err != nil {
		fmt.Println("vmexec:", err)
	}
	unix.Sync()
	unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	select {}
}

// initRun gives the test's exit code.
func initRun() (int, error) {
	text, err := os.ReadFile("/" + jobFile)
	if err != nil {
		return 0, err
	}
	var j job
	if err := json.Unmarshal(text, &j); err != nil {
		return 0, fmt.Errorf("%s: %w", jobFile, err)
	}
	if err := changeRoot(); err != nil {
		return 0, err
	}
	if err := mountAll(basicMounts()); err != nil {
		return 0, err
	}
	if err := report(up); err != nil {
		return 0, err
	}
	for _, m := range j.Modules {
		if err := modprobe([]string{m}); err != nil {
			return 0, err
		}
	}
	if err := mountAll(laterMounts()); err != nil {
		return 0, err
	}
	for _, dir := range j.OnDisk {
		if err := moveToDisk(dir); err != nil {
			return 0, err
		}
	}
	if err := settleIn(); err != nil {
		return 0, err
	}
	return runTest(j)
}

// changeRoot makes a directory of the first root the root, by a mount that has a
// parent, so that pivot_root(2) works in the machine as on a real one.
func changeRoot() error {
	if err := unix.Mount("/"+newRoot, "/"+newRoot, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount the root: %w", err)
	}
	if err := os.Chdir("/" + newRoot); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move the root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("chroot: %w", err)
	}
	return os.Chdir("/")
}

// mountPoint is one line of the machine's fstab.
type mountPoint struct {
	source, target, kind string
	flags                uintptr
	options              string
}

func basicMounts() []mountPoint {
	const quiet = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	return []mountPoint{
		{"proc", "/proc", "proc", quiet, ""},
		{"sysfs", "/sys", "sysfs", quiet, ""},
		{"devtmpfs", "/dev", "devtmpfs", unix.MS_NOSUID, "mode=755"},
		{"devpts", "/dev/pts", "devpts", unix.MS_NOSUID | unix.MS_NOEXEC, "gid=5,mode=620,ptmxmode=666"},
		{"tmpfs", "/dev/shm", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, ""},
		{"mqueue", "/dev/mqueue", "mqueue", quiet, ""},
		{"tmpfs", "/run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=755"},
		{"cgroup2", "/sys/fs/cgroup", "cgroup2", quiet, "nsdelegate"},
		{"bpf", "/sys/fs/bpf", "bpf", quiet, "mode=700"},
	}
}

// laterMounts are those that need modules. As on a host with systemd all is shared.
func laterMounts() []mountPoint {
	return []mountPoint{
		{"/dev/vda", scratch, "ext4", 0, "usrquota,grpquota,prjquota"},
		{scratch, "/tmp", "", unix.MS_BIND, ""},
		{"", "/", "", unix.MS_SHARED | unix.MS_REC, ""},
	}
}

// scratch is where the whole disk is mounted; /tmp is the same.
const scratch = "/disk"

// moveToDisk puts a copy of a directory on the disk and mounts it over the directory.
func moveToDisk(dir string) error {
	home := filepath.Join(scratch, ".ondisk", dir)
	if err := os.MkdirAll(filepath.Dir(home), 0o755); err != nil {
		return err
	}
	if out, err := exec.Command("/bin/busybox", "cp", "-a", dir, home).CombinedOutput(); err != nil {
		return fmt.Errorf("copy %s to the disk: %w: %s", dir, err, out)
	}
	if err := unix.Mount(home, dir, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount %s: %w", dir, err)
	}
	return nil
}

func mountAll(table []mountPoint) error {
	for _, m := range table {
		if err := os.MkdirAll(m.target, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.source, m.target, m.kind, m.flags, m.options); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	return nil
}

// settleIn does what a distribution does early: links in /dev, modes, a host name,
// the loopback link.
func settleIn() error {
	for name, target := range map[string]string{"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"} {
		if err := os.Symlink(target, "/dev/"+name); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	if err := os.Chmod("/tmp", 0o777|os.ModeSticky); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte("throwaway")); err != nil {
		return fmt.Errorf("sethostname: %w", err)
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(s)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, lo); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	return nil
}

// runTest runs the test in a cgroup below the root, where a manager like systemd
// would have it, and reaps whatever else ends meanwhile.
func runTest(j job) (int, error) {
	const group = "/sys/fs/cgroup/tests"
	if err := os.Mkdir(group, 0o755); err != nil {
		return 0, err
	}
	dir, err := os.Open(group)
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	out, err := openTTY(outputTTY)
	if err != nil {
		return 0, err
	}
	defer out.Close()
	c := exec.Command(j.Args[0], j.Args[1:]...)
	c.Dir, c.Env, c.Stdout, c.Stderr = j.Dir, j.Env, out, out
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	if err := c.Start(); err != nil {
		return 0, err
	}
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, fmt.Errorf("wait: %w", err)
		case pid == c.Process.Pid:
			if status.Signaled() {
				fmt.Fprintf(out, "vmexec: the test was killed by %v\n", status.Signal())
			}
			return proc.ExitCode(syscall.WaitStatus(status)), drain(out)
		}
	}
}

// report sends a word about the test to the host: that the machine is up, then the
// exit code.
func report(word any) error {
	f, err := openTTY(resultTTY)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := fmt.Fprintln(f, word); err != nil {
		return err
	}
	return drain(f)
}

// openTTY opens a serial line that carries bytes as they are.
func openTTY(name string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join("/dev", name), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	t, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
	if err := unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, t); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return f, nil
}

// drain waits until the line has sent everything.
func drain(f *os.File) error {
	err := unix.EINTR
	for err == unix.EINTR {
		_, _, err = unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.TCSBRK, 1)
	}
	if err != 0 {
		return fmt.Errorf("drain %s: %w", f.Name(), err)
	}
	return nil
}

// modprobe loads the modules that the last argument stands for. The kernel calls it
// as modprobe -q -- WORD; a word that is not in the table is none of our modules.
func modprobe(args []string) error {
	if len(args) == 0 {
		return errors.New("which module?")
	}
	table, err := os.ReadFile(moduleDir + "/table")
	if err != nil {
		return err
	}
	word := args[len(args)-1]
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if f[0] != word && f[0] != strings.ReplaceAll(word, "-", "_") {
			continue
		}
		for _, name := range f[1:] {
			if err := loadModule(name); err != nil {
				return err
			}
		}
	}
	return nil
}

func loadModule(name string) error {
	f, err := os.Open(filepath.Join(moduleDir, name+".ko"))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("load %s: %w", name, err)
	}
	return nil
}
