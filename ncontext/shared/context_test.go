package shared

import (
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"vserver/internal/agent"
	"vserver/internal/need"
	"vserver/kernel/cgroup"
)

// guestContext is a guest with these addresses, as by default.
func guestContext(lback string, addresses ...string) *Context {
	c := &Context{Remap: true, HideLback: true, RawICMP: true, Lback: netip.MustParseAddr(lback)}
	for _, a := range addresses {
		c.Addresses = append(c.Addresses, Address{Prefix: netip.MustParsePrefix(a)})
	}
	return c
}

// stage is a namespace with programs, and agents: host, and one for each context.
func stage(t testing.TB, contexts map[string]*Context) (*Set, map[string]*agent.Agent, map[string]uint64) {
	t.Helper()
	ground(t)
	need.Cgroup2(t)
	for _, a := range []string{"192.0.2.10/24", "192.0.2.11/24", "192.0.2.12/24", "198.51.100.10/24"} {
		hostAddr(t, "eth0", a)
	}
	for _, a := range []string{"2001:db8:1::10/64", "2001:db8:1::11/64", "2001:db8:1::12/64"} {
		hostAddr(t, "eth0", a)
	}
	for _, a := range []string{"fd76::a/128", "fd76::b/128"} {
		hostAddr(t, "lo", a)
	}
	settled(t)
	must(t, os.WriteFile("/proc/sys/net/ipv4/ping_group_range", []byte("0 1000000"), 0))
	d := need.Dirs(t)
	h, err := cgroup.Find()
	must(t, err)
	parent, err := h.Create(d.Cgroup)
	must(t, err)
	t.Cleanup(func() {
		must(t, parent.Close())
		must(t, h.Remove(d.Cgroup))
	})
	s, err := Attach(d, nil)
	must(t, err)
	t.Cleanup(func() {
		must(t, s.Close())
		must(t, Detach(d))
	})
	agents, ids := map[string]*agent.Agent{"host": agent.Start(t, -1, agent.Host)}, map[string]uint64{}
	for name, c := range contexts {
		g, err := h.Create(d.Cgroup + "/" + name)
		must(t, err)
		t.Cleanup(func() { must(t, g.Close()) })
		var st syscall.Stat_t
		must(t, syscall.Fstat(g.FD(), &st))
		ids[name] = st.Ino
		if c != nil {
			must(t, s.Put(st.Ino, c))
		}
		agents[name] = agent.Start(t, g.FD(), agent.Root)
	}
	return s, agents, ids
}

// groupOf opens the cgroup of this number.
func groupOf(t testing.TB, id uint64) int {
	t.Helper()
	root := need.Cgroup2(t)
	fd := -1
	must(t, filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return nil // gone meanwhile
		}
		var st syscall.Stat_t
		if syscall.Stat(path, &st) == nil && st.Ino == id {
			fd, err = syscall.Open(path, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			return fs.SkipAll
		}
		return nil
	}))
	t.Cleanup(func() { syscall.Close(fd) })
	return fd
}

