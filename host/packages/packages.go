// Package packages installs software in guests: by the guest's own package manager, or by
// the host's where a guest has none, which is what util-vserver called external management.
//
// The host's package manager runs in the guest: in its namespaces, with its capabilities
// and system call filter, as its root. It sees the host's programs read-only beside the
// guest's root (rootfs.Tools), and nobody else in the guest does. So what a package brings,
// or a guest's own settings tell the manager to run, is no more than the guest's own root
// could do.
package packages

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"vserver/fault"
	"vserver/guest"
	"vserver/host/files"
	"vserver/host/inside"
	"vserver/host/life"
	"vserver/host/state"
	"vserver/layer"
	"vserver/rootfs"
	"vserver/unify/exclude"
)

// Tools are the programs that a guest can have of the host: package managers, and what takes
// away the files that they were given.
func Tools() []string {
	return []string{"apt-cache", "apt-config", "apt-get", "apt-mark", "dnf", "dpkg", "dpkg-query", "rm", "rpm", "yum"}
}

// Verbs are what Manage can be asked for.
func Verbs() []string { return []string{"get-conffiles", "install", "remove", "update", "upgrade"} }

var places = []string{"usr/bin", "bin", "usr/sbin", "sbin"}

// Run runs a package manager for a guest, with c's files and environment, and gives its
// exit code. A guest that is stopped is there for that time, without its init: see
// life.Visit. The error is guest.ErrUnsupported when neither guest nor host has it.
func Run(ctx context.Context, d guest.Dirs, n guest.Name, program string, args []string, c inside.Command) (int, error) {
	r, err := root(d, n)
	if err != nil {
		return 0, err
	}
	own := first(program, func(p string) bool { return has(r, p) })
	r.Close()
	if own != "" {
		c.Args = append([]string{own}, args...)
		return life.Exec(ctx, d, n, c)
	}
	host := first(program, onHost)
	if !slices.Contains(Tools(), host) {
		return 0, fault.Hint(fmt.Errorf("neither the guest nor this host has %s: %w", program, guest.ErrUnsupported),
			"a package manager of the guest's own: `vserver "+string(n)+" exec`")
	}
	c.Tools, c.Args = true, external(host, args)
	c.Env = append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, c.Env...)
	if c.Dir == "" {
		c.Dir = rootfs.GuestAt
	}
	return life.Exec(ctx, d, n, c)
}

// Manage does what a verb says by whichever package manager is the guest's kind.
func Manage(ctx context.Context, d guest.Dirs, n guest.Name, verb string, args []string, c inside.Command) (int, error) {
	r, err := root(d, n)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	if verb == "get-conffiles" {
		return 0, conffiles(r, c.Stdout)
	}
	program := kind(r)
	if program == "" {
		return 0, fault.Hint(fmt.Errorf("neither the guest nor this host has apt-get, dnf or yum: %w", guest.ErrUnsupported),
			"a package manager of the guest's own: `vserver "+string(n)+" exec`")
	}
	return Run(ctx, d, n, program, append([]string{verb}, args...), c)
}

// kind is the package manager that a guest has or, by the packages in it, could have.
func kind(r *layer.Root) string {
	managers := []string{"apt-get", "dnf", "yum"}
	if i := slices.IndexFunc(managers, func(m string) bool { return has(r, m) }); i >= 0 {
		return managers[i]
	}
	if _, err := r.Stat("var/lib/rpm"); err == nil {
		managers = []string{"dnf", "yum"}
	}
	if i := slices.IndexFunc(managers, onHost); i >= 0 {
		return managers[i]
	}
	return ""
}

func root(d guest.Dirs, n guest.Name) (*layer.Root, error) {
	spec, err := state.Load(d, n)
	if err != nil {
		return nil, err
	}
	whole := spec.WithDefaults(n)
	return files.Root(d, &whole, d.Guest(n))
}

// first is a program that somebody has or, of yum, its successor, which takes the same
// words; "" when there is neither.
func first(program string, there func(string) bool) string {
	for _, p := range []string{program, map[string]string{"yum": "dnf"}[program]} {
		if p != "" && there(p) {
			return p
		}
	}
	return ""
}

// has tells whether a guest has a program.
func has(r *layer.Root, program string) bool {
	return slices.ContainsFunc(places, func(dir string) bool {
		_, err := r.Stat(dir + "/" + program)
		return err == nil
	})
}

func onHost(program string) bool {
	return slices.ContainsFunc(places, func(dir string) bool {
		_, err := os.Stat(filepath.Join("/", dir, program))
		return err == nil
	})
}

// external is the command line by which a program of the host's works on the guest's root.
func external(program string, args []string) []string {
	const at = rootfs.GuestAt
	switch program {
	case "rm":
		return append([]string{program}, args...)
	case "rpm":
		return slices.Concat([]string{program, "--root", at}, args)
	case "yum", "dnf":
		return slices.Concat([]string{program, "--installroot=" + at}, args)
	case "dpkg", "dpkg-query":
		return prepared(append([]string{program, "--root=" + at}, args...))
	}
	return prepared(slices.Concat([]string{program, "-o", "Dir=" + at, "-o", "Dir::State::status=" + at + "/var/lib/dpkg/status",
		"-o", "Dir::Bin::dpkg=/usr/bin/dpkg", "-o", "DPkg::Options::=--root=" + at, "-o", "APT::Sandbox::User=root"}, args))
}

// prepared has a command find the directories of Debian's package manager, which the first
// package in a guest is what makes.
func prepared(command []string) []string {
	const script = `cd ` + rootfs.GuestAt + ` && mkdir -p var/lib/dpkg/info var/lib/dpkg/updates var/lib/apt/lists/partial \
var/cache/apt/archives/partial var/log/apt etc/apt/apt.conf.d etc/apt/preferences.d etc/apt/sources.list.d etc/apt/trusted.gpg.d &&
for f in status available; do [ -e var/lib/dpkg/$f ] || : >var/lib/dpkg/$f || exit; done; cd "$OLDPWD"; exec "$@"`
	return append([]string{"/bin/sh", "-c", script, "sh"}, command...)
}

// conffiles prints the files that belong to the guest's administrator.
func conffiles(r *layer.Root, out *os.File) error {
	const longest = 64 << 20 // bytes
	text, err := r.Read("var/lib/dpkg/status", longest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	list, err := exclude.Conffiles(strings.NewReader(string(text)))
	if err != nil {
		return err
	}
	unescape := strings.NewReplacer(`\\`, `\`, `\`, "")
	for line := range strings.Lines(list) {
		if _, err := out.WriteString(unescape.Replace(strings.TrimPrefix(line, "-"))); err != nil {
			return err
		}
	}
	return nil
}
