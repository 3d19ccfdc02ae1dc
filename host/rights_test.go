package host

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"vserver/daemon/proto"
	"vserver/guest"
	"vserver/host/config"
	"vserver/host/state"
	"vserver/internal/need"
	"vserver/kernel/proc"
)

// tries runs lines of shell in a guest and fails the test where one does not do as it
// should: a '+' before those that must work, a '-' before those that must not.
func (w *world) tries(n guest.Name, lines ...string) {
	w.t.Helper()
	for _, line := range lines {
		if out, code := w.sh(n, line[1:]); (code == 0) != (line[0] == '+') {
			w.t.Errorf("%s: %s: code %d\n%s", n, line, code, out)
		}
	}
}

// Each narrow right is given and taken by its name, and holds against the guest's root.
func TestNarrowRights(t *testing.T) {
	w := newWorld(t)
	plain := w.guest("plain", nil)
	less := w.guest("less", func(s *guest.Spec) {
		s.Rights.Ccaps = []string{"!set_utsname", "!secure_mount", "!namespace"}
		s.Rights.Flags = []string{"igneg_nice", "lock", "VXF_STATE_INIT"}
	})
	fixed := w.guest("fixed", func(s *guest.Spec) { s.Rights.Ccaps = []string{"!remount"} })
	closed := w.guest("closed", func(s *guest.Spec) { s.Rights.Flags = []string{"private"} })
	for _, n := range []guest.Name{plain, less, fixed, closed} {
		w.start(n)
	}
	w.tries(plain, "+hostname other", "+mkdir -p /m && mount -t tmpfs none /m && mount -o remount,bind,ro /m", "+unshare -m true",
		"-nice -n -5 true 2>&1 | grep -q . && exit 1 || renice -n -5 -p $$")
	w.tries(less, "-hostname other", "-mkdir -p /m && mount -t tmpfs none /m", "-unshare -m true", "-unshare -n true",
		"+renice -n -5 -p $$", "+renice -n 5 -p $$")
	w.tries(fixed, "+mkdir -p /m && mount -t tmpfs none /m", "-mount -o remount,bind,ro /m")
	_, err := w.Exec(t.Context(), closed, Command{Args: []string{"/bin/true"}})
	if !errors.Is(err, syscall.EPERM) || !strings.Contains(err.Error(), "private") {
		t.Errorf("a private guest was entered: %v", err)
	}
}

// Devices on the list can be used and no others, whatever the guest's root does; a list
// changed by set counts at once.
func TestDevices(t *testing.T) {
	need.Filesystem(t, "fuse")
	w := newWorld(t)
	fuse, tun := guest.Device{}, guest.Device{}
	if err := errors.Join(fuse.UnmarshalText([]byte("/dev/fuse r")), tun.UnmarshalText([]byte("c 10:200 rw"))); err != nil {
		t.Fatal(err)
	}
	none := w.guest("none", nil)
	some := w.guest("some", func(s *guest.Spec) { s.Rights.Devices = []guest.Device{fuse} })
	hosts := w.guest("hosts", func(s *guest.Spec) {
		s.Userns = guest.UsernsNone
		s.Rights.Bcaps = []string{"mknod"}
	})
	for _, n := range []guest.Name{none, some, hosts} {
		w.start(n)
	}
	w.tries(none, "-ls /dev/fuse", "-mknod /k c 10 229", "-mknod /n c 1 3", "-mknod /d b 8 0", "+mknod /f p", "+echo x >/dev/null", "+tty >/dev/null || :")
	w.tries(some, "+ls /dev/fuse", "+: </dev/fuse", "-: >/dev/fuse", "-mknod /k c 10 229", "+echo x >/dev/null", "+head -c1 /dev/urandom >/dev/null")
	// The host's root but for its capabilities: the list alone holds it.
	w.tries(hosts, "-mknod /mem c 1 1", "-mknod /disk b 8 0", "-mknod /k c 10 229", "+mknod /n c 1 3 && echo x >/n", "+mknod /con c 5 1", "-: </con")

	for _, n := range []guest.Name{none, some} {
		c, err := w.Set(n, []string{"rights.devices=c 10:229 rw"})
		if err != nil || len(c.Restart) > 0 {
			t.Fatalf("%s: %+v, %v", n, c, err)
		}
		w.tries(n, "+: </dev/fuse", "+ls -l /dev/fuse | grep -q 'root *root'")
		if _, err := w.Set(n, []string{"rights.devices="}); err != nil {
			t.Fatal(err)
		}
		w.tries(n, "-ls /dev/fuse", "+echo x >/dev/null")
	}
	// A guest that put something in the way keeps it, and the host goes nowhere.
	w.tries(none, "+ln -s /etc /dev/net || :", "+ln -s /etc/passwd /dev/fuse")
	if _, err := w.Set(none, []string{"rights.devices=c 10:229 rw"}); err != nil {
		t.Error(err)
	}
	w.tries(none, "+test -L /dev/fuse")
	if _, err := w.Set(some, []string{"rights.devices=/dev/no-such-device"}); !errors.Is(err, guest.ErrUnsupported) {
		t.Errorf("a device that is not there: %v", err)
	}
}

