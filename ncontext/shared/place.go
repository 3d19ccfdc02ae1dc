package shared

import (
	"encoding/binary"

	"vserver/bpf"
	"vserver/kernel/ebpf"
)

// place reads the place for a guest's account, and whose it is: 0 for nobody's.
func (s *Set) place(cgroup uint64) (value []byte, has uint64, err error) {
	value = make([]byte, bpf.PlaceSize*int(s.manifest.cpus))
	err = ebpf.Get(s.maps.Places, placeKey(cgroup), value)
	return value, binary.NativeEndian.Uint64(value[bpf.AccountSize:]), err
}

// takePlace gives the guest its place, unless another that has a context sits there. Two
// that come at once are no harm: who loses has the account that all have.
func (s *Set) takePlace(cgroup uint64) error {
	value, has, err := s.place(cgroup)
	if err != nil || has == cgroup {
		return err
	}
	if has != 0 {
		if _, alive, err := s.entry(has); err != nil || alive {
			return err
		}
	}
	clear(value)
	for at := bpf.AccountSize; at < len(value); at += bpf.PlaceSize {
		binary.NativeEndian.PutUint64(value[at:], cgroup)
	}
	return ebpf.Set(s.maps.Places, placeKey(cgroup), value)
}

// leavePlace frees the guest's place.
func (s *Set) leavePlace(cgroup uint64) error {
	value, has, err := s.place(cgroup)
	if err != nil || has != cgroup {
		return err
	}
	clear(value)
	return ebpf.Set(s.maps.Places, placeKey(cgroup), value)
}

func placeKey(cgroup uint64) []byte {
	return binary.NativeEndian.AppendUint32(nil, bpf.PlaceOf(cgroup))
}

// add adds up accounts, each of which takes so many bytes.
func (st *Stats) add(all []byte, size int) {
	for at := 0; at < len(all); at += size {
		word := func(i int) uint64 { return binary.NativeEndian.Uint64(all[at+i:]) }
		st.BytesIn += word(bpf.BytesIn)
		st.BytesOut += word(bpf.BytesOut)
		st.PacketsIn += word(bpf.PacketsIn)
		st.PacketsOut += word(bpf.PacketsOut)
		st.Dropped += word(bpf.Dropped)
		st.Sockets += word(bpf.SocketsEver)
		st.Connections += word(bpf.ConnectionsEver)
	}
}
