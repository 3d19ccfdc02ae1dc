package real_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	"vserver/internal/need"
)

// server is a guest with a release of Debian.
type server struct {
	*world
	name, addr string
	keys       string // directory of the ssh key and the known hosts
	serves     bool   // nginx and PostgreSQL were installed
}

// TestDebian has two releases run at the same time, each as a server that people work
// with.
func TestDebian(t *testing.T) {
	need.Long(t)
	w := newWorld(t)
	need.Mirror(t)
	w.keepImages()
	w.ownNet()
	proxy := w.proxy()
	keys := newKeys(t)
	releases := []string{"bookworm", "trixie"}
	w.images(t, releases)
	var servers []*server
	for i, r := range releases {
		s := &server{world: w, name: r, addr: address(byte(10 + i)), keys: keys}
		w.do(t, "create", r, "--debian", r, "--network", "private", "--ip", s.addr+"/24", "--ssh-key", filepath.Join(keys, "key.pub"), "--ready-timeout", "3m")
		servers = append(servers, s)
	}
	for _, s := range servers {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			w.sh(t, s.name, "echo '* * * * * root echo $(whoami) > /var/tmp/cron' > /etc/cron.d/real")
			t.Run("boot", s.boot)
			t.Run("console", s.console)
			t.Run("users", s.users)
			t.Run("login", s.login)
			t.Run("terminal", s.terminal)
			t.Run("ping", func(t *testing.T) { s.ping(t, gateway, servers[0].addr, servers[1].addr) })
			t.Run("units", s.units)
			t.Run("packages", func(t *testing.T) { s.packages(t, proxy) })
			t.Run("reboot", s.reboot)
			t.Run("cron", func(t *testing.T) { eventually(t, 2*time.Minute, w.says(s.name, "cat /var/tmp/cron", "root")) })
			t.Run("stop", s.stop)
			t.Run("poweroff", s.poweroff)
			t.Run("rights", s.rights)
		})
	}
}