// nodes makes a guest that may make nodes.
func (w *world) nodes(n guest.Name, devices ...string) guest.Name {
	return w.guest(n, func(s *guest.Spec) {
		s.Rights.Bcaps = []string{"mknod"}
		for _, text := range devices {
			var d guest.Device
			if err := d.UnmarshalText([]byte(text)); err != nil {
				w.t.Fatal(err)
			}
			s.Rights.Devices = append(s.Rights.Devices, d)
		}
	})
}

// With bcap mknod harmless nodes are made, and no others, and nowhere that the guest
// could not write itself.
func TestMakesNodes(t *testing.T) {
	w := newWorld(t)
	n := w.nodes("maker", "c 10:200 rwm", "c 1:11 r")
	w.start(n)
	w.tries(n, "+mknod /null c 1 3 && echo x >/null", "+mkdir /d && cd /d && mknod zero c 1 5 && head -c3 zero >/dev/null",
		"+mknod /con c 5 1", "-: </con", "+mknod /f p", "+mknod -m 600 /tun c 10 200", "-mknod /null c 1 3",
		"-mknod /mem c 1 1", "-mknod /port c 1 4", "-mknod /kmsg c 1 11", "-mknod /sda b 8 0", "-mknod /null2 b 1 3",
		"-mknod /proc/1/root/x c 1 3", "-mknod /proc/self/cwd/x c 1 3", "-mknod /nowhere/x c 1 3", "-mknod /sys/x c 1 3",
		"-mknod /etc/passwd/x c 1 3", "+ls -l /d/zero | grep -q 'root *root'")
	// Another user of the guest may not, nor one without the capability.
	if out, code := w.run(n, Command{Args: []string{"/bin/mknod", "/tmp/null", "c", "1", "3"}, User: "1000"}); code == 0 {
		t.Errorf("a user made a node\n%s", out)
	}
	// The init's tree has a listener of its own.
	w.stop(n)
	w.nothing(n)
	left := w.nodes("init")
	if _, err := w.Set(left, []string{`init.command=[/bin/sh, -c, "mknod /null c 1 3; mknod /mem c 1 1; sleep 1000"]`}); err != nil {
		t.Fatal(err)
	}
	w.start(left)
	eventually(t, "a node of the init's", func() bool { _, code := w.sh(left, "test -c /null"); return code == 0 })
	w.tries(left, "-test -e /mem")
}

