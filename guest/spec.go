package guest

// Spec is everything that is wanted of one guest: the content of
// /etc/vservers/NAME.yaml. The zero value of a field means the default that its
// doc tag names; WithDefaults fills them in. The doc tags are the text of the
// published schema, of doc/config.md and of the flags of create and build.
type Spec struct {
	XID      XID    `yaml:"xid" doc:"number of the guest; gives its ids, its cgroup and its loopback alias" default:"the lowest free from 8"`
	Hostname string `yaml:"hostname" doc:"host name inside the guest" default:"the guest's name"`
	IDBase   uint32 `yaml:"idbase" doc:"host id of the guest's root, a multiple of 65536" default:"xid * 65536"`
	Userns   Userns `yaml:"userns" doc:"private: guest root is nobody on the host. none: guest root is host root held by capabilities and seccomp alone" default:"private"`

	Root    Root    `yaml:"root" doc:"where the guest's files are"`
	Mounts  []Mount `yaml:"mounts" doc:"what the guest finds below its root beside its own files, as lines of fstab(5): a directory of the host's or the name of a volume, the place in the guest, the type (bind, volume, tmpfs, or a file system of a device) and options (ro, nosuid, noexec, noatime, rbind, idmap, idmap=DISK:GUEST, nofail, or the file system's own)"`
	Init    Init    `yaml:"init" doc:"what runs as the guest's init"`
	Network Network `yaml:"network" doc:"network of the guest"`
	Limits  Limits  `yaml:"limits" doc:"what the guest may use of the machine"`
	Rights  Rights  `yaml:"rights" doc:"what the guest's root may do"`
	View    View    `yaml:"view" doc:"what the guest sees of the machine"`
	Console Console `yaml:"console" doc:"console of the guest and its log"`
	Boot    Boot    `yaml:"boot" doc:"start with the host"`
	Restart Restart `yaml:"restart" doc:"what vserverd does when the guest's init ends by itself" default:"never"`
	Shell   string  `yaml:"shell" doc:"program of the guest's that enter runs for root" default:"that of the guest's /etc/passwd"`
	Hooks   Hooks   `yaml:"hooks" doc:"programs of the host that run around start and stop"`
}

// Userns says which user namespace the guest's processes live in.
type Userns string

// The user namespaces a guest can have.
const (
	UsernsPrivate Userns = "private"
	UsernsNone    Userns = "none"
)

// Root is where the guest's files are.
type Root struct {
	Kind   RootKind `yaml:"kind" doc:"overlay: a private layer above shared ones. dir: a plain directory" default:"overlay"`
	Lower  []string `yaml:"lower" doc:"shared read-only trees beneath the private layer, topmost first: names of images in the pool, or absolute paths"`
	Path   string   `yaml:"path" doc:"kind dir: the directory of the host's that holds the guest's files" default:"the guest's own below /var/lib/vservers"`
	IDMap  bool     `yaml:"idmap" doc:"kind dir: the files belong to ids from 0 up, and the guest's mount shifts them to its own; others must not get at them on the host (chmod 700 on the directory above)"`
	Device string   `yaml:"device" doc:"kind overlay: a block device, such as a volume of LVM, on which vserver build puts a file system for the private layer; that is as large as the device at each start"`
	Shared []string `yaml:"shared" doc:"directories of the host seen at the same place in the guest, writes going to the private layer (method host)"`
}

// RootKind is the way a guest's files are kept.
type RootKind string

// The ways a guest's files are kept.
const (
	RootOverlay RootKind = "overlay"
	RootDir     RootKind = "dir"
)