// images installs the releases, unless the machine has them: at the same time, in the
// network of this machine.
func (w *world) images(t *testing.T, releases []string) {
	t.Helper()
	here := *w
	here.net = netns.None()
	done := make(chan result, len(releases))
	for _, r := range releases {
		go func() { done <- here.run("build", "image-"+r, "-d", r) }()
	}
	for range releases {
		if r := <-done; r.code != 0 {
			t.Errorf("build: exit code %d\n%s%s", r.code, r.out, r.err)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}

// newKeys makes a key for logins.
func newKeys(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	c := exec.Command(need.Command(t, "ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, "key"))
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v: %s", err, out)
	}
	return dir
}

// ssh runs a line of shell in the guest as one of its users, logged in from the host.
func (s *server) ssh(t *testing.T, user, line string) (string, error) {
	t.Helper()
	c := exec.CommandContext(t.Context(), need.Command(t, "ssh"), "-i", filepath.Join(s.keys, "key"),
		"-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=accept-new", "-o", "UserKnownHostsFile="+filepath.Join(s.keys, "hosts."+s.name),
		"-o", "ConnectTimeout=10", "-o", "LogLevel=ERROR", "-F", "none", user+"@"+s.addr, line)
	var out strings.Builder
	c.Stdout, c.Stderr = &out, &out
	err := s.begin(c)
	if err == nil {
		err = c.Wait()
	}
	return strings.TrimSpace(out.String()), err
}

// healthy is a look whether systemd has started everything.
func (s *server) healthy() error {
	r := s.feed("systemctl is-system-running; systemctl --failed --no-legend --plain", "exec", s.name, "sh", "-s")
	if strings.TrimSpace(r.out) != "running" {
		return fmt.Errorf("%s: %q %s", s.name, r.out, r.err)
	}
	return nil
}

func (s *server) boot(t *testing.T) {
	eventually(t, time.Minute, s.healthy)
	out := s.sh(t, s.name, `
		. /etc/os-release; echo "$VERSION_CODENAME"; hostname
		cat /proc/1/comm; systemd-detect-virt -c
		systemctl is-active multi-user.target systemd-journald systemd-logind dbus cron ssh`)
	want := s.name + "\n" + s.name + "\nsystemd\n"
	if !strings.HasPrefix(out, want) || strings.Count(out, "\nactive") != 6 {
		t.Errorf("%s", out)
	}
	s.sh(t, s.name, "logger -t real 'written to the journal'; journalctl --sync; journalctl --verify -q")
	out = s.sh(t, s.name, "journalctl -b -o cat -t real; journalctl -b -q -o cat _PID=1 | head -3")
	if !strings.Contains(out, "written to the journal") || len(lines(out)) < 4 {
		t.Errorf("the journal: %s", out)
	}
	if out := s.sh(t, s.name, "journalctl -b -q -o cat -p err"); out != "" {
		t.Errorf("errors in the journal: %s", out)
	}
}

// console looks for the login prompt at the end of what the console showed.
func (s *server) console(t *testing.T) {
	eventually(t, 30*time.Second, func() error {
		r := s.run("logs", s.name)
		if !strings.Contains(r.out, "Debian GNU/Linux") || !strings.HasSuffix(strings.TrimSpace(r.out), s.name+" login:") {
			return fmt.Errorf("no login prompt on the console:\n%s%s", r.out, r.err)
		}
		return nil
	})
}

// users logs people in: by ssh with a key, by su, by sudo.
func (s *server) users(t *testing.T) {
	key, err := os.ReadFile(filepath.Join(s.keys, "key.pub"))
	if err != nil {
		t.Fatal(err)
	}
	s.sh(t, s.name, `
		useradd -m -s /bin/bash -G sudo alice; echo alice:wonderland | chpasswd
		mkdir -m 700 ~alice/.ssh; echo '`+strings.TrimSpace(string(key))+`' > ~alice/.ssh/authorized_keys; chown -R alice: ~alice/.ssh`)
	if out, err := s.ssh(t, "root", "id -un; hostname"); err != nil || out != "root\n"+s.name {
		t.Errorf("ssh root: %v: %s", err, out)
	}
	out, err := s.ssh(t, "alice", `id -un; echo ${SSH_CONNECTION%% *}; loginctl show-session --property=Name --value "$XDG_SESSION_ID"; test -d "$XDG_RUNTIME_DIR" && systemctl --user is-active default.target`)
	if err != nil || out != "alice\n"+gateway+"\nalice\nactive" {
		t.Errorf("ssh alice: %v: %s", err, out)
	}
	if out, err := s.ssh(t, "alice", "echo wonderland | sudo -S -p '' id -un"); err != nil || out != "root" {
		t.Errorf("sudo: %v: %s", err, out)
	}
	if out, err := s.ssh(t, "alice", "sudo -n id -un"); err == nil {
		t.Errorf("sudo without a password: %s", out)
	}
	if out := s.sh(t, s.name, "su - alice -c 'id -un; pwd; touch mine; stat -c %U mine'"); out != "alice\n/home/alice\nalice" {
		t.Errorf("su: %s", out)
	}
	if out := s.do(t, "suexec", s.name, "alice", "id", "-un"); strings.TrimSpace(out) != "alice" {
		t.Errorf("suexec: %s", out)
	}
	eventually(t, 30*time.Second, s.healthy)
}

// login logs in at the console.
func (s *server) login(t *testing.T) {
	p := s.sit(t, "console", s.name)
	p.types("\n", "login: ")
	p.types("alice\n", "Password: ")
	p.types("wonderland\n", "alice@"+s.name)
	p.types("tty; echo $((6*7))\n", "\n42")
	p.types("exit\n", "login: ")
	p.types("\x1d", "detached")
	if code := p.ends(); code != 0 {
		t.Errorf("console: exit code %d", code)
	}
	eventually(t, 30*time.Second, s.healthy)
}

// terminal enters the guest with a terminal of its own.
func (s *server) terminal(t *testing.T) {
	p := s.sit(t, "enter", s.name)
	p.types("tty; stty size\n", "/dev/pts/")
	p.reads("24 80")
	p.types("sh -c 'echo $((6*7)); exec sleep 100'\n", "\n42") // in the foreground, or the shell would have the signal
	p.types("\x03", "^C")
	p.types("exit 7\n", "")
	if code := p.ends(); code != 7 {
		t.Errorf("enter: exit code %d, want that of the shell", code)
	}
}

// ping asks the guest itself, its host and its neighbour, as root and as somebody.
func (s *server) ping(t *testing.T, to ...string) {
	for _, a := range append(to, "127.0.0.1") {
		s.sh(t, s.name, "ping -q -c 1 -W 5 "+a)
		s.sh(t, s.name, "su nobody -s /bin/sh -c 'ping -q -c 1 -W 5 "+a+"'")
	}
}

// packages installs servers and sees them serve.
func (s *server) packages(t *testing.T, proxy string) {
	s.sh(t, s.name, aptSetup(proxy)+"apt-get -qq update\n"+aptInstall("nginx postgresql"))
	eventually(t, time.Minute, s.healthy)
	s.serves = true
	s.serving(t)
}

// serving asks nginx for its first page and PostgreSQL for a sum.
func (s *server) serving(t *testing.T) {
	t.Helper()
	eventually(t, 30*time.Second, s.says80("Welcome to nginx"))
	eventually(t, 30*time.Second, s.says(s.name, "su postgres -c \"psql -Atc 'select 6*7'\"", "42"))
}

// initPID is the guest's init as the host sees it.
func (s *server) initPID(t testing.TB) int {
	t.Helper()
	var info struct {
		State   string `json:"state"`
		InitPID int    `json:"init_pid"`
	}
	if err := json.Unmarshal([]byte(s.do(t, "info", s.name, "--json")), &info); err != nil {
		t.Fatal(err)
	}
	return info.InitPID
}

// reboot has the guest restart itself, with all that was installed.
func (s *server) reboot(t *testing.T) {
	was := s.initPID(t)
	s.run("exec", s.name, "systemctl", "reboot") // it may end before the answer
	eventually(t, time.Minute, s.newInit(was))
	eventually(t, time.Minute, s.healthy)
	if s.serves {
		s.serving(t)
	}
	if out, err := s.ssh(t, "root", "uptime -s"); err != nil {
		t.Errorf("ssh after the reboot: %v: %s", err, out)
	}
}

// stop and start leave a healthy guest, and the stop was one of the guest's own.
func (s *server) stop(t *testing.T) {
	began := time.Now()
	s.do(t, "stop", s.name)
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("the stop took %v", took)
	}
	s.do(t, "start", s.name, "--wait-ready")
	eventually(t, time.Minute, s.healthy)
	if out := s.sh(t, s.name, "journalctl -b -1 -q -o cat _PID=1 | tail -20"); !strings.Contains(out, "shutdown.target") {
		t.Errorf("the journal of the last boot ends with:\n%s", out)
	}
}

// poweroff from inside leaves the guest stopped.
func (s *server) poweroff(t *testing.T) {
	s.run("exec", s.name, "poweroff")
	eventually(t, time.Minute, s.state(s.name, "stopped"))
	time.Sleep(time.Second) // for a restart that nobody asked for
	r := s.run("status", s.name)
	if r.code != 3 || !strings.Contains(r.out, "halted from inside") {
		t.Errorf("status: exit code %d: %s%s", r.code, r.out, r.err)
	}
}
