package guest

import (
	"net/netip"
	"time"
)

// State is what a guest is doing.
type State string

// The states of a guest.
const (
	Running State = "running"
	Stopped State = "stopped"
	Frozen  State = "frozen"
	// Broken is a guest whose spec cannot be read.
	Broken State = "broken"
)

// Status is what can be said of a guest at a moment. The JSON names are an
// interface: scripts read them.
type Status struct {
	Name      Name           `json:"name"`
	XID       XID            `json:"xid"`
	State     State          `json:"state"`
	InitPID   int            `json:"init_pid,omitempty"` // on the host
	Cgroup    string         `json:"cgroup,omitempty"`   // path on the host
	Hostname  string         `json:"hostname,omitempty"`
	Mode      NetMode        `json:"network,omitempty"`
	Addresses []netip.Prefix `json:"addresses"`
	Started   time.Time      `json:"started,omitzero"`
	UptimeS   float64        `json:"uptime_s"`
	Processes int            `json:"processes"`
	OOMKills  int            `json:"oom_kills"`                  // processes killed for want of memory since the start
	Reclaimed Bytes          `json:"memory_reclaimed,omitempty"` // taken back while it was idle, by limits.memory_idle
	Limits    []Pool         `json:"limits,omitempty"`           // of a guest that runs: what it has of what is limited
	LastExit  *Exit          `json:"last_exit"`
	Again     time.Time      `json:"starts_again,omitzero"` // when vserverd starts it again, by its policy restart
	Net       *NetStatus     `json:"net,omitempty"`         // of a guest that runs in mode shared or private
	Disk      *DiskStatus    `json:"disk,omitempty"`        // where something counts it; of a guest asked for alone, not in a list
	Mounted   *RootMount     `json:"mounted,omitempty"`     // its root, on the host
	Problem   string         `json:"problem,omitempty"`     // why State is Broken
}

// RootMount is where vserver mount has mounted a guest's root.
type RootMount struct {
	Dir      string `json:"dir"`
	Writable bool   `json:"writable"`
	Process  int    `json:"process,omitempty"` // one in whose mount namespace it is, when not in that of who asks
	Lost     bool   `json:"lost,omitempty"`    // it was taken away there, and somebody can still write to it
}

// NetStatus is what a guest has done in the network since it started: by its sockets
// in mode shared, by its link in mode private.
type NetStatus struct {
	BytesIn    uint64 `json:"bytes_in"` // of packets, with their IP headers
	BytesOut   uint64 `json:"bytes_out"`
	PacketsIn  uint64 `json:"packets_in"`
	PacketsOut uint64 `json:"packets_out"`
	Dropped    uint64 `json:"dropped"` // packets that were not to or from an address of the guest's, or that the link had no room for
	// Sockets and Connections, those of TCP, are there now. In mode shared they are
	// counted for guests with network.sockets or network.connections alone, and 0 else.
	Sockets     uint64 `json:"sockets"`
	Connections uint64 `json:"connections"`
	Made        uint64 `json:"connections_made"` // of TCP, ever
	Limits      []Pool `json:"-"`                // network.sockets and network.connections; told with those of control groups
}

// Exit is how a guest's init ended.
type Exit struct {
	Reason Reason    `json:"reason"`
	Code   int       `json:"code"`             // exit code, when Reason is Exited
	Signal string    `json:"signal,omitempty"` // name, when Reason is Signalled
	OOM    bool      `json:"oom,omitempty"`    // the kernel killed for want of memory meanwhile
	Time   time.Time `json:"time,omitzero"`    // zero: it was a moment ago, and is not noted yet
}

// Reason is why a guest is no longer running.
type Reason string

// The reasons of an end. A halt and a power-off from inside cannot be told apart:
// both end the init with SIGINT (reboot(2) in a pid namespace).
const (
	Exited    Reason = "exited"
	Signalled Reason = "signalled"
	Rebooted  Reason = "rebooted"
	Halted    Reason = "halted"
	StoppedBy Reason = "stopped" // by vserver stop
	Unknown   Reason = "unknown" // nobody was awake to see it
)
