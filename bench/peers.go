package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// peer is another tool. Its functions give measurements or are nil when it has no
// such thing.
type peer struct {
	name    string
	program string // looked for in PATH
	prepare func(id string) error
	true    func(id string) func() (time.Duration, error) // start to end of /bin/true
	up      func(id string) func() (time.Duration, error) // start a guest that sleeps
	exec    func(id string) func() (time.Duration, error) // /bin/true in it
	down    func(id string) func() (time.Duration, error) // stop it
}

// peers gives those that are installed.
func (b *bench) peers() []peer {
	var out []peer
	for _, p := range []peer{b.bwrap(), b.crun(), b.runc(), b.lxc(), b.nspawn()} {
		path, err := exec.LookPath(p.program)
		if err != nil {
			fmt.Printf("  (%s is not installed)\n", p.program)
			continue
		}
		if path != "" {
			out = append(out, p)
		}
	}
	return out
}

// find gives the path of a program that is known to be there.
func find(name string) string {
	path, err := exec.LookPath(name)
	if err != nil {
		return "/nonexistent/" + name
	}
	return path
}

func nothing(string) error { return nil }

// bwrap makes namespaces and no cgroup; it has no notion of a running guest.
func (b *bench) bwrap() peer {
	return peer{
		name: "bwrap (no cgroup)", program: "bwrap", prepare: nothing,
		true: func(string) func() (time.Duration, error) {
			return command(find("bwrap"), "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup",
				"--bind", b.cache, "/", "--proc", "/proc", "--dev", "/dev", "/bin/true")
		},
	}
}

// oci makes a peer of a runtime that speaks OCI.
func (b *bench) oci(name string, in func(...string) func() (time.Duration, error)) peer {
	state := filepath.Join(b.work, name+"-state")
	tool := func(args ...string) func() (time.Duration, error) {
		return in(append([]string{find(name), "--root", state}, args...)...)
	}
	bundle := func(id string) string { return filepath.Join(b.work, name, id) }
	return peer{
		name: name, program: name,
		prepare: func(id string) error {
			if err := b.writeBundle(bundle(id+"-true"), "/bench-"+name+"-"+id+"-true", "/bin/true"); err != nil {
				return err
			}
			return b.writeBundle(bundle(id), "/bench-"+name+"-"+id, "/bin/sleep", "infinity")
		},
		true: func(id string) func() (time.Duration, error) {
			return tool("run", "--bundle", bundle(id+"-true"), "bench-"+id+"-true")
		},
		up: func(id string) func() (time.Duration, error) {
			return tool("run", "--detach", "--bundle", bundle(id), "bench-"+id)
		},
		exec: func(id string) func() (time.Duration, error) { return tool("exec", "bench-"+id, "/bin/true") },
		down: func(id string) func() (time.Duration, error) { return tool("delete", "--force", "bench-"+id) },
	}
}

func (b *bench) crun() peer { return b.oci("crun", b.v2.command) }

func (b *bench) runc() peer { return b.oci("runc", b.v2.command) }

// writeBundle writes a directory with the config.json of an OCI runtime.
func (b *bench) writeBundle(dir, group string, args ...string) error {
	type m = map[string]any
	caps := []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_KILL", "CAP_SETUID", "CAP_SETGID", "CAP_NET_BIND_SERVICE"}
	var spaces []m
	for _, s := range []string{"pid", "network", "ipc", "uts", "mount", "cgroup"} {
		spaces = append(spaces, m{"type": s})
	}
	config := m{
		"ociVersion": "1.0.2",
		"process": m{
			"args": args, "cwd": "/", "env": []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, "user": m{"uid": 0, "gid": 0},
			"capabilities": m{"bounding": caps, "effective": caps, "permitted": caps},
		},
		"root":     m{"path": b.cache},
		"hostname": "bench",
		"mounts": []m{
			{"destination": "/proc", "type": "proc", "source": "proc"},
			{"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": []string{"nosuid", "mode=755", "size=64k"}},
			{"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": []string{"nosuid", "noexec", "newinstance"}},
			{"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": []string{"nosuid", "noexec", "nodev", "ro"}},
		},
		"linux": m{"cgroupsPath": group, "namespaces": spaces},
	}
	text, err := json.Marshal(config)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "config.json"), text, 0o644)
}

// lxc is measured without the hooks that Debian's configuration adds: one of them
// sleeps half a second at each stop.
func (b *bench) lxc() peer {
	dir := filepath.Join(b.work, "lxc")
	tool := func(name string, id string, args ...string) func() (time.Duration, error) {
		return command(append([]string{find(name), "-P", dir, "-n", id}, args...)...)
	}
	return peer{
		name: "lxc", program: "lxc-start",
		prepare: func(id string) error {
			if err := b.writeLXC(filepath.Join(dir, id+"-true"), id+"-true", "/bin/true"); err != nil {
				return err
			}
			return b.writeLXC(filepath.Join(dir, id), id, "/bin/sleep infinity")
		},
		true: func(id string) func() (time.Duration, error) { return tool("lxc-start", id+"-true", "-F") },
		up:   func(id string) func() (time.Duration, error) { return tool("lxc-start", id, "-d") },
		exec: func(id string) func() (time.Duration, error) { return tool("lxc-attach", id, "--", "/bin/true") },
		down: func(id string) func() (time.Duration, error) { return tool("lxc-stop", id, "-k") },
	}
}

func (b *bench) writeLXC(dir, name, init string) error {
	lines := []string{
		"lxc.uts.name = " + name, "lxc.rootfs.path = dir:" + b.cache, "lxc.net.0.type = empty",
		"lxc.init.cmd = " + init, "lxc.apparmor.profile = unconfined",
	}
	common, err := os.ReadFile("/usr/share/lxc/config/common.conf")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(common)) {
		if !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "lxc.include") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "config"), []byte(strings.Join(lines, "\n")+"\n"), 0o644)
}

// nspawn has no way to leave a guest running without a manager.
func (b *bench) nspawn() peer {
	return peer{
		name: "systemd-nspawn", program: "systemd-nspawn", prepare: nothing,
		true: func(string) func() (time.Duration, error) {
			return command(append(b.nspawnArgs("--pipe"), "/bin/true")...)
		},
	}
}

func (b *bench) nspawnArgs(more ...string) []string {
	return append([]string{
		"/usr/bin/env", "SYSTEMD_NSPAWN_LOCK=0", find("systemd-nspawn"), "-q", "--register=no", "--keep-unit",
		"--private-network", "--link-journal=no", "-D", b.cache,
	}, more...)
}
