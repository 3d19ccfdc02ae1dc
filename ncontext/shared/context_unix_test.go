package shared

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"vserver/bpf"
	"vserver/internal/agent"
	"vserver/internal/need"
	"vserver/kernel/ebpf"
)

// Guests reach abstract unix sockets of their own, and nobody else's.
func TestAbstract(t *testing.T) {
	need.Kernel(t, 6, 7)
	_, agents, _ := stage(t, map[string]*Context{
		"a": guestContext("127.0.8.1", "192.0.2.10/24"),
		"b": guestContext("127.0.9.1", "192.0.2.11/24"),
		"c": {Open: true},
	})
	long := "@" + strings.Repeat("n", 106)
	var script strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&script, format+"\n", args...) }
	for _, name := range []string{"@x", "@an.odd.one", "@an.even.one", long} {
		for _, kind := range []string{"stream", "dgram", "seqpacket"} {
			for _, server := range []string{"host", "a", "c"} {
				say("%s unix %s l", server, kind)
				say("%s unix bind l %s", server, name)
				if kind != "dgram" {
					say("%s listen l", server)
				}
				for _, client := range []string{"host", "a", "b", "c"} {
					may := client == "host" || client == "c" || client == server
					end := map[bool]string{true: "", false: " = ECONNREFUSED"}[may]
					say("%s unix %s s", client, kind)
					if kind == "dgram" {
						say("%s unix send s %s%s", client, name, end)
					}
					say("%s unix connect s %s%s", client, name, end)
					say("%s close s", client)
				}
				say("%s close l", server)
			}
		}
	}
	// Of the same name, one socket of each kind: they are not taken for each other.
	say("host unix stream l")
	say("host unix bind l @kinds")
	say("host listen l")
	say("a unix dgram l")
	say("a unix bind l @kinds")
	say("a unix stream s")
	say("a unix connect s @kinds = ECONNREFUSED")
	// Paths are no matter of these programs.
	say("b unix stream s")
	say("b unix connect s /nothing/here = ENOENT")
	agent.Play(t, agents, script.String())
}

// Without the programs the set is not whole.
func TestAbstractHealth(t *testing.T) {
	need.Kernel(t, 6, 7)
	s, _, _ := stage(t, nil)
	for _, p := range bpf.Set() {
		if !p.Extra {
			continue
		}
		ours, err := s.ours(p)
		must(t, err)
		must(t, ebpf.DetachCgroup(s.group.FD(), ours[0].fd, p.Hook.Attach))
		must(t, syscall.Close(ours[0].fd))
		if err := s.Exposed(); err == nil || !strings.Contains(err.Error(), p.Name) {
			t.Errorf("without %s: %v", p.Name, err)
		}
	}
}
