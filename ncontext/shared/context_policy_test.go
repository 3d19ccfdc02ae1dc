package shared

import (
	"errors"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"testing"

	"vserver/bpf"
	"vserver/guest"
	"vserver/internal/agent"
	"vserver/internal/need"
	"vserver/kernel/ebpf"
)

// What no guest may do, whatever it has.
func TestContextRefuses(t *testing.T) {
	c := guestContext("127.0.8.1", "192.0.2.10/24")
	c.RawICMP = false
	_, agents, _ := stage(t, map[string]*Context{"a": c, "m": {
		Remap: true, Multicast: true, Broadcast: true, Lback: netip.MustParseAddr("127.0.9.1"),
		Addresses: []Address{{Prefix: netip.MustParsePrefix("192.0.2.11/24")}},
	}, "none": guestContext("127.0.10.1")})
	agent.Play(t, agents, `
		a mptcp4 x = EPROTONOSUPPORT
		a udplite4 x = EPROTONOSUPPORT
		a sctp4 x = EPROTONOSUPPORT
		a raw4 x = EPERM
		a icmp4 x = EPERM
		m icmp4 x = EPERM
		a tcp4 x
		a device x eth0 = EPERM
		a set x 1 62 2 = EPERM        # SO_BINDTOIFINDEX
		a set x 1 36 7 = EPERM        # SO_MARK
		a set x 0 19 1 = EPERM        # IP_TRANSPARENT
		a set x 0 50 33554432 = EPERM # IP_UNICAST_IF
		a udp4 e
		a set e 17 100 2 = EPERM      # UDP_ENCAP
		a set e 17 102 1              # UDP_NO_CHECK6_RX
		a set x 0 15 1                # IP_FREEBIND gives nothing:
		a bind x 203.0.113.9:99 = EADDRNOTAVAIL
		a set x 0 24 1                # IP_BIND_ADDRESS_NO_PORT neither
		a bind x 192.0.2.1:0 = EADDRNOTAVAIL
		a tcp6 s
		a set s 41 76 33554432 = EPERM # IPV6_UNICAST_IF
		a bind s [::ffff:192.0.2.1]:99 = EADDRNOTAVAIL
		a bind s [fe80::1]:99 = EADDRNOTAVAIL
		a udp4 u
		a join u 224.0.0.5 = EPERM
		a send u 192.0.2.255:9 x = EACCES
		m udp4 u
		m join u 224.0.0.5 = ENODEV     # no route for it here
		m set u 1 6 1
		m send u 192.0.2.255:9 x
		m send u 224.0.0.5:9 x
		m bind u 192.0.2.1:9 = EADDRNOTAVAIL
		m udp4 b
		m bind b 192.0.2.255:9

		# listen without bind: reached at the guest's address alone
		a tcp4 l
		a listen l
		a name l = 0.0.0.0:*
		# nothing but oneself without addresses
		none tcp4 l
		none bind l 0.0.0.0:80
		none listen l
		none tcp4 c
		none connect c 127.0.0.1:80
		none accept l s = 127.0.0.1
		none tcp4 c
		none connect c 192.0.2.10:80 = ENETUNREACH
		none udp4 u
		none send u 192.0.2.10:80 x = ENETUNREACH
		none bind u 192.0.2.10:80 = EADDRNOTAVAIL
	`)
	port := agents["a"].Do("name l")
	port = port[len("0.0.0.0:"):]
	agent.Play(t, agents, `
		host tcp4 c
		host connect c 192.0.2.10:`+port+`
		a accept l s = *
		host tcp4 d
		host connect d 192.0.2.1:`+port+` = EINPROGRESS
		host tcp4 e
		host connect e 127.0.0.1:`+port+` = EINPROGRESS
	`)
}