// Init is what runs as the guest's first process, and how it is asked to end.
type Init struct {
	Style        InitStyle         `yaml:"style" doc:"plain: the guest's own init is pid 1. sysv: runlevel scripts, no init. command: any command below a tiny reaper" default:"plain"`
	Command      []string          `yaml:"command" doc:"argv of the init (plain), of the command, or of what stands in place of the runlevel scripts (sysv)" default:"/sbin/init"`
	User         string            `yaml:"user" doc:"user that the command of style command runs as, instead of root: a name or number that the guest knows, or user:group"`
	Runlevel     string            `yaml:"runlevel" doc:"runlevel of style sysv" default:"3"`
	RunlevelStop string            `yaml:"runlevel_stop" doc:"runlevel that style sysv ends with" default:"0"`
	Environment  map[string]string `yaml:"environment" doc:"environment of the init"`
	StopSignal   Signal            `yaml:"stop_signal" doc:"signal that asks the init to end" default:"by the kind of init found"`
	StopCommand  []string          `yaml:"stop_command" doc:"command run in the guest to ask it to end, instead of a signal"`
	StopTimeout  Duration          `yaml:"stop_timeout" doc:"how long the guest may take to end before it is killed" default:"90s"`
	KillSequence []string          `yaml:"kill_sequence" doc:"signals for all processes of a guest whose time is up, with the seconds to wait between them, as TERM, 5, KILL; then it is killed as a whole"`
}

// InitStyle is the way a guest is brought up.
type InitStyle string

// The init styles.
const (
	InitPlain   InitStyle = "plain"
	InitSysv    InitStyle = "sysv"
	InitCommand InitStyle = "command"
)

// Limits is what a guest may use. Zero means no limit of its own.
type Limits struct {
	Memory         Bytes             `yaml:"memory" doc:"memory, page cache included, before the guest's own are killed"`
	MemorySoft     Bytes             `yaml:"memory_soft" doc:"memory beyond which the guest is slowed down and its pages are taken back (on cgroup v1: taken back first when the host is short)"`
	MemoryReserved Bytes             `yaml:"memory_reserved" doc:"memory that is never taken back from the guest, whatever others need"`
	MemoryLow      Bytes             `yaml:"memory_low" doc:"memory that is taken back from the guest only when nobody else has any to give"`
	MemoryIdle     Duration          `yaml:"memory_idle" doc:"how long the guest must have done next to nothing before vserverd begins to take back memory that it does not use, a little at a time and as long as it does not wait for it (cgroup v2 alone)"`
	Swap           Bytes             `yaml:"swap" doc:"swap space beyond the memory" default:"none for a guest with a limit of memory"`
	Zswap          Bytes             `yaml:"zswap" doc:"compressed memory that the guest's swapped pages may take"`
	HugePages      map[string]Bytes  `yaml:"hugepages" doc:"memory in huge pages by their size, as 2M: 64M"`
	OOMGroup       bool              `yaml:"oom_group" doc:"kill all of the guest when it runs out of memory, not one process"`
	OOMScoreAdj    int               `yaml:"oom_score_adj" doc:"bias when the host runs out of memory, -1000 to 1000"`
	CPUs           float64           `yaml:"cpus" doc:"processors' worth of time at most, such as 1.5, be there idle ones or not; 0 for no limit"`
	CPUBurst       Duration          `yaml:"cpu_burst" doc:"processor time that is saved up while it is not used, beyond limits.cpus in a moment of need; at most what comes in 100 ms"`
	CPUShares      int               `yaml:"cpu_shares" doc:"weight of the guest where processor time is fought for between guests" default:"100"`
	CPUReserved    Percent           `yaml:"cpu_reserved" doc:"part of the processor time of all guests that is the guest's whenever it wants it; what it does not want others get"`
	CPUIdle        bool              `yaml:"cpu_idle" doc:"run only when no other guest wants the processor"`
	CPUSet         Numbers           `yaml:"cpuset" doc:"processors that the guest may run on, as 0-3,8" default:"all"`
	Mems           Numbers           `yaml:"mems" doc:"memory nodes that the guest may use, as 0" default:"all"`
	TokenBucket    TokenBucket       `yaml:"token_bucket" doc:"processor time in the words of Linux-VServer, instead of limits.cpus"`
	Nice           int               `yaml:"nice" doc:"niceness of the guest's processes from the start, -20 to 19; its users may add to it"`
	IONice         IOPrio            `yaml:"ionice" doc:"priority of the guest's processes at block devices from the start: idle, best-effort:0 (high) to best-effort:7, or realtime:0 to realtime:7 before all others" default:"by niceness"`
	Pids           int               `yaml:"pids" doc:"processes and threads" default:"4096"`
	Disk           Bytes             `yaml:"disk" doc:"space that the guest's own files may take on the disk; shared trees are not counted; doc/limits.md tells which file systems can"`
	Inodes         Count             `yaml:"inodes" doc:"number of the guest's own files, directories and links of all kinds, as 500k"`
	IO             IO                `yaml:"io" doc:"what the guest may do with block devices"`
	Ceilings       map[string]int    `yaml:"ceilings" doc:"the most of what the host's kernel has one pool of for everybody, by the names in doc/isolation.md, as inotify_instances: 512"`
	Rlimits        map[string]Rlimit `yaml:"rlimits" doc:"limits of each process by their name in setrlimit(2), as nofile: 1024:1048576 or memlock: 64M"`
}

