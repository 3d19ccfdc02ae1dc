package real_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"vserver/daemon/proto"
	"vserver/guest"
	"vserver/internal/need"
)

// shell makes a guest whose init is a shell that runs a script.
func (w *world) shell(t testing.TB, n, script string, more ...string) {
	t.Helper()
	w.do(t, append([]string{"build", n, "-m", "host", "--network", "none", "--init", "command",
		"--command", "/bin/sh", "--command", "-c", "--command", script}, more...)...)
}

// supervisor gives the pid of a process of the world's vserverd, 0 when there is none.
func (w *world) supervisor(role string) int {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		b, _ := os.ReadFile(f)
		words := strings.Split(string(b), "\x00")
		if words[0] != proto.Program || !slices.Contains(words, "--run="+w.dirs.Run) {
			continue
		}
		if words[1] == role || role == "--keeper" && words[1] == "--adopt" {
			pid, _ := strconv.Atoi(strings.Split(f, "/")[2])
			return pid
		}
	}
	return 0
}

// kill kills a process of vserverd; another comes.
func (w *world) kill(t testing.TB, role string) {
	t.Helper()
	eventually(t, 20*time.Second, func() error {
		if pid := w.supervisor(role); pid > 1 {
			return syscall.Kill(pid, syscall.SIGKILL)
		}
		return fmt.Errorf("no vserverd %s", role)
	})
}

// attached is a look whether somebody is at the console of a guest.
func (w *world) attached(n guest.Name) error {
	list, err := proto.List(w.dirs)
	if err == nil && !slices.ContainsFunc(list, func(g proto.Watched) bool { return g.Name == n && g.Clients > 0 }) {
		err = fmt.Errorf("nobody is at the console of %s", n)
	}
	return err
}

// log is the whole console log of a guest, the one before included.
func (w *world) log(n string) string {
	path := filepath.Join(w.dirs.State(guest.Name(n)), "console.log")
	before, _ := os.ReadFile(path + ".1")
	now, _ := os.ReadFile(path)
	return strings.ReplaceAll(string(before)+string(now), "\r", "")
}

// counts is a look whether a log counts from 1 without a gap, up to least or further.
func counts(text string, least int) error {
	all := lines(text)
	for i, l := range all {
		if l != strconv.Itoa(i+1) && i+1 < len(all) { // the last may be half there
			return fmt.Errorf("line %d is %q", i+1, l)
		}
	}
	if len(all) < least {
		return fmt.Errorf("%d lines, want %d", len(all), least)
	}
	return nil
}

const counting = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.002; done"

// TestSupervisorKilled kills vserverd's processes again and again: guests go on, what
// they print is logged without a gap, and what they do afterwards is heeded.
func TestSupervisorKilled(t *testing.T) {
	w := newWorld(t)
	w.shell(t, "tty", counting, "--set", "console.type=tty", "--set", "console.log_size=16M")
	w.shell(t, "log", counting, "--set", "console.log_size=16M")
	w.shell(t, "once", "echo ready; read x; exit 7", "--set", "console.type=tty")
	w.do(t, "start", "tty", "log")
	for i, role := range []string{"--worker", "--keeper", "--worker", "--worker", "--keeper", "--worker"} {
		w.kill(t, role)
		if i == 3 {
			w.do(t, "start", "once")
		}
		// Until the new one has what the old one held: both gone at once is another
		// matter, and the end of the consoles.
		for _, n := range []string{"tty", "log"} {
			least := len(lines(w.log(n))) + 10
			eventually(t, 60*time.Second, func() error { return counts(w.log(n), least) })
		}
	}
	for _, n := range []string{"tty", "log"} {
		least := len(lines(w.log(n))) + 100
		eventually(t, 20*time.Second, func() error { return counts(w.log(n), least) })
		if err := w.state(n, "running")(); err != nil {
			t.Error(err)
		}
	}
	p := w.sit(t, "console", "once")
	p.reads("ready")
	w.kill(t, "--worker")
	eventually(t, 30*time.Second, func() error { return w.attached("once") }) // to the next
	p.types("\r", "exited with code 7")
	p.ends()
	eventually(t, 10*time.Second, w.state("once", "stopped"))
	if out := w.run("status", "once").out; !strings.Contains(out, "code 7") {
		t.Errorf("the end is told as %s", out)
	}
}

// TestRestartPolicy has guests that end: by themselves, for want of memory, by a stop,
// by a reboot from inside.
func TestRestartPolicy(t *testing.T) {
	w := newWorld(t)
	w.shell(t, "fails", "echo up; exit 1", "--restart", "on-failure")
	w.shell(t, "works", "echo up; exit 0", "--restart", "on-failure")
	w.shell(t, "stays", "echo up; sleep 1000", "--restart", "always")
	w.do(t, "start", "fails", "works", "stays")
	times := func(n string, least int) func() error {
		return func() error {
			if got := strings.Count(w.log(n), "up\n"); got < least {
				return fmt.Errorf("%s came up %d times, want %d", n, got, least)
			}
			return nil
		}
	}
	eventually(t, 20*time.Second, times("fails", 3)) // after 1 and 2 seconds
	w.do(t, "stop", "stays")
	w.run("stop", "fails") // it may have ended just now
	time.Sleep(2 * time.Second)
	for _, n := range []string{"works", "stays"} {
		if got := strings.Count(w.log(n), "up\n"); got != 1 {
			t.Errorf("%s came up %d times, want once", n, got)
		}
	}
	if err := errors.Join(w.state("works", "stopped")(), w.state("stays", "stopped")()); err != nil {
		t.Error(err)
	}
}

