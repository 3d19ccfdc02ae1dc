// Package power cuts a machine's power while a guest or an image is being changed, and
// looks at the next boot whether all of it is what it was before or what it was to be.
package power

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vserver/daemon/proto"
	"vserver/guest"
	"vserver/internal/need"
	"vserver/kernel/cgroup"
	"vserver/ncontext/shared"
)

func TestMain(m *testing.M) { need.Main(m) }

// home outlives the boots: it is on the machine's disk.
const home = "/tmp/power"

// world is the host upon that disk.
type world struct {
	*testing.T
	bin string
}

// operations are what the power is cut in; each is done over and over until then. n is
// another at each time.
var operations = []struct {
	name string
	do   func(w world, n string)
}{
	{"image import, commit", func(w world, n string) {
		w.may("image", "import", "i"+n+"@1", home+"/tree.tar")
		w.may("web", "commit", "k"+n+"@1")
	}},
	{"build, clone", func(w world, n string) {
		w.may(build("g"+n, "base@1")...)
		w.change("web", n)
		w.may("clone", "web", "c"+n)
	}},
	{"snapshot", func(w world, n string) {
		w.change("web", n)
		w.may("web", "snapshot", "create", "s"+n)
	}},
	{"rollback, rebase", func(w world, n string) {
		w.change("web", n)
		w.may("web", "rebase", "base@2")
		w.may("web", "rebase", "base@1")
		w.may("web", "rollback")
	}},
	{"hashify", func(w world, n string) {
		w.change("web", n)
		w.change("img", n)
		w.may("hashify", "web", "img")
	}},
	{"gc", func(w world, n string) {
		w.may("image", "import", "i"+n+"@1", home+"/tree.tar")
		w.may("pool", "unify")
		w.may("image", "delete", "i"+n+"@1")
		w.may("pool", "gc")
	}},
	{"import", func(w world, n string) { w.may("import", "p"+n, home+"/web.parcel", "--new-identity") }},
	{"layers removed", func(w world, n string) {
		w.change("web", n)
		w.may("web", "snapshot", "create", "s"+n)
		w.may("clone", "web", "c"+n, "--snapshot", "s"+n)
		w.change("c"+n, n)
		w.may("web", "snapshot", "delete", "s"+n)
		w.may("delete", "c"+n, "--force")
		w.may("pool", "gc")
	}},
	{"unhashify", func(w world, n string) {
		w.change("web", n)
		w.change("img", n)
		w.may("hashify", "web", "img")
		w.may("unhashify", "web", "img")
	}},
	{"repair", func(w world, n string) {
		w.may("pool", "unify")
		w.may("image", "import", "i"+n+"@1", home+"/tree.tar")
		w.rot()
		w.may("pool", "verify", "--afresh")
		w.may("image", "delete", "i"+n+"@1")
	}},
	{"rename", func(w world, n string) {
		w.may(build("g"+n, "base@1")...)
		w.may("rename", "g"+n, "r"+n)
		w.may("delete", "r"+n, "--force")
	}},
}

func build(name, image string) []string {
	return []string{"build", name, "--image", image, "--init", "command", "--command", "/bin/sleep", "--command", "inf", "--network", "none"}
}

// run runs the program and gives what it printed.
func (w world) run(args ...string) (string, error) {
	c := exec.Command(w.bin, args...)
	c.Env = append(os.Environ(), "VSERVER_ROOT="+home+"/host")
	c.WaitDelay = 5 * time.Second
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		return out.String(), fmt.Errorf("vserver %s: %w: %s%s", strings.Join(args, " "), err, out.String(), errs.String())
	}
	return out.String(), nil
}

// must is run of what has to succeed.
func (w world) must(args ...string) string {
	w.Helper()
	out, err := w.run(args...)
	if err != nil {
		w.Fatal(err)
	}
	return out
}

// may is run of what the power is cut in. A failure before that is one of the test.
func (w world) may(args ...string) {
	if _, err := w.run(args...); err != nil {
		w.Error(err)
	}
}

// change has a guest write a file of its own, with its sum beside it.
func (w world) change(g, n string) {
	w.may("start", g)
	w.may(g, "exec", "sh", "-c", "cd /own && cp /bin/busybox f"+n+" && echo "+n+" >>f"+n+" && sha256sum f"+n+" >sums.new && cat sums.new >>sums && rm sums.new")
	w.may("stop", g)
}

// rot damages the objects that images have: those of guests are younger, and the only ones
// of their content. The power may go before they are mended, not before there is what they
// are mended by.
func (w world) rot() {
	unix.Sync()
	n := 0
	err := filepath.WalkDir(home+"/host/var/lib/vservers/pool/objects", func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err != nil || info.ModTime().Year() != 2001 {
			return err
		}
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		n++
		_, err = f.WriteAt([]byte("rot"), info.Size()/2)
		return errors.Join(err, f.Close(), os.Chtimes(path, info.ModTime(), info.ModTime()))
	})
	if err != nil || n == 0 {
		w.Errorf("%d objects damaged: %v", n, err)
	}
}

