package shared

import (
	"context"
	"encoding/binary"
	"fmt"
	"syscall"

	"vserver/bpf"
	"vserver/kernel/ebpf"
)

// Steer has the sockets of UDP that guests bind to a wildcard get what is sent to any
// of the guest's addresses, from the moment on that somebody calls it until the context
// ends; then the error is nil. Without it they get what is sent to one of them: to the
// first of IPv4, or of IPv6 for a socket of that alone. Whoever is awake calls it, in the network
// namespace that guests share; what it has done stays when it ends, and another may
// begin at any time.
//
// filter is called before sockets are entered, when there were some that need something of
// the packet filter.
//
// It is needed because no hook of the kernel's may enter a socket of UDP where Lookup
// would find it; see bpf.Steer. TCP does without, and so does a guest of one address at
// ports that nobody on the host has.
func (s *Set) Steer(ctx context.Context, filter func(Kept) error) error {
	p := s.maps
	events, err := ebpf.OpenMap(s.manifest.maps[bpf.EventsMap])
	if err != nil {
		return err
	}
	defer syscall.Close(events)
	for i, fd := range p.Descriptors() {
		if *fd < 0 {
			if *fd, err = ebpf.OpenMap(s.manifest.maps[i]); err != nil {
				return err
			}
			defer syscall.Close(*fd)
		}
	}
	hook, err := bpf.SteerHook()
	if err != nil {
		return fmt.Errorf("steer UDP: %w", err)
	}
	if p.Tasks, err = bpf.FindTasks(); err != nil {
		return fmt.Errorf("steer UDP: %w", err)
	}
	program, err := ebpf.LoadProgram(hook, "vs_steer", bpf.Steer(p))
	if err != nil {
		return err
	}
	defer syscall.Close(program)
	ring, err := ebpf.OpenRing(events)
	if err != nil {
		return err
	}
	defer ring.Close()
	for ctx.Err() == nil {
		if err := s.steer(program, filter); err != nil {
			return err
		}
		if err := ring.Wait(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// Kept is what sockets of guests need of the packet filter.
type Kept struct {
	Parked    bool // some are parked: what they send is to bear the port that they asked for
	Connected bool // such are connected: what comes for that port is to reach them
	Looped    bool // a guest's first address stands for its loopback to some: answers are to come there
}

// Kept tells what sockets need that there were.
func (s *Set) Kept() (Kept, error) {
	value := make([]byte, bpf.ManifestSize)
	err := ebpf.Get(s.maps.Manifest, make([]byte, 4), value)
	return kept(value), err
}

func kept(manifest []byte) Kept {
	return Kept{Parked: is(manifest, bpf.Parking), Connected: is(manifest, bpf.Connecting), Looped: is(manifest, bpf.Looping)}
}

// is tells whether something is so, by the manifest.
func is(manifest []byte, at int) bool { return binary.NativeEndian.Uint32(manifest[at:]) != 0 }

// steer enters the sockets that are there.
func (s *Set) steer(program int, filter func(Kept) error) error {
	key, value := make([]byte, 4), make([]byte, bpf.ManifestSize)
	if err := ebpf.Get(s.maps.Manifest, key, value); err != nil {
		return err
	}
	if value[bpf.Steering] == 0 {
		value[bpf.Steering] = 1
		if err := ebpf.Set(s.maps.Manifest, key, value); err != nil {
			return err
		}
	}
	if k := kept(value); k != (Kept{}) {
		if err := filter(k); err != nil {
			return err
		}
	}
	return ebpf.Iterate(program)
}