// A vserverd that is killed comes back and answers those who waited; without one the
// calls fail, and nothing is made.
func TestNodesWithoutVserverd(t *testing.T) {
	w := newWorld(t)
	n := w.nodes("maker")
	if _, err := w.Set(n, []string{`init.command=[/bin/sh, -c, "while ! test -e /go; do sleep 0.1; done; mknod /null c 1 3; echo $? >/code; sleep 1000"]`}); err != nil {
		t.Fatal(err)
	}
	w.start(n)
	w.killSupervisors()
	w.tries(n, "+touch /go") // brings vserverd back, which knows the init's listener no more
	eventually(t, "an end of the call", func() bool { _, code := w.sh(n, "test -s /code"); return code == 0 })
	w.tries(n, "+grep -q '^1' /code", "-test -e /null", "+mknod /null c 1 3")
	again := w.nodes("again")
	w.start(again)
	if err := proto.Renew(w.Dirs); err != nil {
		t.Fatal(err)
	}
	w.tries(again, "+mknod /null c 1 3")
}

// With ccap set_rlimit the guest's root raises what it lowered, but not above what its
// init has; others do not, nor does a guest without it.
func TestSetRlimit(t *testing.T) {
	need.VM(t) // where root has the right itself
	w := newWorld(t)
	limits := func(s *guest.Spec) { s.Limits.Rlimits = map[string]guest.Rlimit{"nofile": {Soft: 256, Hard: 4096}} }
	none := w.guest("none", limits)
	some := w.guest("some", func(s *guest.Spec) {
		limits(s)
		s.Rights.Ccaps = []string{"set_rlimit"}
	})
	w.start(some)
	w.start(none)
	again := "ulimit -Hn 500 && ulimit -Sn 20 && ulimit -Hn 4096 && test $(ulimit -Hn) = 4096 && test $(ulimit -Sn) = 20"
	w.tries(some, "+"+again, "-ulimit -Hn 4097", "-ulimit -Hn 500 && ulimit -Hn 5000", "+ulimit -Hn 300")
	w.tries(none, "-"+again, "+ulimit -Hn 300")
	if out, code := w.run(some, Command{Args: []string{"/bin/sh", "-c", again}, User: "1000"}); code == 0 {
		t.Errorf("a user raised a limit\n%s", out)
	}
}

