package guest

import "path/filepath"

// Dirs are the places on the host. There are no path constants anywhere else, so
// a test (or a second installation) owns a world of its own.
type Dirs struct {
	Config string // specs: NAME.yaml
	Data   string // guests' files, the pool; 0700
	Run    string // locks and notes; gone after a reboot
	Cgroup string // name of our group below the cgroup v2 mount
	Etc    string // the host's own settings and accounts; never written to
}

// RootVar names the environment variable that moves every directory of the host
// below another root, for tests and second installations.
const RootVar = "VSERVER_ROOT"

// Where Run is below the root of an installation, and the directories of State below that.
const (
	RunPlace   = "run/vserver"
	StatePlace = "guests"
)

// DefaultDirs are the places of an ordinary installation; root, when not "", is put
// in front of each and makes the cgroup name differ; Etc stays the host's.
func DefaultDirs(root string) Dirs {
	d := Dirs{
		Config: filepath.Join("/", root, "etc/vservers"),
		Data:   filepath.Join("/", root, "var/lib/vservers"),
		Run:    filepath.Join("/", root, RunPlace),
		Cgroup: "vserver",
		Etc:    "/etc",
	}
	if root != "" {
		d.Cgroup = "vserver-" + shortHash(root)
	}
	return d
}

// Spec is the path of a guest's spec.
func (d Dirs) Spec(n Name) string { return filepath.Join(d.Config, string(n)+".yaml") }

// Guest is the directory that holds a guest's files: root/ for a plain directory;
// upper/ and work/ for the private layer of an overlay.
func (d Dirs) Guest(n Name) string { return filepath.Join(d.Data, "guests", string(n)) }

// Pool is the directory of the shared trees.
func (d Dirs) Pool() string { return filepath.Join(d.Data, "pool") }

// Layers is where guests' earlier files are that snapshots and clones stand upon.
func (d Dirs) Layers() string { return filepath.Join(d.Data, "layers") }

// Volumes is where the volumes are, a directory each.
func (d Dirs) Volumes() string { return filepath.Join(d.Data, "volumes") }

// State is the directory of a guest's notes, console log and last exit.
func (d Dirs) State(n Name) string { return filepath.Join(d.Run, StatePlace, string(n)) }

// Console is the file that has what a guest printed to its console.
func (d Dirs) Console(n Name) string { return filepath.Join(d.State(n), "console.log") }

// AddressPool is the file by which an administrator chooses the prefix that guests in
// the host's network get an address of when they name none: one line, as 10.118.0.0/16,
// which it is without the file.
func (d Dirs) AddressPool() string {
	return filepath.Join(d.Config, ".defaults", "interfaces", "pool")
}

// Group is the path of the guest's control group below the mount of cgroup v2.
func (d Dirs) Group(n Name) string { return d.Cgroup + "/" + string(n) }

// Reserve is the file by which an administrator keeps a part of the disk that holds the
// guests' files free of them: one line, a size as 20G or a part as 10%. Without the file
// nothing is kept, and limits may add up to more than the disk.
func (d Dirs) Reserve() string {
	return filepath.Join(d.Config, ".defaults", "dlimits", "reserve")
}

// Lock is the file that is locked while a guest is changed.
func (d Dirs) Lock(n Name) string { return filepath.Join(d.Run, "locks", string(n)) }

// Socket is where vserverd listens.
func (d Dirs) Socket() string { return filepath.Join(d.Run, "vserverd.sock") }

// Cgroup1 is where the v1 hierarchy that guests with rights.cgroup1 live in is mounted on
// a host that has none.
func (d Dirs) Cgroup1() string { return filepath.Join(d.Run, "cgroup1") }

func shortHash(s string) string {
	h := uint32(2166136261) // FNV-1a
	for i := range len(s) {
		h = (h ^ uint32(s[i])) * 16777619
	}
	const hex = "0123456789abcdef"
	out := make([]byte, 8)
	for i := range out {
		out[i] = hex[h>>28]
		h <<= 4
	}
	return string(out)
}
