package view

import (
	"os"
	"time"

	"vserver/kernel/cgroup"
	"vserver/kernel/clock"
)

// heldFor is how long a guest's group is held open. It is made anew in a hierarchy of v1
// when a change of limits failed and was undone; nothing else outlives that.
const heldFor = 10 * time.Second

// held is an open group of a guest.
type held struct {
	group *cgroup.Group
	old   bool // of v1
	at    time.Time
}

// open gives a guest's group where the host has that controller: its v1 name counts for
// hybrid hosts, and "" is the group of v2. It stays the guest's. old tells that it is one
// of v1.
func (g *Guest) open(controller string) (group *cgroup.Group, old bool, err error) {
	tree, old := g.m.old[controller]
	if !old {
		controller = ""
	}
	now := time.Now()
	h := g.groups[controller]
	if h.group != nil && now.Sub(h.at) < heldFor && now.After(h.at) {
		return h.group, h.old, nil
	}
	if h.group != nil {
		h.group.Close()
		delete(g.groups, controller)
	}
	if old {
		group, err = tree.Open(g.group)
	} else {
		group, err = g.m.cg.Open(g.group)
	}
	if err == nil {
		g.groups[controller] = held{group, old, now}
	}
	return group, old, err
}

// Close gives back what the guest holds.
func (g *Guest) Close() {
	for name, h := range g.groups {
		h.group.Close()
		delete(g.groups, name)
	}
}

// meminfo gives the host's /proc/meminfo, not older than Fresh. Who gets it does not
// change it.
func (m *Machine) meminfo() ([]byte, error) {
	now := time.Now()
	if now.Sub(m.mem.at) < Fresh && now.After(m.mem.at) {
		return m.mem.is, nil
	}
	is, err := os.ReadFile("/proc/meminfo")
	if err == nil {
		m.mem = text{is, now}
	}
	return is, err
}

// uptime is how long the host has been up, with the time that it slept.
func uptime() time.Duration { return clock.Boot() }
