package real_test

import (
	"strings"
	"testing"
	"time"

	"vserver/internal/need"
)

// TestDocker has Docker of Debian run containers in a guest, as doc/containers.md says.
func TestDocker(t *testing.T) {
	need.Long(t)
	w := newWorld(t)
	need.Mirror(t)
	w.keepImages()
	w.ownNet()
	here := *w
	here.net = -1
	here.do(t, "build", "box", "-d", "bookworm", "--network", "private", "--ip", address(60)+"/24", "--nesting", "--bcaps", "net_admin,mknod",
		"--mounts", "docker /var/lib/docker volume")
	w.do(t, "start", "box", "--wait-ready")
	w.sh(t, "box", `
		echo 'Acquire::http::Proxy "`+w.proxy()+`";' >/etc/apt/apt.conf.d/proxy
		apt-get -qq update
		DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends docker.io iptables busybox-static
		mkdir -p /tmp/tree/bin
		cp /bin/busybox /tmp/tree/bin
		ln -s busybox /tmp/tree/bin/hostname
		tar -C /tmp/tree -c . | docker import - small`)
	eventually(t, time.Minute, (&server{world: w, name: "box"}).healthy)
	if got := w.sh(t, "box", "docker info -f '{{.Driver}}'; docker run --rm --hostname inner small busybox hostname"); got != "overlay2\ninner" {
		t.Errorf("docker says %q", got)
	}
	w.sh(t, "box", "docker run -d --name web --hostname inner -p 8080:80 small busybox nc -ll -p 80 -e hostname")
	eventually(t, time.Minute, w.says("box", "busybox nc -w 5 127.0.0.1 8080", "inner"))
	w.do(t, "restart", "box", "--wait-ready")
	if got := w.sh(t, "box", "docker ps -aq --filter status=exited | wc -l"); got != "1" {
		t.Errorf("%s containers after a restart", got)
	}
	if r := w.run("exec", "box", "docker", "run", "--rm", "--privileged", "small", "busybox", "mknod", "/m", "b", "8", "0"); r.code == 0 || !strings.Contains(r.err, "not permitted") {
		t.Errorf("a privileged container makes a disk's node: exit code %d\n%s%s", r.code, r.out, r.err)
	}
}
