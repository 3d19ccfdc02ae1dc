// Package isolation proves on this very host that a guest is held: it builds a guest of
// nothing but this program, runs the attacks of package attack in it as its root, and
// beside it a neighbour that must not notice. It takes both down again.
//
// Two guests of fixed names are made, and a lock keeps it to one run at a time, so that
// what a killed run left is found by its name: [Sweep] takes it away, which a second
// process of `vserver check --isolation` does at once, and the next run does anyhow.
package isolation

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"vserver/build"
	"vserver/fault"
	"vserver/guest"
	"vserver/host"
	"vserver/isolation/attack"
	"vserver/kernel/cgroup"
	"vserver/kernel/file"
)

// The guests of a run.
const (
	Victim    guest.Name = "isolation-check"
	Neighbour guest.Name = "isolation-neighbour"
)

// Options say what kind of guest is tried.
type Options struct {
	Mode   guest.NetMode // shared by default
	Userns guest.Userns  // private by default
	// Each is told of every outcome as it comes; nil is nobody.
	Each func(attack.Outcome)
}

// Run tries all attacks and gives what came of them. An error says that they could not be
// tried; guest.ErrBusy that somebody else is about it.
func Run(ctx context.Context, h *host.Host, o Options) (all []attack.Outcome, err error) {
	lock, err := lockRun(h, file.TryLock)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	if o.Mode == "" {
		o.Mode = guest.NetShared
	}
	if o.Userns == "" {
		o.Userns = guest.UsernsPrivate
	}
	r := &run{h: h, o: o}
	defer func() { err = errors.Join(err, r.end()) }()
	if err := sweep(ctx, h); err != nil {
		return nil, err
	}
	if err := r.begin(ctx); err != nil {
		return nil, err
	}
	err = r.attacks(ctx)
	return r.all, err
}

// Sweep takes away what a run left that was killed; it waits for one that is under way.
func Sweep(ctx context.Context, h *host.Host) error {
	lock, err := lockRun(h, func(path string) (*file.Lock, error) { return file.WaitLock(ctx, path) })
	if err != nil {
		return err
	}
	return errors.Join(sweep(ctx, h), lock.Unlock())
}

func lockRun(h *host.Host, take func(path string) (*file.Lock, error)) (*file.Lock, error) {
	path := h.Dirs.Lock(Victim + ".run")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	l, err := take(path)
	if errors.Is(err, file.ErrLocked) {
		err = fault.Hint(fmt.Errorf("another check of the isolation: %w", guest.ErrBusy), "vserver list shows its guests "+string(Victim)+" and "+string(Neighbour))
	}
	return l, err
}

