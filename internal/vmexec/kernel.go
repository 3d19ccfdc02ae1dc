package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// kernel is an unpacked kernel package.
type kernel struct {
	image   string // vmlinuz
	modules string // lib/modules/VERSION
}

// findKernel gives Debian's cloud kernel of a suite ("" for the host's), fetching it
// with apt the first time. It stays in the user's cache directory; nothing is
// installed.
func findKernel(suite string) (kernel, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return kernel{}, err
	}
	dir := filepath.Join(cache, "vserver-vm", "kernel-"+suite)
	if suite == "" {
		dir = filepath.Join(cache, "vserver-vm", "kernel")
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return kernel{}, err
	}
	lock, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o644)
	if err != nil {
		return kernel{}, err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return kernel{}, fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	if k, err := openKernel(dir); err == nil {
		return k, nil
	}
	if err := fetchKernel(dir, suite); err != nil {
		return kernel{}, fmt.Errorf("fetch a kernel: %w", err)
	}
	return openKernel(dir)
}

// openKernel finds the parts of a kernel package unpacked in dir. In later suites
// the modules are below usr.
func openKernel(dir string) (kernel, error) {
	image, _ := filepath.Glob(filepath.Join(dir, "boot/vmlinuz-*"))
	modules, _ := filepath.Glob(filepath.Join(dir, "lib/modules/*"))
	if len(modules) == 0 {
		modules, _ = filepath.Glob(filepath.Join(dir, "usr/lib/modules/*"))
	}
	if len(image) != 1 || len(modules) != 1 {
		return kernel{}, fmt.Errorf("%s: no kernel package", dir)
	}
	return kernel{image: image[0], modules: modules[0]}, nil
}

// fetchKernel downloads the kernel package and unpacks it as dir.
func fetchKernel(dir, suite string) error {
	work, err := os.MkdirTemp(filepath.Dir(dir), "fetch.")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if err := os.Chmod(work, 0o755); err != nil { // apt works as its own user
		return err
	}
	apt := apt{dir: work}
	if suite != "" {
		if err := apt.follow(suite); err != nil {
			return err
		}
	}
	name, err := apt.dependency("linux-image-cloud-" + runtime.GOARCH)
	if err != nil {
		return err
	}
	if _, err := apt.run("apt-get", "download", name); err != nil {
		return err
	}
	packages, _ := filepath.Glob(filepath.Join(work, "*.deb"))
	if len(packages) != 1 {
		return fmt.Errorf("%s: not downloaded", name)
	}
	tree := filepath.Join(work, "tree")
	if _, err := apt.run("dpkg-deb", "-x", packages[0], tree); err != nil {
		return err
	}
	return os.Rename(tree, dir)
}

// apt runs apt's programs in a directory, there with the host's package lists or
// with lists of its own.
type apt struct {
	dir     string
	options []string
}

func (a apt) run(name string, args ...string) (string, error) {
	if name != "dpkg-deb" {
		args = append(append([]string{}, a.options...), args...)
	}
	c := exec.Command(name, args...)
	c.Dir = a.dir
	c.Env = append(os.Environ(), "LC_ALL=C")
	out, err := c.Output()
	if err != nil {
		var x *exec.ExitError
		if errors.As(err, &x) {
			return "", fmt.Errorf("%s: %w\n%s", c, err, x.Stderr)
		}
		return "", err
	}
	return string(out), nil
}

// dependency gives the package that a package without content stands for, renewing
// the lists when they do not know it.
func (a apt) dependency(name string) (string, error) {
	for try := range 2 {
		out, err := a.run("apt-cache", "depends", name)
		for line := range strings.Lines(out) {
			if p, ok := strings.CutPrefix(strings.TrimSpace(line), "Depends: "); ok && strings.HasPrefix(p, "linux-image") {
				return p, nil
			}
		}
		if try == 0 {
			if _, err := a.run("apt-get", "update"); err != nil {
				return "", err
			}
			continue
		}
		if err != nil {
			return "", err
		}
	}
	return "", fmt.Errorf("%s: apt knows no such package", name)
}

// follow gives apt package lists of its own, of the suite, from the mirror that this
// host uses.
func (a *apt) follow(suite string) error {
	mirrors, err := a.run("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages")
	if err != nil {
		return err
	}
	var mirror string
	for m := range strings.FieldsSeq(mirrors) {
		if strings.HasSuffix(strings.TrimSuffix(m, "/"), "/debian") {
			mirror = m
			break
		}
	}
	if mirror == "" {
		return errors.New("apt of this host has no Debian mirror")
	}
	for _, d := range []string{"lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(a.dir, d), 0o755); err != nil {
			return err
		}
	}
	list := filepath.Join(a.dir, "sources.list")
	text := fmt.Sprintf("deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n", mirror, suite)
	a.options = []string{
		"-o", "Dir::Etc::sourcelist=" + list, "-o", "Dir::Etc::sourceparts=/dev/null",
		"-o", "Dir::State::lists=" + filepath.Join(a.dir, "lists"), "-o", "Dir::Cache=" + filepath.Join(a.dir, "cache"),
	}
	return os.WriteFile(list, []byte(text), 0o644)
}
