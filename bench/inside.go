package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// insider is bench/inside/inside.c in the tree of all guests.
const insider = "/bench-inside"

// place is where the rows are run: the host, or a guest.
type place struct {
	name string
	run  func() ([]byte, error)
	down func() error
	time map[string][]float64 // of a row, by round
}

// said runs a command and gives what it printed.
func said(root string, args ...string) func() ([]byte, error) {
	return func() ([]byte, error) {
		c := exec.Command(args[0], args[1:]...)
		c.Dir, c.Stderr, c.SysProcAttr = "/", os.Stderr, &syscall.SysProcAttr{Chroot: root}
		return c.Output()
	}
}

// inside times the kernel's services in guests beside the host. Each round runs all rows
// in every place in turn; the figures are ratios of the least times, since disturbance
// only adds. The host stands twice: what its second column differs from 1 is noise.
func (b *bench) inside() (err error) {
	places, err := b.places()
	defer func() {
		for _, p := range places {
			if p.down != nil {
				err = errors.Join(err, p.down())
			}
		}
	}()
	if err != nil {
		return err
	}
	var rows []string
	for range b.rounds {
		for i := range places {
			p := &places[i]
			out, err := p.run()
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			rows = p.note(out)
		}
	}
	fmt.Printf("  %-12s %10s", "", "ns, host")
	for _, p := range places[1:] {
		fmt.Printf(" %12s", p.name)
	}
	fmt.Printf("   (ratios to the host, %d rounds in turn)\n", b.rounds)
	for _, r := range rows {
		floor := slices.Min(places[0].time[r])
		fmt.Printf("  %-12s %10.1f", r, floor)
		for _, p := range places[1:] {
			fmt.Printf(" %12.3f", slices.Min(p.time[r])/floor)
		}
		fmt.Println()
	}
	return nil
}

// note keeps what a run printed, and gives the names of the rows.
func (p *place) note(out []byte) (rows []string) {
	if p.time == nil {
		p.time = map[string][]float64{}
	}
	for line := range bytes.Lines(out) {
		name, value, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
		if ns, err := strconv.ParseFloat(value, 64); err == nil {
			p.time[name] = append(p.time[name], ns)
			rows = append(rows, name)
		}
	}
	return rows
}

// places starts the guests. What was started is given with an error as well.
func (b *bench) places() ([]place, error) {
	if err := run("gcc", "-O2", "-static", "-o", b.cache+insider, "bench/inside/inside.c"); err != nil {
		return nil, err
	}
	host := said(b.cache, insider)
	places := []place{{name: "host", run: host}, {name: "host again", run: host}}
	plain := func(id string) error {
		err := b.must("build", id, "--network", "none", "--root", "dir", "--method", "rsync", "--from", b.cache)
		return errors.Join(err, b.must("set", id, "init.style=command", "init.command=[/bin/sleep, infinity]", "console.type=log"))
	}
	layered := func(id string) error { return b.guest(id, "command", "/bin/sleep", "infinity") }
	for _, g := range []struct {
		name, id, filter string
		make             func(id string) error
	}{
		{"vserver", "in", "default", layered}, {"no filter", "in-open", "none", layered}, {"root: dir", "in-dir", "default", plain},
	} {
		err := g.make(g.id)
		if err == nil {
			err = b.must("set", g.id, "rights.seccomp="+g.filter)
		}
		if err == nil {
			err = b.must("start", g.id)
		}
		if err != nil {
			return places, err
		}
		places = append(places, place{name: g.name, run: said("", b.vserver("exec", g.id, insider)...),
			down: func() error { return b.must("stop", g.id, "--kill") }})
	}
	return b.insidePeers(places)
}

// insidePeers adds runc under the filter that Docker and Podman give it, and lxc with
// its own.
func (b *bench) insidePeers(places []place) ([]place, error) {
	runc := said("", find("runc"), "--root", filepath.Join(b.work, "runc-state"), "exec", "bench-in", insider)
	lxc := said("", find("lxc-attach"), "-P", filepath.Join(b.work, "lxc"), "-n", "in", "--", insider)
	for _, p := range []struct {
		peer
		run func() ([]byte, error)
	}{{b.runc(), func() ([]byte, error) { return within(b.v2, runc) }}, {b.lxc(), lxc}} {
		if _, err := exec.LookPath(p.program); err != nil {
			fmt.Printf("  (%s is not installed)\n", p.program)
			continue
		}
		err := p.prepare("in")
		if err == nil && p.name == "runc" {
			err = filtered(filepath.Join(b.work, "runc/in/config.json"))
		}
		if err != nil {
			return places, err
		}
		if _, err := p.up("in")(); err != nil {
			fmt.Printf("  (%s: %v)\n", p.name, err)
			continue
		}
		places = append(places, place{name: p.name, run: p.run,
			down: func() error { _, err := p.down("in")(); return err }})
	}
	return places, nil
}

// filtered gives a runtime's configuration the filter of system calls that Podman has by
// default, and Docker nearly so.
func filtered(path string) error {
	text, err := containersFilter()
	if err != nil {
		return err
	}
	var from struct {
		Default  string `json:"defaultAction"`
		Errno    uint   `json:"defaultErrnoRet"`
		Syscalls []struct {
			Names    []string            `json:"names"`
			Action   string              `json:"action"`
			Errno    *uint               `json:"errnoRet"`
			Args     []any               `json:"args"`
			Includes map[string][]string `json:"includes"`
		} `json:"syscalls"`
	}
	if err := json.Unmarshal(text, &from); err != nil {
		return err
	}
	type m = map[string]any
	var calls []m
	for _, s := range from.Syscalls {
		if len(s.Includes) > 0 && !slices.Contains(s.Includes["arches"], runtime.GOARCH) {
			continue // for capabilities that the guest has not, or another machine
		}
		c := m{"names": s.Names, "action": s.Action, "args": s.Args}
		if s.Errno != nil {
			c["errnoRet"] = *s.Errno
		}
		calls = append(calls, c)
	}
	text, err = os.ReadFile(path)
	if err != nil {
		return err
	}
	config := m{}
	if err := json.Unmarshal(text, &config); err != nil {
		return err
	}
	config["linux"].(m)["seccomp"] = m{"defaultAction": from.Default, "defaultErrnoRet": from.Errno,
		"architectures": []string{"SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"}, "syscalls": calls}
	if text, err = json.Marshal(config); err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}

// containersFilter gives that filter, of Debian's package, which is kept in the cache.
func containersFilter() ([]byte, error) {
	const dir, file = "/var/cache/vserver-bench/containers", "usr/share/containers/seccomp.json"
	if text, err := os.ReadFile("/" + file); err == nil {
		return text, nil
	}
	if _, err := os.Stat(filepath.Join(dir, file)); err != nil {
		get := "mkdir -p " + dir + " && cd " + dir + " && apt-get download golang-github-containers-common && dpkg-deb -x *.deb ."
		if err := run("/bin/sh", "-c", get); err != nil {
			return nil, err
		}
	}
	return os.ReadFile(filepath.Join(dir, file))
}

// within does something in a world.
func within[T any](w *world, do func() (T, error)) (out T, err error) {
	done := make(chan struct{})
	w.jobs <- func() {
		out, err = do()
		close(done)
	}
	<-done
	return out, err
}