// Rights is what the guest's root may do.
type Rights struct {
	Bcaps           []string          `yaml:"bcaps" doc:"capabilities added to the default bounding set, or taken from it with a '!'"`
	Ccaps           []string          `yaml:"ccaps" doc:"context capabilities of Linux-VServer added to the default ones, or taken from them with a '!'; doc/rights.md has their names"`
	Flags           []string          `yaml:"flags" doc:"context flags of Linux-VServer, or with a '!' their absence; doc/rights.md has their names"`
	Devices         []Device          `yaml:"devices" doc:"devices that the guest may use beyond the harmless ones: /dev/fuse rw, or c 10:200 rwm"`
	Sysctls         map[string]string `yaml:"sysctls" doc:"settings of the kernel that the guest's namespaces have for themselves, as net.core.somaxconn: 1024"`
	Seccomp         Seccomp           `yaml:"seccomp" doc:"default: an allow-list of system calls. none: no filter" default:"default"`
	Syscalls        []string          `yaml:"syscalls" doc:"system calls allowed beyond the default filter"`
	Nesting         bool              `yaml:"nesting" doc:"let the guest make user namespaces, and leave /proc unmasked, as container runtimes inside need it"`
	Cgroup1         bool              `yaml:"cgroup1" doc:"give the guest a control group of its own in the v1 hierarchy that is called systemd, which a systemd before 231 needs; nothing bounds how many groups it makes in that"`
	Personality     []string          `yaml:"personality" doc:"what its programs take the kernel for, as setarch(8): linux32, uname26, ..."`
	NoNewPrivileges bool              `yaml:"no_new_privileges" doc:"set-user-ID programs gain nothing (breaks sudo)"`
}

// Seccomp names a system call filter.
type Seccomp string

// The system call filters.
const (
	SeccompDefault Seccomp = "default"
	SeccompNone    Seccomp = "none"
)

// Console is the guest's console.
type Console struct {
	Type    ConsoleType `yaml:"type" doc:"tty: a terminal. log: output is kept, nothing can be typed. none: output is dropped" default:"tty for plain, log for the others"`
	LogSize Bytes       `yaml:"log_size" doc:"size at which the log is rotated; one old log is kept" default:"1M"`
}

// ConsoleType is the kind of console.
type ConsoleType string

// The kinds of console.
const (
	ConsoleTTY  ConsoleType = "tty"
	ConsoleLog  ConsoleType = "log"
	ConsoleNone ConsoleType = "none"
)

// Boot says whether and when the guest starts with the host.
type Boot struct {
	Marks   []string `yaml:"marks" doc:"groups that the guest is started with; the host's boot starts the group default"`
	Depends []Name   `yaml:"depends" doc:"guests that must run before this one, and are stopped after it"`
}

// Restart is what is done when a guest's init ends by itself. A reboot from inside
// is always honoured.
type Restart string

// The restart policies.
const (
	RestartNever     Restart = "never"
	RestartOnFailure Restart = "on-failure"
	RestartAlways    Restart = "always"
)
