package daemon

import (
	"fmt"
	"slices"
	"testing"

	"vserver/daemon/proto"
	"vserver/guest"
)

// Kills are told once, and none that were there when the guest was found.
func TestKilled(t *testing.T) {
	var said []string
	w := &worker{guests: map[guest.Name]*watched{}, say: func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }}
	w.guests["web1"] = &watched{Start: proto.Start{Name: "web1"}, kills: unknown}
	w.guests["web2"] = &watched{Start: proto.Start{Name: "web2"}}
	for _, c := range []struct {
		n   guest.Name
		now int
	}{{"web1", 3}, {"web1", 3}, {"web1", 4}, {"web2", 0}, {"web2", 2}, {"web2", 2}, {"gone", 1}} {
		w.killed(c.n, c.now)
	}
	want := []string{"web1: the kernel killed a process for want of memory", "web2: the kernel killed 2 processes for want of memory"}
	if !slices.Equal(said, want) {
		t.Errorf("%q", said)
	}
}
