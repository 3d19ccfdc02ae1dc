package shared

import (
	"errors"
	"io/fs"
	"net/netip"
	"testing"

	"vserver/bpf"
	"vserver/kernel/ebpf"
)

// A tool that is killed while it puts or deletes a context leaves a part of it, of a guest that
// lives or of one that is dead by then: neither keeps an address.
func TestContextHalf(t *testing.T) {
	set, _, ids := stage(t, map[string]*Context{"a": nil, "b": nil})
	late := netip.MustParseAddr("192.0.2.77").As16()
	for _, half := range []uint64{1, ids["a"]} {
		must(t, ebpf.Set(set.maps.Owners, late[:], owner(half, 0)))
		must(t, ebpf.Insert(set.maps.Counts, id(half), make([]byte, bpf.CountSize)))
		if half == ids["a"] {
			must(t, set.Delete(half))
		}
		must(t, set.Put(ids["b"], guestContext("127.0.10.1", "192.0.2.77/24")))
		if err := ebpf.Get(set.maps.Counts, id(half), make([]byte, bpf.CountSize)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%d: counts: %v", half, err)
		}
		must(t, set.Delete(ids["b"]))
	}
}
