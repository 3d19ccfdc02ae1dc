package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"vserver/internal/need"
	"vserver/internal/vmexec/cpio"
)

// job is what the machine's init is told.
type job struct {
	Args    []string
	Env     []string
	Dir     string
	Modules []string // loaded at once
	OnDisk  []string // directories to be moved to the disk
}

// Names in the machine. Its root is not the first root, on which pivot_root(2) does
// not work, but a directory of that.
const (
	newRoot     = "machine"
	jobFile     = "job.json"
	moduleDir   = "/lib/modules"
	testBinary  = "/tests/test"
	sourceDir   = "/tests/source"
	vserverPath = "/usr/bin/vserver"
)

// eager are the modules that every machine loads; the rest of its modules wait until
// the kernel asks: those of the file systems, links and filters that guests have.
func eager() []string { return []string{"virtio_pci", "virtio_blk", "ext4", "loop", "fuse"} }

func lazy() []string {
	return []string{
		"overlay", "erofs", "squashfs", "isofs", "veth", "dummy", "bridge", "macvlan", "tun", "unix_diag", "inet_diag", "tcp_diag",
		"nf_tables", "nft_ct", "nft_nat", "nft_masq", "nft_chain_nat", "nft_fib", "nft_fib_ipv4",
		"nft_fib_ipv6", "nft_fib_inet", "nft_meta_bridge", "nft_limit", "nft_reject_inet", "sch_htb", "sch_fq_codel", "br_netfilter", "crc32c_generic", "quota_v2", "quota_tree",
		"binfmt_misc", "autofs4", "configs", "af_packet", "ipv6",
	}
}

// writeImage writes the machine's first root: self as init, modules, busybox, the
// program under test and the test.
func writeImage(path, self string, k kernel, want settings, args []string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	buffer := bufio.NewWriterSize(f, 1<<20)
	a := cpio.New(buffer)

	a.File("init", self)
	skeleton(a)
	a.File(inRoot("/sbin/modprobe"), self)
	if err := addModules(a, k, append(slices.Concat(eager(), lazy()), want.modules...)); err != nil {
		return err
	}
	if err := addPrograms(a, append([]string{"busybox", "sh"}, want.programs...)); err != nil {
		return err
	}
	j := job{Env: environment(), Modules: append(eager(), want.modules...), OnDisk: want.onDisk}
	if own := os.Getenv(need.BinaryVar); own != "" {
		a.File(newRoot+vserverPath, own)
		a.File(newRoot+vserverPath+"-image", own+"-image")
		j.Env = append(j.Env, need.BinaryVar+"="+vserverPath)
	}
	if j.Args, j.Dir, err = addTest(a, args); err != nil {
		return err
	}
	text, err := json.Marshal(j)
	if err != nil {
		return err
	}
	a.Data(jobFile, 0o644, string(text))
	if err := a.Close(); err != nil {
		return err
	}
	return buffer.Flush()
}

// merged are the directories that are links to those of the same name below /usr.
func merged() []string { return []string{"bin", "sbin", "lib", "lib64"} }

// inRoot gives the name in the archive of a path in the machine.
func inRoot(path string) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if slices.Contains(merged(), first) {
		path = "/usr" + path
	}
	return newRoot + path
}

// skeleton adds the directories and files that every Linux has.
func skeleton(a *cpio.Archive) {
	for _, d := range merged() {
		a.Dir(newRoot + "/usr/" + d)
		a.Link(newRoot+"/"+d, "usr/"+d)
	}
	for _, d := range []string{"etc", "proc", "sys", "dev", "run", "tmp", "root", "var/lib", "var/log", "mnt", "home"} {
		a.Dir(newRoot + "/" + d)
	}
	for name, text := range map[string]string{
		"passwd":     "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
		"group":      "root:x:0:\nnogroup:x:65534:\n",
		"hosts":      "127.0.0.1 localhost\n::1 localhost\n",
		"hostname":   "throwaway\n",
		"os-release": "ID=throwaway\nNAME=\"a machine for one test\"\n",
		"fstab":      "",
	} {
		a.Data(newRoot+"/etc/"+name, 0o644, text)
	}
}

// addModules adds the modules and the table by which they are found.
func addModules(a *cpio.Archive, k kernel, names []string) error {
	set, err := findModules(k.modules)
	if err != nil {
		return err
	}
	modules, err := set.resolve(names)
	if err != nil {
		return err
	}
	for _, m := range modules {
		a.Data(inRoot(moduleDir)+"/"+m.name+".ko", 0o644, string(m.data))
	}
	a.Data(inRoot(moduleDir)+"/table", 0o644, moduleTable(modules))
	return nil
}

// addPrograms adds programs of this host, each under its own path, and busybox under
// the names that are left. Who calls a busybox applet by another name is refused, so
// the shell is a real one.
func addPrograms(a *cpio.Archive, names []string) error {
	for _, name := range names {
		path, err := exec.LookPath(name)
		if err != nil {
			return fmt.Errorf("for the machine: %w", err)
		}
		if err := addProgram(a, path); err != nil {
			return err
		}
	}
	path, err := exec.LookPath("busybox")
	if err != nil {
		return err
	}
	a.File(inRoot("/bin/busybox"), path)
	list, err := exec.Command(path, "--list-full").Output()
	if err != nil {
		return fmt.Errorf("%s --list-full: %w", path, err)
	}
	for name := range strings.FieldsSeq(string(list)) {
		a.Link(inRoot("/"+name), "/bin/busybox")
	}
	return nil
}

// environment is what the test finds set: our variables, but not those that speak of
// this host.
func environment() []string {
	env := []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TMPDIR=/tmp", "TERM=dumb", need.AloneVar + "=1"}
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if strings.HasPrefix(name, "VSERVER_") && !strings.HasPrefix(name, "VSERVER_VM_") && name != need.BinaryVar && name != need.AloneVar {
			env = append(env, v)
		}
	}
	return env
}

// addTest adds the test binary and the module's source, and gives the command line
// and the directory of the test in the machine. The file that go test would have the
// test write for its cache has no place there.
func addTest(a *cpio.Archive, args []string) (out []string, dir string, err error) {
	binary, err := filepath.Abs(args[0])
	if err != nil {
		return nil, "", err
	}
	a.File(newRoot+testBinary, binary)
	if err := addLibraries(a, binary); err != nil {
		return nil, "", err
	}
	root, here, err := findModule()
	if err != nil {
		return nil, "", err
	}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		switch {
		case err != nil:
			return err
		case d.IsDir() && rel != "." && (strings.HasPrefix(d.Name(), ".") || rel == "bin" || rel == "dist"):
			return fs.SkipDir
		case d.Type().IsRegular():
			a.File(newRoot+sourceDir+"/"+rel, path)
		}
		return nil
	})
	out = []string{testBinary}
	for _, arg := range args[1:] {
		if !strings.HasPrefix(arg, "-test.testlogfile=") {
			out = append(out, arg)
		}
	}
	return out, filepath.Join(sourceDir, here), err
}

// findModule gives the directory of the module that the working directory lies in,
// and the way from there back.
func findModule() (root, here string, err error) {
	wd, err := os.Getwd()
	if err != nil {
		return "", "", err
	}
	for root = wd; ; root = filepath.Dir(root) {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			here, err = filepath.Rel(root, wd)
			return root, here, err
		}
		if root == "/" {
			return "", "", fmt.Errorf("%s: not in a module", wd)
		}
	}
}
