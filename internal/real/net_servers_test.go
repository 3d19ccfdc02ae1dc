package real_test

import (
	"fmt"
	"io"
	"net"
	"net/smtp"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vserver/internal/need"
)

// serverPackages are servers as Debian installs them.
const serverPackages = "nginx-light,postfix,postgresql,curl"

// TestNetServers has three guests and their host run the same servers at the same time,
// each with the configuration that Debian gives it, on the ports that everybody knows,
// in one network. The second and the third guest see their own addresses alone.
func TestNetServers(t *testing.T) {
	need.Long(t)
	w := newWorld(t)
	need.Mirror(t)
	w.keepImages()
	w.ownNet()
	w.address("2001:db8:5::1/64")
	keys := newKeys(t)
	here := *w
	here.net = -1
	here.do(t, "build", "origin", "-d", "bookworm", "--packages", serverPackages)
	tree := filepath.Join(w.dirs.Pool(), "images", strings.TrimSpace(strings.TrimPrefix(w.do(t, "config", "origin", "root.lower"), "- ")), "tree")

	sides := []*server{{world: w, name: "host", addr: gateway, keys: keys}}
	w.machine(t, tree, keys)
	for i, n := range []string{"web1", "web2", "web3"} {
		s := &server{world: w, name: n, addr: address(byte(21 + i)), keys: keys}
		w.do(t, "create", n, "-d", "bookworm", "--packages", serverPackages, "--ssh-key", filepath.Join(keys, "key.pub"), "--ready-timeout", "3m",
			"--ip", s.addr+"/24", "--ip", fmt.Sprintf("2001:db8:5::%d/64", 21+i), "--no-start")
		sides = append(sides, s)
	}
	for _, n := range []string{"web2", "web3"} {
		w.do(t, "set", n, "network.flags=hide_netif")
	}
	for _, s := range sides[1:] {
		w.do(t, "start", s.name, "--wait-ready")
		eventually(t, time.Minute, s.healthy)
		w.sh(t, s.name, setUp(s.name))
	}
	t.Run("ssh", func(t *testing.T) { shells(t, sides) })
	t.Run("web", func(t *testing.T) { pages(t, sides) })
	t.Run("sql", func(t *testing.T) { tables(t, sides[1:]) })
	t.Run("mail", func(t *testing.T) { letters(t, sides) })
	t.Run("reboot", func(t *testing.T) {
		sides[1].reboot(t)
		pages(t, sides)
	})
}

// setUp has a server's answers tell whose they are. It runs in its root.
func setUp(name string) string {
	return `
	echo 'this is ` + name + `' > /var/www/html/index.html
	useradd -m alice
	su postgres -c psql <<-!
		create role alice login password 'wonderland';
		create database names owner alice;
		\c names
		create table whose as select '` + name + `' as name;
		grant select on whose to alice;
	!
	`
}