// The host's loopback, for who may have it.
func TestLoopbackOfHost(t *testing.T) {
	open := guestContext("127.0.8.1", "192.0.2.10/24")
	open.Remap, open.LbackAllow = false, true
	shut := guestContext("127.0.9.1", "192.0.2.11/24")
	shut.Remap = false
	_, agents, _ := stage(t, map[string]*Context{"open": open, "shut": shut})
	agent.Play(t, agents, `
		host tcp4 l
		host bind l 127.0.0.1:80
		host listen l
		open tcp4 c
		open connect c 127.0.0.1:80
		host accept l s = 127.0.0.1
		shut tcp4 c
		shut connect c 127.0.0.1:80 = EPERM
		shut bind c 127.0.0.1:81 = EADDRNOTAVAIL
	`)
}

// Ports below 1024 are for who has the guest's CAP_NET_BIND_SERVICE.
func TestLowPorts(t *testing.T) {
	_, agents, ids := stage(t, map[string]*Context{"a": guestContext("127.0.8.1", "192.0.2.10/24")})
	agents["user"] = agent.Start(t, groupOf(t, ids["a"]), agent.User)
	agent.Play(t, agents, `
		user tcp4 s
		user bind s 0.0.0.0:80 = EACCES
		user bind s 0.0.0.0:1024
		user udp4 u
		user bind u 192.0.2.10:53 = EACCES
		user bind u 192.0.2.10:5353
		a tcp4 s
		a bind s 0.0.0.0:80
		a udp4 u
		a bind u 192.0.2.10:53
	`)
}

func TestStatsAndLimits(t *testing.T) {
	c := guestContext("127.0.8.1", "192.0.2.10/24")
	c.Sockets, c.Connections = 4, 2
	set, agents, ids := stage(t, map[string]*Context{"a": c, "b": guestContext("127.0.9.1", "192.0.2.11/24")})
	agent.Play(t, agents, `
		a tcp4 l
		a bind l 0.0.0.0:80
		a listen l
		b tcp4 c
		b connect c 192.0.2.10:80
		a accept l s = 192.0.2.11
		host tcp4 c
		host connect c 192.0.2.10:80
		a accept l s2 = *
		b tcp4 d
		b connect d 192.0.2.10:80 = ECONNREFUSED
		a tcp4 d
		a connect d 192.0.2.11:80 = ENOBUFS
		a close s
		b close c
		b tcp4 d
		b connect d 192.0.2.10:80
		a tcp4 e
		a udp4 f
		a tcp4 g = ENOBUFS
		a close f
		a tcp4 g
	`)
	st, err := set.Stats(ids["a"])
	must(t, err)
	sockets, connections := bpf.Count{Now: 4, Refused: 1}, bpf.Count{Now: 2, Refused: 2}
	if st.SocketsNow != sockets || st.ConnectionsNow != connections || st.Connections != 3 || st.Sockets != 5 {
		t.Errorf("%+v; want 4 sockets and 2 connections now, 5 and 3 ever, 1 and 2 refused", st)
	}
	if st.MaxSockets != 4 || st.MaxConnections != 2 {
		t.Errorf("%+v; want the limits 4 and 2", st)
	}
	if st.PacketsIn < 6 || st.PacketsOut < 4 || st.BytesIn < 6*40 || st.BytesOut < 4*40 {
		t.Errorf("%+v: packets are missing", st)
	}
	if _, err := set.Stats(1); !errors.Is(err, guest.ErrNotFound) {
		t.Errorf("of nobody: %v", err)
	}
}