func TestTCP4(t *testing.T) {
	_, agents, _ := stage(t, map[string]*Context{
		"a": guestContext("127.0.8.1", "192.0.2.10/24"),
		"b": guestContext("127.0.9.1", "192.0.2.11/24", "198.51.100.10/24"),
		"c": nil,
	})
	agent.Play(t, agents, `
		host tcp4 l
		host bind l 0.0.0.0:80
		host listen l
		a tcp4 l
		a bind l 0.0.0.0:80
		a listen l
		a name l = 0.0.0.0:80
		b tcp4 l
		b bind l 0.0.0.0:80
		b listen l
		b name l = 0.0.0.0:80
		host tcp4 c
		host connect c 192.0.2.10:80
		a accept l s = 192.0.2.1
		a name s = 192.0.2.10:80
		host close c
		host tcp4 c
		host connect c 198.51.100.10:80
		b accept l s = 198.51.100.10
		host close c
		c tcp4 l = EPERM

		# outgoing: the guest's own address, by prefix; the host's are nobody's else
		host tcp4 c
		host connect c 192.0.2.10:81 = ECONNREFUSED
		a tcp4 c
		a connect c 192.0.2.1:80
		host accept l s = 192.0.2.10
		a name c = 192.0.2.10:*
		b tcp4 c
		b connect c 192.0.2.10:80
		a accept l s2 = 192.0.2.11
		b close c

		# loopback is one's own
		a close c
		a tcp4 c
		a connect c 127.0.0.1:80
		a accept l s = 127.0.0.1
		a name s = 127.0.0.1:80
		a peer c = 127.0.0.1:80
		a name c = 127.0.0.1:*
		a tcp4 d
		a bind d 127.0.0.1:5432
		a listen d
		a name d = 127.0.0.1:5432
		b tcp4 d
		b bind d 127.0.0.1:5432
		b listen d
		b tcp4 e
		b connect e 127.0.0.1:5432
		b accept d s3 = 127.0.0.1
		host tcp4 e
		host connect e 127.0.8.1:5432 = ECONNREFUSED
		host tcp4 e
		host bind e 127.0.0.1:5432
		host listen e
		host tcp4 f
		host bind f 127.0.8.1:0
		host connect f 127.0.8.1:5432 = EINPROGRESS
		b close d
		b tcp4 e
		b connect e 127.0.0.1:5432 = ECONNREFUSED

		# addresses of others
		a tcp4 x
		a bind x 192.0.2.11:99 = EADDRNOTAVAIL
		a bind x 192.0.2.1:99 = EADDRNOTAVAIL
		a bind x 192.0.2.10:80 = EADDRINUSE
		a bind x 192.0.2.10:99
		a name x = 192.0.2.10:99
		a listen x
		b tcp4 f
		b connect f 192.0.2.10:99
		a accept x y = 192.0.2.11
		a tcp4 z
		a bind z 0.0.0.0:99 = EADDRINUSE
		a bind z 0.0.0.0:0
		a listen z
		a name z = 0.0.0.0:*
	`)
}

func TestTCP6(t *testing.T) {
	a := guestContext("127.0.8.1", "192.0.2.10/24", "2001:db8:1::10/64")
	b := guestContext("127.0.9.1", "2001:db8:1::11/64")
	a.Lback6, b.Lback6 = netip.MustParseAddr("fd76::a"), netip.MustParseAddr("fd76::b")
	_, agents, _ := stage(t, map[string]*Context{"a": a, "b": b})
	agent.Play(t, agents, `
		host tcp6 l
		host bind l [::]:80
		host listen l
		# one socket for both families
		a tcp6 l
		a bind l [::]:80
		a listen l
		a name l = [::]:80
		b tcp6 l
		b bind l [::]:80
		b listen l
		host tcp6 c
		host connect c [2001:db8:1::10]:80
		a accept l s = [2001:db8:1::*
		a name s = [2001:db8:1::10]:80
		host tcp4 c
		host connect c 192.0.2.10:80
		a accept l s = [::ffff:192.0.2.*
		a name s = [::ffff:192.0.2.10]:80
		host tcp6 c
		host connect c [2001:db8:1::11]:80
		b accept l s = [2001:db8:1::*
		b tcp6 c
		b connect c [2001:db8:1::10]:80
		a accept l s = [2001:db8:1::11]
		a tcp6 c
		a connect c [::ffff:127.0.0.1]:80
		a accept l s = [::ffff:127.0.0.1]
		a peer c = [::ffff:127.0.0.1]:80
		a tcp6 c
		a connect c [::1]:80
		a accept l s = [::1]
		a name s = [::1]:80
		a peer c = [::1]:80
		a tcp6 c
		a connect c [2001:db8:1::1]:80
		host accept l s = [2001:db8:1::10]
		# both families are in each other's way, as ever
		a tcp4 x
		a bind x 0.0.0.0:80 = EADDRINUSE
		a bind x 192.0.2.10:80 = EADDRINUSE
		a tcp6 x
		a bind x [2001:db8:1::10]:80 = EADDRINUSE
		a bind x [2001:db8:1::11]:81 = EADDRNOTAVAIL
		a bind x [::ffff:192.0.2.1]:81 = EADDRNOTAVAIL
		a bind x [::1]:81
		a name x = [::1]:81
		a listen x
		b tcp6 y
		b connect y [::1]:81 = ECONNREFUSED
		b tcp6 y
		b connect y [::ffff:192.0.2.10]:80 = ENETUNREACH
		# for one family each
		b tcp6 v
		b set v 41 26 1
		b bind v [::]:25
		b listen v
		b tcp4 w
		b bind w 0.0.0.0:25
		b listen w
		host tcp6 c
		host connect c [2001:db8:1::11]:25
		b accept v s = [2001:db8:1::*
		b tcp4 c
		b connect c 127.0.0.1:25
		b accept w s = 127.0.0.1
	`)
}

