package shared

import (
	"net/netip"
	"syscall"
	"testing"

	"vserver/internal/agent"
	"vserver/internal/need"
	"vserver/kernel/cgroup"
)

// context4 is a guest of one IPv4 address.
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
	d := need.Dirs(t)
	h, err := cgroup.Find()
	must(t, err)
	parent, err := h.Create(d.Cgroup)
	must(t, err)
	t.Cleanup(func() {
		must(t, parent.Close())
		must(t, h.Remove(d.Cgroup))
	})
	s, err := Attach(d)
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