// A running guest gets and loses addresses.
func TestContextPut(t *testing.T) {
	c := guestContext("127.0.8.1", "192.0.2.10/24")
	set, agents, ids := stage(t, map[string]*Context{"a": c, "b": guestContext("127.0.9.1", "192.0.2.12/24")})
	agent.Play(t, agents, `
		a tcp4 l
		a bind l 0.0.0.0:80
		a listen l
		host tcp4 c
		host connect c 192.0.2.11:80 = ECONNREFUSED
	`)
	c.Addresses = append(c.Addresses, Address{Prefix: netip.MustParsePrefix("192.0.2.11/24")})
	must(t, set.Put(ids["a"], c))
	agent.Play(t, agents, `
		host tcp4 c
		host connect c 192.0.2.11:80
		a accept l s = *
		a name s = 192.0.2.11:80
	`)
	// What the programs remember of it ends as well.
	agent.Play(t, agents, `
		a udp4 u
		a bind u 192.0.2.10:9
		host udp4 v
		host bind v 192.0.2.1:9
		a send u 192.0.2.1:9 one
		host recv v = one 192.0.2.10
		host send v 192.0.2.10:9 two
		a recv u = two 192.0.2.1
		a connect u 192.0.2.1:9
		host send v 192.0.2.10:9 three
		a recv u = three 192.0.2.1
	`)
	c.Addresses = c.Addresses[1:]
	must(t, set.Put(ids["a"], c))
	agent.Play(t, agents, `
		host send v 192.0.2.10:9 no
		a recv u = EAGAIN
		a send u 192.0.2.1:9 no = E*
		host tcp4 c
		host connect c 192.0.2.10:80 = ECONNREFUSED
		a tcp4 x
		a bind x 192.0.2.10:81 = EADDRNOTAVAIL
	`)
	c.Addresses = append(c.Addresses, Address{Prefix: netip.MustParsePrefix("192.0.2.12/24")})
	if err := set.Put(ids["a"], c); !errors.Is(err, guest.ErrBusy) {
		t.Errorf("another's address: %v", err)
	}
	must(t, set.Delete(ids["b"]))
	must(t, set.Delete(ids["b"]))
	must(t, set.Put(ids["a"], c))
	agent.Play(t, agents, `
		b tcp4 x = EPERM
	`)
	// A guest that is dead does not keep its addresses.
	must(t, set.Put(1, guestContext("127.0.10.1", "192.0.2.10/24")))
	must(t, set.Put(ids["b"], guestContext("127.0.10.1", "192.0.2.10/24")))
	many := guestContext("127.0.8.1")
	for i := range 20 {
		many.Addresses = append(many.Addresses, Address{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(100 + i)}), 24)})
		hostAddr(t, "eth0", many.Addresses[i].String())
	}
	must(t, set.Put(ids["a"], many))
	agent.Play(t, agents, `
		host tcp4 c
		host connect c 192.0.2.119:80
		a accept l s = *
		a name s = 192.0.2.119:80
		a tcp4 x
		a bind x 192.0.2.118:81
	`)
	must(t, set.Put(ids["a"], guestContext("127.0.8.1")))
	many.Lback = netip.MustParseAddr("127.0.10.1")
	must(t, set.Put(ids["b"], many))
}

// Programs are replaced under guests that run, and come back when they were taken.
func TestHealth(t *testing.T) {
	set, agents, _ := stage(t, map[string]*Context{"a": guestContext("127.0.8.1", "192.0.2.10/24")})
	d := set.dirs
	if err := set.Health(); err != nil {
		t.Fatal(err)
	}
	again, err := Attach(d, nil)
	must(t, err)
	if !slices.Equal(again.manifest.programs, set.manifest.programs) {
		t.Error("a second Attach replaced what was well")
	}
	must(t, again.Close())
	if !Attached(d) {
		t.Error("not attached?")
	}
	agent.Play(t, agents, `
		a tcp4 l
		a bind l 0.0.0.0:80
		a listen l
		host tcp4 c
		host connect c 192.0.2.10:80
		a accept l s = *
	`)
	// Another version's set: all of it is replaced, the maps with what they know stay.
	set.manifest.version--
	must(t, ebpf.Set(set.maps.Manifest, make([]byte, 4), set.manifest.encode()))
	again, err = Attach(d, nil)
	must(t, err)
	if slices.Equal(again.manifest.programs, set.manifest.programs) || !slices.Equal(again.manifest.maps, set.manifest.maps) {
		t.Error("an old version was not replaced")
	}
	must(t, again.Health())
	if err := set.Health(); err == nil {
		t.Error("programs that were replaced are called well")
	}
	// One and all of them taken off, and the pin.
	egress := bpf.Set()[0]
	ours, err := again.ours(egress)
	must(t, err)
	must(t, ebpf.DetachCgroup(again.group.FD(), ours[0].fd, egress.Hook.Attach))
	must(t, syscall.Close(ours[0].fd))
	must(t, os.Remove(pin(d)))
	if err := again.Health(); err == nil {
		t.Error("nothing is missing?")
	}
	must(t, again.Shut())
	agent.Play(t, agents, `
		a tcp4 x
		a connect x 192.0.2.1:80 = ENETUNREACH
	`)
	must(t, again.Close())
	again, err = Attach(d, nil)
	must(t, err)
	must(t, again.Health())
	must(t, again.Close())
}

