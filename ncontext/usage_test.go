package ncontext

import (
	"reflect"
	"testing"

	"vserver/bpf"
	"vserver/guest"
	"vserver/ncontext/shared"
)

// Limits of sockets are told like those of control groups; what is not limited is not told of.
func TestStatusLimits(t *testing.T) {
	hits := func(n uint64) *uint64 { return &n }
	st := Status(shared.Stats{MaxSockets: 4, SocketsNow: bpf.Count{Now: 3, Refused: 7}})
	want := []guest.Pool{{Name: "sockets", Used: 3, Max: 4, Hits: hits(7)}}
	if !reflect.DeepEqual(st.Limits, want) || st.Sockets != 3 {
		t.Errorf("%+v", st)
	}
	if st := Status(shared.Stats{ConnectionsNow: bpf.Count{Refused: 1}}); len(st.Limits) != 1 || st.Limits[0].Name != "connections" {
		t.Errorf("a limit that was hit and is gone: %+v", st.Limits)
	}
}
