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
// parked is called before sockets are entered that are parked at another port than they
// asked for: it is to have what they send bear that port, and if some are connected have
// what comes for it reach them.
//
// It is needed because no hook of the kernel's may enter a socket of UDP where Lookup
// would find it; see bpf.Steer. TCP does without, and so does a guest of one address at
// ports that nobody on the host has.
func (s *Set) Steer(ctx context.Context, parked func(connected bool) error) error {
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
		if err := s.steer(program, parked); err != nil {
			return err
		}
		if err := ring.Wait(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// Parks tells whether sockets were parked, and whether such were connected.
func (s *Set) Parks() (parked, connected bool, err error) {
	value := make([]byte, bpf.ManifestSize)
	err = ebpf.Get(s.maps.Manifest, make([]byte, 4), value)
	return is(value, bpf.Parking), is(value, bpf.Connecting), err
}

// is tells whether something is so, by the manifest.
func is(manifest []byte, at int) bool { return binary.NativeEndian.Uint32(manifest[at:]) != 0 }

// steer enters the sockets that are there.
func (s *Set) steer(program int, parked func(connected bool) error) error {
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
	connecting := is(value, bpf.Connecting)
	if connecting || is(value, bpf.Parking) {
		if err := parked(connecting); err != nil {
			return err
		}
	}
	return ebpf.Iterate(program)
}