// TestPowerCut is run by each boot of the machine anew, until all operations had their
// cuts.
func TestPowerCut(t *testing.T) {
	need.VM(t)
	w := world{t, need.Binary(t)}
	boot := w.boot()
	// As on every host, what runs is not remembered over a boot.
	run := home + "/host/run"
	if err := os.MkdirAll(run, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("run", run, "tmpfs", 0, "mode=755"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.end)
	if boot == 0 {
		w.prepare()
	} else {
		w.inspect()
	}
	if t.Failed() || boot == len(operations) {
		return
	}
	op := operations[boot]
	fmt.Printf("boot %d: power cut in %s\n", boot, op.name)
	delay := time.Duration(rand.IntN(3000)) * time.Millisecond
	cut := time.AfterFunc(delay, func() { os.WriteFile("/proc/sysrq-trigger", []byte("b"), 0) })
	for n := 0; !t.Failed(); n++ {
		op.do(w, fmt.Sprint(n))
	}
	cut.Stop()
}

// boot counts the boots.
func (w world) boot() int {
	count := home + "/boots"
	text, _ := os.ReadFile(count)
	n, _ := strconv.Atoi(string(text))
	if err := os.MkdirAll(home, 0o755); err != nil {
		w.Fatal(err)
	}
	f, err := os.Create(count + ".new")
	if err == nil {
		fmt.Fprint(f, n+1)
		err = f.Sync()
		f.Close()
	}
	if err == nil {
		err = os.Rename(count+".new", count)
	}
	if err != nil {
		w.Fatal(err)
	}
	unix.Sync()
	return n
}

// prepare makes an image whose files can be told to be whole, a guest upon it, and that
// guest as a parcel.
func (w world) prepare() {
	tree := filepath.Join(home, "tree")
	need.Busybox(w, tree)
	script := `
		mkdir own data
		for i in $(seq 40); do head -c $((i * 20000)) /dev/urandom >data/$i; done
		sha256sum bin/busybox data/* >sums
		(cd own && echo first >f && sha256sum f >sums)
		find . -type f -exec touch -d 2001-01-01 {} +
		tar -cf ../tree.tar .
	`
	c := exec.Command(need.Command(w, "busybox"), "sh", "-e", "-c", script)
	c.Dir = tree
	if out, err := c.CombinedOutput(); err != nil {
		w.Fatalf("%v: %s", err, out)
	}
	w.must("image", "import", "base@1", home+"/tree.tar")
	w.must("image", "import", "base@2", home+"/tree.tar")
	w.must(build("web", "base@1")...)
	w.must(append(build("img", "base@1"), "--set", "limits.disk=256M")...) // in an image
	w.must("web", "snapshot", "create", "first")
	w.must("web", "export", "-o", home+"/web.parcel")
	unix.Sync()
}

// end leaves nothing running, in the boot whose power is not cut.
func (w world) end() {
	dirs := guest.DefaultDirs(home + "/host")
	if err := errors.Join(proto.Quit(dirs), shared.Detach(dirs), unmounted(home+"/host/run")); err != nil {
		w.Error(err)
	}
	cg, err := cgroup.Find()
	if err == nil {
		err = cg.Remove(dirs.Cgroup)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		w.Error(err)
	}
}

// unmounted unmounts what a process that ends holds for a moment longer: vserverd's connection
// is not the last of its files.
func unmounted(path string) error {
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if err := unix.Unmount(path, 0); err != unix.EBUSY || time.Now().After(deadline) {
			return os.NewSyscallError("umount "+path, err)
		}
	}
}

// inspect looks at all there is, as its owner would, and takes away what was made.
func (w world) inspect() {
	var images, guests, snapshots []struct{ Name string }
	w.list(&images, "image", "list", "--json")
	w.must("pool", "verify", "--afresh")
	for _, i := range images {
		w.must("image", "verify", i.Name)
	}
	w.list(&guests, "list", "--json")
	for _, g := range guests {
		w.must("start", g.Name)
		w.must(g.Name, "exec", "sh", "-c", "cd / && sha256sum -cs sums && cd own && sha256sum -cs sums")
		w.must("stop", g.Name)
		if g.Name != "web" && g.Name != "img" {
			w.must("delete", g.Name, "--force")
		}
	}
	w.list(&snapshots, "web", "snapshot", "list", "--json")
	w.must("web", "rebase", "base@1")
	for _, s := range snapshots {
		w.must("clone", "web", "then", "--snapshot", s.Name)
		w.must("start", "then")
		w.must("then", "exec", "sh", "-c", "cd / && sha256sum -cs sums && cd own && sha256sum -cs sums")
		w.must("delete", "then", "--force")
		if s.Name != "first" {
			w.must("web", "snapshot", "delete", s.Name)
		}
	}
	for _, i := range images {
		if !strings.HasPrefix(i.Name, "base@") {
			w.must("image", "delete", i.Name)
		}
	}
	w.must("pool", "gc")
	for _, dir := range []string{"pool/staging", "staging"} {
		left, err := os.ReadDir(filepath.Join(home, "host/var/lib/vservers", dir))
		if err != nil || len(left) > 0 {
			w.Errorf("left in %s: %v, %v", dir, left, err)
		}
	}
	if len(guests) == 0 || len(snapshots) == 0 || len(images) == 0 {
		w.Errorf("%d guests, %d snapshots, %d images", len(guests), len(snapshots), len(images))
	}
}

// list reads what the program lists.
func (w world) list(into any, args ...string) {
	w.Helper()
	if err := json.Unmarshal([]byte(w.must(args...)), into); err != nil {
		w.Fatalf("vserver %s: %v", strings.Join(args, " "), err)
	}
}