// Settings of the guest's own namespaces are set before its init runs and by set, and
// are not the guest's to change, nor the host's.
func TestSysctls(t *testing.T) {
	w := newWorld(t)
	n := w.guest("tuned", func(s *guest.Spec) {
		s.Rights.Sysctls = map[string]string{"kernel.shmmax": "1234567", "net.ipv4.ip_default_ttl": "77"}
	})
	before, err := proc.Sysctl("kernel.shmmax")
	if err != nil {
		t.Fatal(err)
	}
	w.start(n)
	w.tries(n, "+grep -q '^1234567$' /proc/sys/kernel/shmmax", "+grep -q '^77$' /proc/sys/net/ipv4/ip_default_ttl",
		"-echo 5 >/proc/sys/kernel/shmmax", "-echo 5 >/proc/sys/kernel/sem", "-echo 5 >/proc/sys/kernel/pid_max", "-echo 1 >/proc/sys/kernel/sysrq",
		"-mount -t proc proc /mnt 2>/dev/null && echo 5 >/mnt/sys/kernel/pid_max")
	c, err := w.Set(n, []string{"rights.sysctls.kernel.shmmax=7654321"})
	if err != nil || len(c.Restart) > 0 {
		t.Errorf("%+v, %v", c, err)
	}
	w.tries(n, "+grep -q '^7654321$' /proc/sys/kernel/shmmax")
	// What the kernel refuses is not written down either.
	for change, want := range map[string]error{"rights.sysctls.kernel.sem=none": syscall.EINVAL, "rights.devices=/dev/there-is-none": guest.ErrUnsupported} {
		if _, err := w.Set(n, []string{"rights.sysctls.kernel.shmmax=8888", change}); !errors.Is(err, want) {
			t.Errorf("%s: %v", change, err)
		}
		if spec, err := w.Load(n); err != nil || spec.Rights.Sysctls["kernel.shmmax"] != "7654321" || len(spec.Rights.Sysctls) != 2 || len(spec.Rights.Devices) > 0 {
			t.Errorf("%s: %+v, %v", change, spec.Rights, err)
		}
		w.tries(n, "+grep -q '^7654321$' /proc/sys/kernel/shmmax")
	}
	if c, err = w.Set(n, []string{"rights.sysctls.kernel.shmmax="}); err != nil || len(c.Restart) != 1 {
		t.Errorf("back: %+v, %v", c, err)
	}
	if now, err := proc.Sysctl("kernel.shmmax"); err != nil || now != before {
		t.Errorf("the host's shmmax was %s and is %s, %v", before, now, err)
	}
	if _, err := w.Set(n, []string{"rights.sysctls.kernel.pid_max=5"}); !errors.Is(err, guest.ErrUnsupported) || !strings.Contains(err.Error(), "whole host") {
		t.Errorf("pid_max: %v", err)
	}
	if err := os.WriteFile(w.Dirs.Spec("bad"), []byte("rights:\n  flags: [lock, igneg_nize]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := state.Load(w.Dirs, "bad"); err == nil || !strings.Contains(err.Error(), "bad.yaml:2:17: ") || !strings.Contains(err.Error(), "did you mean igneg_nice?") {
		t.Errorf("an unknown flag: %v", err)
	}
	os.Remove(w.Dirs.Spec("bad"))
	if makes := config.Makes(w.Dirs); makes(n, false, 1, 1) || !makes(n, false, 1, 3) {
		t.Error("which nodes may be made")
	}
}

// Root of a guest may take a mask from /proc, which hides and guards nothing; without ccap
// secure_mount it may not, nor mount another.
func TestMasks(t *testing.T) {
	w := newWorld(t)
	n := w.guest("masked", nil)
	locked := w.guest("locked", func(s *guest.Spec) { s.Rights.Ccaps = []string{"!secure_mount"} })
	w.start(n)
	w.start(locked)
	w.tries(n, "-grep -q . /proc/cmdline", "+umount /proc/cmdline")
	w.tries(locked, "-umount /proc/cmdline", "-umount -l /proc", "-mount -t proc proc /mnt", "-unshare -m umount /proc/cmdline",
		"-pivot_root / /mnt", "-grep -q . /proc/cmdline", "-grep -q . /proc/interrupts")
}

// A command of a guest without a user namespace is executed by sealed memory, so that the
// program of the host's that came in is nowhere in the guest to be written to; codes and
// words are those of others.
func TestSealed(t *testing.T) {
	w := newWorld(t)
	n := w.guest("hosts", func(s *guest.Spec) {
		s.Userns = guest.UsernsNone
		s.Init = guest.Init{Style: guest.InitPlain, Command: []string{"/bin/sleep", "1000"}, StopTimeout: guest.Duration(time.Second)}
	})
	w.start(n)
	w.tries(n, "+readlink /proc/1/exe | grep -q busybox", "+test $(tr '\\0' ' ' </proc/1/cmdline | cut -d' ' -f1) = /bin/sleep",
		"+test ! -e /proc/self/fd/4", "+exit 0", "-exit 7", `+printf '#!/proc/self/exe\n' >/again && chmod 755 /again`)
	for path, want := range map[string]int{"/again": 126, "/nowhere": 127, "nowhere": 127, "/etc/passwd": 126, "/bin/false": 1} {
		if out, code := w.run(n, Command{Args: []string{path}}); code != want {
			t.Errorf("%s: %d, want %d\n%s", path, code, want, out)
		}
	}
	w.stop(n)
	if _, err := w.Set(n, []string{"init.command=[/nowhere]"}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Start(t.Context(), n, StartOptions{}); err == nil || !strings.Contains(err.Error(), "exec /nowhere: no such file") {
		t.Errorf("an init that is not there: %v", err)
	}
	w.nothing(n)
}