// Guests of other modes are let pass from the beginning.
func TestOpen(t *testing.T) {
	set, agents, ids := stage(t, map[string]*Context{"a": {Open: true}, "b": nil})
	agent.Play(t, agents, `
		a tcp4 x
		a bind x 192.0.2.1:8080
		b tcp4 x = EPERM
	`)
	must(t, Detach(set.dirs))
	again, err := Attach(set.dirs, func() []uint64 { return []uint64{ids["b"]} })
	must(t, err)
	defer again.Close()
	agent.Play(t, agents, `
		a tcp4 y = EPERM
		b tcp4 y
		b bind y 192.0.2.1:8081
	`)
	if _, err := Find(need.Dirs(t)); !errors.Is(err, guest.ErrNotFound) {
		t.Errorf("nowhere: %v", err)
	}
}

// Two guests whose accounts have the same place both have one, and who comes after the
// first has gone takes it.
func TestPlaces(t *testing.T) {
	set, _, _ := stage(t, nil)
	const first, second = 7, 7 + bpf.Places
	holder := func() uint64 {
		_, has, err := set.place(first)
		must(t, err)
		return has
	}
	must(t, set.Put(first, guestContext("127.0.8.1", "192.0.2.10/24")))
	must(t, set.Put(second, guestContext("127.0.9.1", "192.0.2.11/24")))
	if has := holder(); has != first {
		t.Errorf("the place is %d's", has)
	}
	for _, id := range []uint64{first, second} {
		_, err := set.Stats(id)
		must(t, err)
	}
	must(t, set.Delete(first))
	if has := holder(); has != 0 {
		t.Errorf("the place is still %d's", has)
	}
	must(t, set.Put(second, guestContext("127.0.9.1", "192.0.2.11/24")))
	if has := holder(); has != second {
		t.Errorf("the place is %d's", has)
	}
}

// A datagram socket that is bound to the wildcard without a port and then connected, as
// dig's, leaves by an address of the guest, and without a connection hears at all of them.
func TestPortless(t *testing.T) {
	a := guestContext("127.0.8.1", "192.0.2.10/24", "198.51.100.10/24", "2001:db8:1::10/64", "2001:db8:1::12/64")
	set, agents, _ := stage(t, map[string]*Context{"a": a})
	steering(t, set)
	agent.Play(t, agents, `
		host udp4 s
		host bind s 192.0.2.1:53
		host udp6 s6
		host bind s6 [2001:db8:1::1]:53
		a udp4 c
		a bind c 0.0.0.0:0
		a connect c 192.0.2.1:53
		a send c 192.0.2.1:53 one
		host recv s = one 192.0.2.10
		a udp6 d
		a set d 41 26 1
		a bind d [::]:0
		a name d = [::]:*
		a connect d [2001:db8:1::1]:53
		a name d = [2001:db8:1::10]:*
		a send d [2001:db8:1::1]:53 two
		host recv s6 = two [2001:db8:1::10]
		a udp4 s
		a bind s 0.0.0.0:0
		host udp4 c
	`)
	port := agents["a"].Do("name s")[len("0.0.0.0:"):]
	awaits(t, agents, "a", "c", "198.51.100.10:"+port)
	agent.Play(t, agents, "host send c 192.0.2.10:"+port+" three\na recv s = three *")
}