// machine runs the servers of a root on the host, in no guest, until the test ends.
func (w *world) machine(t *testing.T, tree, keys string) {
	t.Helper()
	key, err := os.ReadFile(filepath.Join(keys, "key.pub"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	script := `
		cd ` + dir + `
		mount -t tmpfs own . && mkdir up work root
		mount -t overlay -o lowerdir=` + tree + `,upperdir=up,workdir=work own root
		mount -t proc proc root/proc && mount --rbind /dev root/dev
		mount -t tmpfs run root/run
		exec chroot root /bin/sh -e -s
	`
	inside := `
		exec 2>&1
		export LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin
		ssh-keygen -A >/dev/null
		mkdir -p /root/.ssh /run/sshd
		echo '` + strings.TrimSpace(string(key)) + `' > /root/.ssh/authorized_keys
		for s in ssh nginx postgresql postfix; do service $s start </dev/null || exit 1; done
		` + setUp("host") + `
		echo all serve
		exec sleep infinity </dev/null
	`
	c := exec.Command(need.Command(t, "unshare"), "--mount", "--uts", "--pid", "--fork", "--kill-child", "sh", "-e", "-c", "hostname host;"+script)
	c.Stdin = strings.NewReader(inside)
	out, err := c.StdoutPipe()
	if err == nil {
		c.Stderr = c.Stdout
		err = w.begin(c)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Process.Kill()
		c.Wait()
	})
	var said strings.Builder
	buf := make([]byte, 1000)
	for !strings.Contains(said.String(), "all serve") {
		n, err := out.Read(buf)
		said.Write(buf[:n])
		if err != nil {
			t.Fatalf("the host's servers: %v\n%s", err, said.String())
		}
	}
	go io.Copy(io.Discard, out)
}

// shells logs in everywhere by ssh, from the host and from one guest in the other.
func shells(t *testing.T, sides []*server) {
	for _, s := range sides {
		if out, err := s.ssh(t, "root", "hostname; cat /var/www/html/index.html"); err != nil || !strings.HasSuffix(out, "this is "+s.name) {
			t.Errorf("ssh %s: %v: %s", s.name, err, out)
		}
	}
	if out, err := sides[1].ssh(t, "root", "echo $SSH_CONNECTION"); err != nil || out != "" && !strings.HasPrefix(out, gateway+" ") || !strings.HasSuffix(out, " "+sides[1].addr+" 22") {
		t.Errorf("the connection of ssh to web1: %v: %q", err, out)
	}
}

// sixes are the last numbers of the IPv6 addresses of the host and the guests.
func sixes() []int { return []int{1, 21, 22, 23} }

// pages asks every web server by every address, from everywhere; in a guest localhost
// is the guest.
func pages(t *testing.T, sides []*server) {
	for _, s := range sides[1:] {
		for i, to := range sides {
			six := fmt.Sprintf("[2001:db8:5::%d]", sixes()[i])
			for _, a := range []string{to.addr, six} {
				if out := s.sh(t, s.name, "curl -gsS http://"+a+"/"); out != "this is "+to.name {
					t.Errorf("%s asks %s (%s): %s", s.name, a, to.name, out)
				}
			}
		}
		for _, a := range []string{"127.0.0.1", "[::1]", "localhost", s.name} {
			if out := s.sh(t, s.name, "curl -gsS http://"+a+"/"); out != "this is "+s.name {
				t.Errorf("%s asks %s: %s", s.name, a, out)
			}
		}
		if out := s.sh(t, s.name, "tail -n 20 /var/log/nginx/access.log"); !strings.Contains(out, "\n127.0.0.1 ") || !strings.Contains(out, "::1 ") {
			t.Errorf("the log of %s:\n%s", s.name, out)
		}
	}
	for i, to := range sides {
		for _, a := range []string{to.addr, fmt.Sprintf("2001:db8:5::%d", sixes()[i])} {
			c, err := to.reach(t, net.JoinHostPort(a, "80"))
			if err != nil {
				t.Errorf("%s: %v", a, err)
				continue
			}
			io.WriteString(c, "GET / HTTP/1.0\r\n\r\n")
			if out, err := io.ReadAll(c); err != nil || !strings.HasSuffix(string(out), "this is "+to.name+"\n") {
				t.Errorf("the host asks %s: %v: %s", a, err, out)
			}
			c.Close()
		}
	}
}

// tables asks PostgreSQL, which listens on localhost alone: everybody has one.
func tables(t *testing.T, guests []*server) {
	for _, s := range guests {
		for _, a := range []string{"127.0.0.1", "::1", "localhost"} {
			out := s.sh(t, s.name, "PGPASSWORD=wonderland psql -h "+a+" -U alice -Atc \"select name, inet_server_addr(), inet_server_port() from whose\" names")
			want := s.name + "|127.0.0.1|5432"
			if a != "127.0.0.1" {
				want = s.name + "|::1|5432"
			}
			if out != want && out != s.name+"|127.0.0.1|5432" {
				t.Errorf("%s at %s: %s, want %s", s.name, a, out, want)
			}
		}
		if r := s.feed("psql -h "+gateway+" -U alice names", "exec", s.name, "sh", "-s"); r.code == 0 || !strings.Contains(r.err, "refused") {
			t.Errorf("%s reaches the host's: %s%s", s.name, r.out, r.err)
		}
	}
}

// letters sends mail from each guest to the next, by SMTP. Nobody has a name server:
// addresses stand for the names. Postfix takes all addresses of a machine for its own,
// so the guest that sees those of the others is told which are; those that do not need
// nothing but the name, which Debian's package took from where the image was made.
func letters(t *testing.T, sides []*server) {
	guests := sides[1:]
	guests[0].sh(t, guests[0].name, "postconf -e 'inet_interfaces="+guests[0].addr+", 127.0.0.1, ::1'")
	for _, s := range guests {
		s.sh(t, s.name, "postconf -e myhostname="+s.name+".example.org")
		s.sh(t, s.name, "systemctl restart postfix")
	}
	for i, from := range guests {
		for _, to := range guests {
			if from == to {
				continue
			}
			from.sh(t, from.name, "printf 'Subject: from "+from.name+"\n\nhello\n' | sendmail 'alice@["+to.addr+"]'")
			eventually(t, 30*time.Second, to.says(to.name, "cat /var/mail/alice; postqueue -p", "Subject: from "+from.name))
			if out := to.sh(t, to.name, "cat /var/mail/alice"); !strings.Contains(out, "(Postfix)") || !strings.Contains(out, "["+from.addr+"]") {
				t.Errorf("the letter from %s in %s:\n%s", from.name, to.name, out)
			}
		}
		if set := from.sh(t, from.name, "postconf -n inet_interfaces"); i > 0 && set != "inet_interfaces = all" {
			t.Errorf("%s: %s, want what the package sets", from.name, set)
		}
	}
	for _, s := range sides { // and who greets there
		c, err := s.reach(t, s.addr+":25")
		if err != nil {
			t.Error(err)
			continue
		}
		m, err := smtp.NewClient(c, s.name)
		if err == nil {
			err = m.Quit()
		}
		if err != nil {
			t.Errorf("SMTP of %s: %v", s.name, err)
		}
		c.Close()
	}
}
