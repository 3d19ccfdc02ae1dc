// Command bench times vserver beside the kernel's own share (floor/floor.c) and beside
// other tools that are installed: bwrap, crun, runc, lxc, systemd-nspawn.
//
//	make bench                   everything, some minutes
//	go run ./bench -only start,exec -rounds 10
//
// The commands of a table are run in turn, round after round, so that what disturbs
// the machine disturbs all of them. Times are of whole processes, from fork to the
// end. Only the ratios of one run are worth telling. All guests of all tools have the
// same root, a small Debian, made by debootstrap the first time and kept in
// /var/cache/vserver-bench. On a machine that has other work as well,
//
//	nice -n -20 go run ./bench
//
// puts the commands of all rows before that. A real-time class would not do: Go's
// monitor thread polls in it, see package clock.
//
//house:allow a file for each table, and the ends of connections
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

// bench is one run.
type bench struct {
	rounds int    // of each interleaved table
	few    int    // guests of the table sequence and memory
	many   int    // guests of the tables list, density, hooks and addresses
	work   string // everything made here, removed at the end
	cache  string // the Debian tree
	floor  string // built floor/floor.c
	hello  string // built hello
	tool   string // bin/vserver, as installed
	svg    string // directory that figures are drawn into; "" for none
	v2     *world // where /sys/fs/cgroup is cgroup v2 alone
}

// section is one table.
type section struct {
	name, title string
	run         func(*bench) error
}

func sections() []section {
	return []section{
		{"version", "start-up: vserver --version", (*bench).version},
		{"start", "start to end of a guest whose init is /bin/true", (*bench).start},
		{"exec", "run /bin/true in a running guest", (*bench).exec},
		{"sequence", "guests started and stopped one after the other", (*bench).sequence},
		{"list", "vserver list", (*bench).list},
		{"memory", "memory of idle guests", (*bench).memory},
		{"density", "start to end of a guest beside many", (*bench).density},
		{"context", "sockets in network contexts (mode shared)", (*bench).context},
		{"hooks", "what the programs of network contexts add", (*bench).hooks},
		{"addresses", "starts of guests with an address each", (*bench).addresses},
		{"private", "links of guests with a network of their own (mode private)", (*bench).private},
		{"facade", "sockets that are handed in (hide_netif)", (*bench).facade},
		{"inside", "the kernel's services inside guests, beside the host", (*bench).inside},
		{"neighbour", "a guest beside one that takes all it can get", (*bench).neighbour},
		{"images", "images written out, taken in, read again", (*bench).images},
		{"parcels", "guests written as one stream, and taken in", (*bench).parcels},
		{"storage", "clones, snapshots, and guests upon an image", (*bench).storage},
		{"unified", "equal files made one", (*bench).unified},
		{"together", "guests upon one image", (*bench).together},
		{"hundreds", "200 guests looked at", (*bench).hundreds},
		{"legacy", "vserver-stat, and directories of the old tools", (*bench).legacy},
		{"shares", "processor time by shares, reservation and cap", (*bench).shares},
		{"set", "limits of a running guest changed", (*bench).set},
		{"view", "reads of a guest's view", (*bench).view},
		{"tops", "guests that run top", (*bench).tops},
		{"boot", "Debian with systemd until multi-user.target", (*bench).boot},
	}
}

func main() {
	netEnd()
	facadeEnd()
	viewEnd()
	b := &bench{}
	flag.IntVar(&b.rounds, "rounds", 30, "rounds of each table")
	flag.IntVar(&b.few, "few", 50, "guests in the tables sequence and memory")
	flag.IntVar(&b.many, "many", 500, "guests in the tables list, density, hooks and addresses")
	flag.StringVar(&b.tool, "vserver", "bin/vserver", "the program")
	flag.StringVar(&b.svg, "draw", "", "directory to draw figures into, such as doc")
	only := flag.String("only", "", "tables to make, with commas; empty means all")
	flag.Parse()
	if err := b.main(*only); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// main makes the tables.
func (b *bench) main(only string) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("must be root")
	}
	if err := b.prepare(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.clean()) }()
	b.heed()
	var failed []error
	for _, s := range sections() {
		if only != "" && !strings.Contains(","+only+",", ","+s.name+",") {
			continue
		}
		fmt.Printf("\n%s: %s\n", s.name, s.title)
		if err := s.run(b); err != nil {
			fmt.Println("  not finished:", err)
			failed = append(failed, fmt.Errorf("%s: %w", s.name, err))
		}
	}
	return errors.Join(failed...)
}

// prepare builds the floor, finds the tree, and makes room.
func (b *bench) prepare() (err error) {
	if b.work, err = os.MkdirTemp("/var/tmp", "vserver-bench."); err != nil {
		return err
	}
	if err := os.Chmod(b.work, 0o755); err != nil {
		return err
	}
	if err := b.install(); err != nil {
		return err
	}
	b.floor = filepath.Join(b.work, "floor")
	if err := run("gcc", "-O2", "-static", "-o", b.floor, "bench/floor/floor.c"); err != nil {
		return err
	}
	if err := b.settle(); err != nil {
		return err
	}
	if b.v2, err = newWorld(); err != nil {
		return err
	}
	b.cache = "/var/cache/vserver-bench/debian"
	return debian(b.cache)
}

// debian makes the tree that is every guest's root.
func debian(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "bench-complete")); err == nil {
		return nil
	}
	fmt.Println("making a Debian tree in", dir)
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := run("debootstrap", "--variant=minbase", "--include=systemd-sysv,dbus", "bookworm", dir); err != nil {
		return err
	}
	unit := "[Unit]\nDefaultDependencies=no\nAfter=multi-user.target\n[Service]\nType=oneshot\nExecStart=/bin/touch /bench-ready\n"
	system := filepath.Join(dir, "etc/systemd/system")
	if err := os.WriteFile(filepath.Join(system, "bench-ready.service"), []byte(unit), 0o644); err != nil {
		return err
	}
	wants := filepath.Join(system, "multi-user.target.wants")
	if err := os.MkdirAll(wants, 0o755); err != nil {
		return err
	}
	if err := os.Symlink("../bench-ready.service", filepath.Join(wants, "bench-ready.service")); err != nil {
		return err
	}
	if err := os.Symlink("/lib/systemd/system/multi-user.target", filepath.Join(system, "default.target")); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	// /etc and /var are in step with /usr, as a build of ours says it; else systemd looks for
	// what an offline update left to do, in every boot.
	for _, name := range []string{"etc/.updated", "var/.updated", "bench-complete"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// heed has a run that is interrupted take away what it made.
func (b *bench) heed() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-signals
		if err := b.clean(); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
		os.Exit(130)
	}()
}

// clean removes what was made, unless something of it is mounted still.
func (b *bench) clean() error {
	err := errors.Join(b.deleteGuests(), run("umount", b.runDir()))
	mounts, readErr := os.ReadFile("/proc/thread-self/mounts") // the first thread may be that of the v2 world
	if _, rest, there := strings.Cut(string(mounts), " "+b.work+"/"); readErr != nil || there {
		at, _, _ := strings.Cut(rest, " ")
		return errors.Join(err, readErr, fmt.Errorf("still mounted: %s/%s", b.work, at))
	}
	return errors.Join(err, os.RemoveAll(b.work))
}

// run runs a command that must succeed.
func run(name string, args ...string) error {
	c := exec.Command(name, args...)
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(c.Args, " "), err, out)
	}
	return nil
}
