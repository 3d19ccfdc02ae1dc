package real_test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vserver/internal/need"
)

// TestBusybox has the smallest of all inits as a guest's pid 1.
func TestBusybox(t *testing.T) {
	w := newWorld(t)
	w.ownNet()
	tree := filepath.Join(t.TempDir(), "tree")
	need.Busybox(t, tree)
	for name, text := range map[string]string{
		"etc/inittab":    "::sysinit:/bin/touch /run/booted\n::respawn:/bin/busybox httpd -f -p 80 -h /srv\ntty1::respawn:/bin/sh -c 'exec </dev/tty && touch /run/controlled; exec sleep 1000'\n::shutdown:/bin/sh -c 'echo going down; date >> /srv/ends'\n",
		"srv/index.html": "from busybox\n",
	} {
		path := filepath.Join(tree, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	addr := address(20)
	w.do(t, "build", "box", "-m", "rsync", "--from", tree, "--network", "private", "--ip", addr+"/24")
	w.do(t, "start", "box")
	s := &server{world: w, name: "box", addr: addr}
	booted := func() {
		t.Helper()
		eventually(t, 10*time.Second, w.says("box", "cat /proc/1/comm; ls /run/booted /run/controlled", "init\n/run/booted\n/run/controlled"))
		eventually(t, 10*time.Second, s.says80("from busybox"))
	}
	booted()
	for _, reboot := range []string{"reboot", "kill -TERM 1"} {
		was := s.initPID(t)
		w.feed(reboot, "exec", "box", "sh", "-s")
		eventually(t, 20*time.Second, s.newInit(was))
		booted()
	}
	w.do(t, "stop", "box")
	if r := w.run("status", "box"); r.code != 3 || !strings.Contains(r.out, "stopped") {
		t.Errorf("status: %d %s%s", r.code, r.out, r.err)
	}
	w.do(t, "start", "box")
	booted()
	w.run("exec", "box", "poweroff")
	eventually(t, 20*time.Second, w.state("box", "halted from inside"))
	w.do(t, "start", "box")
	booted()
	if n := len(lines(w.sh(t, "box", "cat /srv/ends"))); n != 4 {
		t.Errorf("the inittab's line for shutdown was run %d times of 4", n)
	}
}

// says80 is a look for words in the page that a guest serves.
func (s *server) says80(words string) func() error {
	return func() error {
		c, err := s.reach(s.t, s.addr+":80")
		if err != nil {
			return err
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(10 * time.Second))
		fmt.Fprintf(c, "GET / HTTP/1.0\r\nHost: %s\r\n\r\n", s.name)
		var page strings.Builder
		_, err = bufio.NewReader(c).WriteTo(&page)
		if !strings.Contains(page.String(), words) {
			return fmt.Errorf("port 80 says %q, %w", page.String(), err)
		}
		return nil
	}
}

// newInit is a look whether the guest has another init than the one it had.
func (s *server) newInit(was int) func() error {
	return func() error {
		if now := s.initPID(s.t); now == 0 || now == was {
			return fmt.Errorf("init was %d, is %d", was, now)
		}
		return nil
	}
}

// greets is a look whether the guest's sshd answers.
func (s *server) greets() error {
	c, err := s.reach(s.t, s.addr+":22")
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	line, err := bufio.NewReader(c).ReadString('\n')
	if !strings.HasPrefix(line, "SSH-") {
		return fmt.Errorf("sshd says %q, %w", line, err)
	}
	return nil
}

// otherInits are Debian's inits beside systemd: what is installed, and how the guest
// tells that it has come up.
func otherInits() []struct{ name, packages, script, words string } {
	return []struct{ name, packages, script, words string }{
		{"sysvinit", "sysvinit-core", "cat /proc/1/comm; runlevel", "init\nN 2"},
		{"openrc", "sysvinit-core openrc", "cat /proc/1/comm; rc-status --runlevel", "init\ndefault"},
		{"runit", "runit-init", "cat /proc/1/comm; sv status /etc/service/*", "runit\nrun:"},
	}
}

// TestInits turns servers with systemd into ones with other inits, as an admin would:
// by installing one.
func TestInits(t *testing.T) {
	need.Long(t)
	w := newWorld(t)
	need.Mirror(t)
	w.keepImages()
	w.ownNet()
	proxy := w.proxy()
	w.images(t, []string{"bookworm"})
	w.do(t, "create", "base", "--debian", "bookworm", "--network", "private", "--ip", address(30)+"/24", "--ready-timeout", "3m", "-r")
	w.sh(t, "base", aptSetup(proxy)+"apt-get -qq update")
	w.do(t, "stop", "base")
	for i, init := range otherInits() {
		t.Run(init.name, func(t *testing.T) {
			t.Parallel()
			s := &server{world: w, name: init.name, addr: address(byte(31 + i))}
			w.do(t, "build", s.name, "--from", "base", "--network", "private", "--ip", s.addr+"/24")
			w.do(t, "start", s.name, "-r")
			w.sh(t, s.name, aptInstall(init.packages))
			w.do(t, "restart", s.name)
			s.otherLife(t, w.says(s.name, init.script, init.words))
			if init.name == "sysvinit" {
				s.withoutInit(t)
			}
		})
	}
}

// otherLife is the life of a guest whose init is not systemd.
func (s *server) otherLife(t *testing.T, booted func() error) {
	up := func() {
		t.Helper()
		eventually(t, time.Minute, booted)
		eventually(t, time.Minute, s.greets)
	}
	up()
	p := s.sit(t, "console", s.name)
	p.types("\n", s.name+" login:")
	eventually(t, time.Minute, s.says(s.name, "ps -o tty= -C getty", "pts/0")) // controls it
	p.types("\x1d", "detached")
	p.ends()
	was := s.initPID(t)
	s.run("exec", s.name, "reboot")
	eventually(t, time.Minute, s.newInit(was))
	up()
	began := time.Now()
	s.do(t, "stop", s.name)
	if took := time.Since(began); took > 40*time.Second {
		t.Errorf("the stop took %v", took)
	}
	s.do(t, "start", s.name)
	up()
	s.run("exec", s.name, "poweroff")
	eventually(t, time.Minute, s.state(s.name, "halted from inside"))
}

// withoutInit starts the services of a guest by its runlevel's scripts, with none of
// its own programs as pid 1.
func (s *server) withoutInit(t *testing.T) {
	s.do(t, "set", s.name, "init.style=sysv", "init.runlevel=2")
	s.do(t, "start", s.name)
	eventually(t, time.Minute, s.greets)
	eventually(t, time.Minute, s.says(s.name, "cat /proc/1/comm; pgrep -x cron >/dev/null && echo cron runs", "vserver-init\ncron runs"))
	was := s.initPID(t)
	s.run("exec", s.name, "reboot", "-f") // without -f it asks an init for it
	eventually(t, time.Minute, s.newInit(was))
	eventually(t, time.Minute, s.greets)
	s.do(t, "stop", s.name)
	eventually(t, time.Minute, s.state(s.name, "stopped"))
}

// aptSetup has apt fetch from the world's proxy, and not wait for the disk.
func aptSetup(proxy string) string {
	return `echo 'Acquire::http::Proxy "` + proxy + `"; Acquire::Languages "none"; APT::Install-Recommends "false";' > /etc/apt/apt.conf.d/real
		echo force-unsafe-io > /etc/dpkg/dpkg.cfg.d/real
		`
}

// aptInstall installs packages, and shows what apt said when it does not.
func aptInstall(packages string) string {
	return `DEBIAN_FRONTEND=noninteractive apt-get -q -y install ` + packages + ` >/var/tmp/apt.log 2>&1 || { tail -50 /var/tmp/apt.log >&2; exit 1; }`
}