// Sockets that share a port share what comes, and one that is left goes on alone.
func TestReusePort(t *testing.T) {
	_, agents, _ := stage(t, map[string]*Context{"a": guestContext("127.0.8.1", "192.0.2.10/24")})
	agent.Play(t, agents, `
		a tcp4 x
		a set x 1 15 1
		a bind x 0.0.0.0:80
		a listen x
		a tcp4 y
		a bind y 0.0.0.0:80 = EADDRINUSE
		a close y
		a tcp4 y
		a set y 1 15 1
		a bind y 0.0.0.0:80
		a listen y
		a name y = 0.0.0.0:80
		a close x
		host tcp4 c
		host connect c 192.0.2.10:80
		a accept y s = 192.0.2.1
		a close s
		host close c
		a close y
		host tcp4 c
		host connect c 192.0.2.10:80 = ECONNREFUSED
		# a server that is started again
		a tcp4 x
		a set x 1 2 1
		a bind x 0.0.0.0:80
		a listen x
		host tcp4 c
		host connect c 192.0.2.10:80
		a accept x s = 192.0.2.1
		a close s
		a close x
		a tcp4 x
		a set x 1 2 1
		a bind x 0.0.0.0:80
		a listen x
		host tcp4 d
		host connect d 192.0.2.10:80
		a accept x s = 192.0.2.1
	`)
}

func TestUDP4(t *testing.T) {
	_, agents, _ := stage(t, map[string]*Context{
		"a": guestContext("127.0.8.1", "192.0.2.10/24"),
		"b": guestContext("127.0.9.1", "192.0.2.11/24"),
	})
	agent.Play(t, agents, `
		a udp4 s
		a bind s 0.0.0.0:53
		a name s = 0.0.0.0:53
		b udp4 s
		b bind s 0.0.0.0:53
		host udp4 c
		host send c 192.0.2.10:53 one
		a recv s = one 192.0.2.1
		host send c 192.0.2.11:53 two
		b recv s = two 192.0.2.1
		# from the guest's address, whatever it is bound to
		b udp4 c
		b send c 192.0.2.10:53 three
		a recv s = three 192.0.2.11
		b send c 192.0.2.10:53 four 192.0.2.1 = EADDRNOTAVAIL
		b send c 192.0.2.10:53 five 192.0.2.11
		a recv s = five 192.0.2.11
		b udp6 six
		b send six [::ffff:192.0.2.10]:53 six
		a recv s = six 192.0.2.11
		b udp4 k
		b connect k 192.0.2.10:53
		b name k = 192.0.2.11:*
		b send k 192.0.2.10:53 seven
		a recv s = seven 192.0.2.11
		# loopback is one's own, also for what is bound to the wildcard
		a udp4 c
		a send c 127.0.0.1:53 eight
		a recv s = eight 127.0.0.1
		# who answers is who was asked, and has that name
		a udp4 m
		a bind m 127.0.0.1:1053
		a send m 127.0.0.1:53 asked
		a recv s = asked 127.0.0.1
		a send s 127.0.0.1:1053 answered
		a recv m = answered 127.0.0.1
		a udp4 k
		a connect k 127.0.0.1:53
		a peer k = 127.0.0.1:53
		a name k = 127.0.0.1:*
		a udp4 k
		a connect k 192.0.2.10:53
		a peer k = 192.0.2.10:53
		a udp4 l
		a bind l 127.0.0.1:53
		a name l = 127.0.0.1:53
		a send c 127.0.0.1:53 nine
		a recv l = nine 127.0.0.1
		a udp4 k
		a connect k 127.0.0.1:53
		a name k = 127.0.0.1:*
		a peer k = 127.0.0.1:53
		a send k 127.0.0.1:53 ten
		a recv l = ten 127.0.0.1
		host send c 127.0.8.1:53 no
		a recv l = EAGAIN
		host udp4 f
		host bind f 127.0.8.1:0
		host send f 127.0.8.1:53 no
		a recv l = EAGAIN
		a bind c 192.0.2.1:54 = EADDRNOTAVAIL
		a udp4 x
		a bind x 192.0.2.1:54 = EADDRNOTAVAIL
		a send x 224.0.0.1:99 no = EACCES
		a send x 255.255.255.255:99 no = EACCES
		a join x 224.0.0.5 = EPERM
	`)
}