// TestOutOfMemory has the kernel kill a guest's init for want of memory: the status
// says so.
func TestOutOfMemory(t *testing.T) {
	if b, _ := os.ReadFile("/sys/fs/cgroup/cgroup.controllers"); !strings.Contains(string(b), "memory") {
		need.ControllersV1(t, "memory")
	}
	w := newWorld(t)
	w.shell(t, "hungry", "exec tail /dev/zero", "--memory", "32M")
	w.do(t, "start", "hungry")
	eventually(t, 30*time.Second, w.state("hungry", "stopped"))
	if err := w.state("hungry", "out of memory")(); err != nil {
		t.Error(err)
	}
}

// TestBootScript starts and stops the guests of a host as its init does: those with the
// mark default, each after those that it depends on.
func TestBootScript(t *testing.T) {
	w := newWorld(t)
	script, err := os.ReadFile("../../boot/vserver.init")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "vserver")
	text := bytes.ReplaceAll(script, []byte("/usr/sbin/vserver"), []byte(w.bin))
	if err := os.WriteFile(file, text, 0o755); err != nil {
		t.Fatal(err)
	}
	boot := func(verb string, want int) {
		t.Helper()
		c := exec.Command(file, verb)
		c.Env = append(os.Environ(), "VSERVER_ROOT="+w.root)
		out, err := c.CombinedOutput()
		if c.ProcessState == nil || c.ProcessState.ExitCode() != want {
			t.Fatalf("vserver.init %s: %v\n%s", verb, err, out)
		}
	}
	hook := filepath.Join(t.TempDir(), "hook")
	order := filepath.Join(t.TempDir(), "order")
	if err := os.WriteFile(hook, []byte("#!/bin/sh\necho $1 $2 >>"+order+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, g := range [][]string{ // a guest comes after those that it depends on
		{"db", "--set", "boot.marks=[default]"},
		{"web", "--set", "boot.marks=[default]", "--set", "boot.depends=[db]"},
		{"other"},
	} {
		w.shell(t, g[0], "sleep 1000", append(g[1:], "--set", "hooks.post-start=["+hook+"]", "--set", "hooks.post-stop=["+hook+"]")...)
	}
	boot("start", 0)
	if err := errors.Join(w.state("db", "running")(), w.state("web", "running")(), w.state("other", "stopped")()); err != nil {
		t.Error(err)
	}
	boot("start", 0) // they run already
	w.do(t, "start", "other")
	boot("stop", 0)
	boot("stop", 0)
	boot("nonsense", 2)
	if err := errors.Join(w.state("db", "stopped")(), w.state("web", "stopped")(), w.state("other", "stopped")()); err != nil {
		t.Error(err)
	}
	got, _ := os.ReadFile(order)
	text2 := strings.ReplaceAll(strings.ReplaceAll(string(got), "post-start other\n", ""), "post-stop other\n", "")
	if want := "post-start db\npost-start web\npost-stop web\npost-stop db\n"; text2 != want {
		t.Errorf("the order is %q, want %q", text2, want)
	}
}

// TestSystemdKeeps runs vserverd under a real systemd, by the units that are installed,
// and kills it: systemd keeps the consoles, and the log has no gap.
func TestSystemdKeeps(t *testing.T) {
	w := newWorld(t)
	const init = "/lib/systemd/systemd"
	if _, err := os.Stat(init); err != nil {
		t.Skipf("need systemd: %v", err)
	}
	dir := t.TempDir()
	teller := filepath.Join(dir, "teller")
	c := exec.Command("go", "build", "-o", teller, "vserver/internal/real/teller")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	w.do(t, "build", "host", "-m", "host", "--network", "none", "--set", "init.command=["+init+"]")
	w.do(t, "start", "host", "--wait-ready")
	for path, from := range map[string]string{
		"/root/sbin/vserverd":                 w.bin,
		"/root/sbin/teller":                   teller,
		"/etc/systemd/system/vserverd.socket": "../../boot/vserverd.socket", "/etc/systemd/system/vserverd.service": "../../boot/vserverd.service",
	} {
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(path, ".service") {
			b = bytes.ReplaceAll(b, []byte("/usr/sbin/"), []byte("/root/sbin/"))
			b = bytes.ReplaceAll(b, []byte("OOMScoreAdjust="), []byte("#")) // not a guest's to ask
		}
		if r := w.feed(string(b), "exec", "host", "sh", "-c", "mkdir -p $(dirname "+path+"); cat >"+path+"; chmod 755 "+path); r.code != 0 {
			t.Fatalf("%s: %s", path, r.err)
		}
	}
	w.sh(t, "host", "systemctl daemon-reload; systemctl start vserverd.socket; /root/sbin/teller")
	log := func(kind string) string {
		return strings.ReplaceAll(w.sh(t, "host", "cat /run/vserver/guests/"+kind+"/console.log"), "\r", "")
	}
	for range 5 {
		w.sh(t, "host", "kill -9 $(systemctl show -P MainPID vserverd); sleep 0.3")
	}
	w.sh(t, "host", "systemctl restart vserverd; sleep 0.3")
	for _, kind := range []string{"tty", "log"} {
		least := len(lines(log(kind))) + 100
		eventually(t, 20*time.Second, func() error { return counts(log(kind), least) })
	}
	w.sh(t, "host", "systemctl is-active vserverd; test $(systemctl show -P NFileDescriptorStore vserverd) -ge 4")
}
