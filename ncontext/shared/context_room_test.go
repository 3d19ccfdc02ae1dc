package shared

import (
	"encoding/binary"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"vserver/bpf"
	"vserver/internal/agent"
	"vserver/kernel/ebpf"
)

// What guests share is not one guest's to fill: these are tries to.

// A guest may have a quarter of a table, and of one that is nearly full a third of what is left.
func TestRoom(t *testing.T) {
	set, agents, ids := stage(t, map[string]*Context{
		"a": guestContext("127.0.8.1", "192.0.2.10/24"), "b": guestContext("127.0.9.1", "192.0.2.11/24"),
	})
	none := counts(t, set, 0)
	if none != counts(t, set, ids["a"]) {
		t.Errorf("before: %v of all, %v of a", none, counts(t, set, ids["a"]))
	}
	full := make([]byte, bpf.CountSize)
	binary.NativeEndian.PutUint32(full[20:], 65536-40)
	binary.NativeEndian.PutUint32(full[24:], 2*65536-80)
	must(t, ebpf.Set(set.maps.Counts, id(0), full))
	agent.Play(t, agents, `
		a listeners l 127.0.0.1:2000 30 = 30
		a datagrams d 127.0.0.1:2000 30 = 20
		b tcp4 l
		b bind l 127.0.0.1:80
		b listen l
		b tcp4 c
		b connect c 127.0.0.1:80
		b udp4 d
		b bind d 127.0.0.1:53
		b udp4 e
		b send e 127.0.0.1:53 hello
		b recv d = hello 127.0.0.1
		# who listens beyond that is not heard
		a tcp4 c
		a connect c 127.0.0.1:2009
		a tcp4 c
		a connect c 127.0.0.1:2010 = ECONNREFUSED
		a none l
		a none d
		a datagrams d 127.0.0.1:2000 20 = 20
		a none d
		a tcp4 l
		a bind l 127.0.0.1:2010
		a listen l
		a tcp4 c
		a connect c 127.0.0.1:2010
		a close l
		b close l
		b close d
		b close e
	`)
	must(t, ebpf.Set(set.maps.Counts, id(0), make([]byte, bpf.CountSize)))
	if now := counts(t, set, ids["a"]); now != none {
		t.Errorf("left: %v", now)
	}
}

// What was taken is given back, by whatever way a socket leaves.
func TestRoomBack(t *testing.T) {
	a := guestContext("127.0.8.1", "192.0.2.10/24", "192.0.2.11/24")
	set, agents, ids := stage(t, map[string]*Context{"a": a})
	stop := steering(t, set)
	none := counts(t, set, 0)
	agent.Play(t, agents, `
		host udp4 h
		host bind h 0.0.0.0:5300
		a udp4 s
		a bind s 0.0.0.0:0
	`)
	is := func(want ...uint32) {
		t.Helper()
		until(t, fmt.Sprint(want), func() bool { return counts(t, set, ids["a"]) == [3]uint32(want) })
		if counts(t, set, 0) != [3]uint32(want) {
			t.Errorf("all: %v; want %v", counts(t, set, 0), want)
		}
	}
	is(0, 1, 1)
	agent.Play(t, agents, `
		a connect s 192.0.2.1:7
		a apart s
		a bind s 0.0.0.0:0
	`)
	is(0, 2, 1) // it has not left the one that it had
	agent.Play(t, agents, `
		a connect s 192.0.2.1:7
		a udp4 p
		a bind p 0.0.0.0:5300
		a tcp4 l
		a bind l 0.0.0.0:80
		a listen l
		a tcp4 m
		a listen m
		a late 10 = 10
	`)
	is(2, 4, 1)
	if n := entries(t, set, 6); n != 4 {
		t.Errorf("%d entries", n)
	}
	agent.Play(t, agents, "a close l\na close m\na close p\na close s")
	is(none[:]...)
	stop()
}

// counts is what the guest has in the tables of ports, listeners and bound sockets, or all have.
func counts(t *testing.T, set *Set, guest uint64) (n [3]uint32) {
	t.Helper()
	b := make([]byte, bpf.CountSize)
	must(t, ebpf.Get(set.maps.Counts, id(guest), b))
	for i := range n {
		n[i] = binary.NativeEndian.Uint32(b[16+4*i:])
	}
	return n
}

// Sockets that get a port when they are bound to all of both families are no way past the
// ceiling of hidden ports.
func TestRoomLate(t *testing.T) {
	files(t, 20000)
	_, agents, _ := stage(t, map[string]*Context{"a": guestContext("127.0.8.1", "192.0.2.10/24", "192.0.2.11/24")})
	agent.Play(t, agents, `
		a many m 0.0.0.0:2000 9000 = 8192
		a late 2000 = 2000
		a many n 0.0.0.0:12000 9000 = 0
	`)
}

// entries is how many keys a map of 32 bytes a key has.
func entries(t *testing.T, set *Set, place int) (n int) {
	t.Helper()
	fd, err := ebpf.OpenMap(set.manifest.maps[place])
	must(t, err)
	defer unix.Close(fd)
	must(t, set.each(fd, 32, func([]byte) error { n++; return nil }))
	return n
}

func files(t *testing.T, n uint64) {
	t.Helper()
	var now unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &now))
	now.Cur, now.Max = n, max(now.Max, n)
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &now)) // the agents inherit it
}