func sweep(ctx context.Context, h *host.Host) error {
	var errs []error
	for _, n := range []guest.Name{Victim, Neighbour} {
		err := h.Delete(context.WithoutCancel(ctx), n, host.DeleteOptions{Force: true})
		if err != nil && !errors.Is(err, guest.ErrNotFound) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// run is one run.
type run struct {
	h      *host.Host
	o      Options
	ground attack.Ground
	words  string // the ground as the program takes it
	all    []attack.Outcome
	runs   sync.WaitGroup // the guests
	stop   context.CancelFunc
	closes []io.Closer
}

// begin makes and starts both guests, and what they are to try on the host.
func (r *run) begin(ctx context.Context) error {
	ctx, r.stop = context.WithCancel(ctx)
	for _, n := range []guest.Name{Victim, Neighbour} {
		if err := r.h.Build(ctx, n, r.spec(n), source(), host.BuildOptions{}); err != nil {
			return err
		}
		if err := r.start(ctx, n); err != nil {
			return err
		}
	}
	return r.prepare()
}

// spec is a guest with little of everything. Limits that need a controller are those
// that every host has, but for memory.
func (r *run) spec(n guest.Name) *guest.Spec {
	s := &guest.Spec{
		Userns: r.o.Userns, Root: guest.Root{Kind: guest.RootDir},
		Init:    guest.Init{Style: guest.InitCommand, Command: []string{program, "pause", "{}"}},
		Network: guest.Network{Mode: r.o.Mode},
		Limits: guest.Limits{
			Pids:     96,
			Memory:   memory(),
			CPUs:     map[guest.Name]float64{Neighbour: 1}[n], // on hybrid hosts: a group where the victim has none
			Rlimits:  map[string]guest.Rlimit{"nofile": {Soft: 4096, Hard: 4096}},
			Ceilings: map[string]int{"ptys": 16, "cgroups": 32},
		},
		Console: guest.Console{Type: guest.ConsoleLog},
		View:    guest.View{Flags: []string{"!virt_mem", "!virt_cpu", "!virt_load", "!virt_uptime"}}, // served by the supervisor
	}
	if r.o.Mode == guest.NetShared {
		s.Network.Addresses = []guest.Address{} // no packet of the check leaves the host
	}
	if r.o.Userns == guest.UsernsPrivate {
		for name, n := range map[string]int{"inotify_instances": 32, "inotify_watches": 512, "fanotify_groups": 16, "net_namespaces": 8,
			"mnt_namespaces": 24, "pid_namespaces": 24, "uts_namespaces": 24, "ipc_namespaces": 24, "cgroup_namespaces": 24, "time_namespaces": 24,
			"msgqueue": 65536, "sigpending": 256, "memlock": 8 << 20} {
			s.Limits.Ceilings[name] = n
		}
	}
	return s
}

// memory is the limit of the guests, with room for the attacks; none where nobody counts.
func memory() guest.Bytes {
	cg, err := cgroup.Find()
	if err != nil {
		return 0
	}
	old, _ := cg.Legacy("memory")
	if v2, _ := cg.Controllers(); len(old) == 0 && !slices.Contains(v2, "memory") {
		return 0
	}
	return 128 << 20
}

// program is where the guest has this program.
const program = "/sbin/" + attack.Name

// source fills a guest with this program and nothing else.
func source() build.Source {
	skeleton := build.Skeleton()
	fill := skeleton.Fill
	skeleton.Name = nil
	skeleton.Fill = func(ctx context.Context, dir string, p build.Progress) error {
		if err := fill(ctx, dir, p); err != nil {
			return err
		}
		self, err := os.Open("/proc/self/exe")
		if err != nil {
			return err
		}
		defer self.Close()
		to, err := os.OpenFile(filepath.Join(dir, program), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
		if err != nil {
			return err
		}
		return errors.Join(file.CopyData(to, self), to.Close())
	}
	return skeleton
}

// start starts a guest for as long as this process lives, without the supervisor.
func (r *run) start(ctx context.Context, n guest.Name) error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	r.closes = append(r.closes, null)
	failed := make(chan error, 1)
	r.runs.Go(func() {
		_, err := r.h.Start(ctx, n, host.StartOptions{Wait: true, Stdout: null, Stderr: null})
		failed <- err
	})
	for {
		st, err := r.h.Status(n)
		if err == nil && st.State == guest.Running && st.InitPID != 0 {
			if _, err := r.exec(ctx, n, nil, "nothing"); err == nil {
				return nil
			}
		}
		select {
		case err := <-failed:
			if err == nil {
				err = fmt.Errorf("%s: %w", n, guest.ErrStopped)
			}
			return err
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// prepare has the host serve what no guest may reach, and writes down what there is.
func (r *run) prepare() error {
	tcp, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	r.closes = append(r.closes, tcp)
	name := fmt.Sprintf("vserver-isolation-%d", os.Getpid())
	unix, err := net.Listen("unix", "@"+name)
	if err != nil {
		return err
	}
	r.closes = append(r.closes, unix)
	hostname, err := os.Hostname()
	if err != nil {
		return err
	}
	bootID, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return err
	}
	spec, err := r.h.Load(Victim)
	if err != nil {
		return err
	}
	r.ground = attack.Ground{
		Memory: int(spec.Limits.Memory), Private: r.o.Userns == guest.UsernsPrivate, OwnNet: spec.Network.OwnNet(), Shared: r.o.Mode == guest.NetShared,
		Words: []string{string(Neighbour), "@" + name}, Port: tcp.Addr().(*net.TCPAddr).Port, Socket: name,
		BootID: strings.TrimSpace(string(bootID)),
	}
	if len(hostname) > 3 {
		r.ground.Words = append(r.ground.Words, hostname)
	}
	if r.ground.Kernel, err = kernel(); err != nil {
		return err
	}
	words, err := json.Marshal(r.ground)
	r.words = string(words)
	return err
}

// kernel is the version, as two numbers.
func kernel() (v [2]int, err error) {
	text, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err == nil {
		_, err = fmt.Sscanf(string(text), "%d.%d", &v[0], &v[1])
	}
	return v, err
}

// note keeps an outcome.
func (r *run) note(o attack.Outcome) {
	r.all = append(r.all, o)
	if r.o.Each != nil {
		r.o.Each(o)
	}
}

// attacks tries the table, then what needs somebody outside.
func (r *run) attacks(ctx context.Context) error {
	if err := r.table(ctx); err != nil {
		return err
	}
	for _, try := range []func(context.Context) error{r.owner, r.entering, r.becoming, r.reaching, r.hiding, r.pools} {
		if err := try(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) table(ctx context.Context) error {
	p, err := r.begun(ctx, "all")
	if err != nil {
		return err
	}
	tried := 0
	for p.lines.Scan() {
		var o attack.Outcome
		if err := json.Unmarshal(p.lines.Bytes(), &o); err != nil {
			return fmt.Errorf("the guest says %q: %w", p.lines.Text(), err)
		}
		r.note(o)
		tried++
	}
	code, err := p.finish()
	if err == nil && (code != 0 || tried != len(attack.Table())) {
		err = fmt.Errorf("the attacks ended with code %d after %d of %d", code, tried, len(attack.Table()))
	}
	return err
}

// end takes everything down.
func (r *run) end() error {
	if r.stop != nil {
		r.stop()
	}
	r.runs.Wait()
	errs := []error{sweep(context.Background(), r.h)}
	for _, c := range r.closes {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// part is a part of the program that runs in a guest.
type part struct {
	in, out *os.File
	lines   *bufio.Scanner
	done    chan error
	code    int
}

// begun runs a part of the program in the victim.
func (r *run) begun(ctx context.Context, what string) (*part, error) {
	inner, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	out, outer, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, inner.Close(), in.Close())
	}
	p := &part{in: in, out: out, lines: bufio.NewScanner(out), done: make(chan error, 1)}
	go func() {
		defer inner.Close()
		defer outer.Close()
		var err error
		p.code, err = r.h.Exec(ctx, Victim, host.Command{Args: []string{program, what, r.words}, Stdin: inner, Stdout: outer, Stderr: os.Stderr})
		p.done <- err
	}()
	return p, nil
}

// finish lets a part end, and gives its code.
func (p *part) finish() (int, error) {
	p.in.Close()
	io.Copy(io.Discard, p.out)
	err := <-p.done
	p.out.Close()
	return p.code, err
}

// exec runs a part of the program to its end, and gives what it said when it did not
// end well.
func (r *run) exec(ctx context.Context, n guest.Name, stdin *os.File, what string) (said string, err error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return "", err
	}
	defer null.Close()
	if stdin == nil {
		stdin = null
	}
	out, w, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer out.Close()
	text := make(chan string)
	go func() { b, _ := io.ReadAll(out); text <- string(b) }()
	code, err := r.h.Exec(ctx, n, host.Command{Args: []string{program, what, "{}"}, Stdin: stdin, Stdout: w, Stderr: w})
	w.Close()
	said = <-text
	if err == nil && code == 0 {
		said = ""
	}
	return said, err
}
