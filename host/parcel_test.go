package host

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"vserver/guest"
	"vserver/internal/need"
	"vserver/kernel/file"
	"vserver/layer"
	"vserver/pool"
	"vserver/step"
	"vserver/store"
)

// vserver runs the real program on the host whose root is given, and gives its output.
func vserver(t *testing.T, root string, stdin []byte, args ...string) ([]byte, error) {
	t.Helper()
	cmd := exec.Command(need.Binary(t), args...)
	cmd.Env = append(os.Environ(), "VSERVER_ROOT="+root)
	cmd.Stdin = bytes.NewReader(stdin)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("vserver %s: %w: %s", strings.Join(args, " "), err, said.String())
	}
	return out, err
}

// told is a tree in words: of each path all that a guest can tell of it, with its ids from
// base, and which paths are one file.
func told(t *testing.T, tree string, base uint32) map[string]string {
	t.Helper()
	out, first := map[string]string{}, map[uint64]string{}
	err := filepath.WalkDir(tree, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(tree, path)
		d, err := file.OpenDir(filepath.Dir(path))
		if err != nil {
			return err
		}
		defer d.Close()
		at, err := d.Entry(filepath.Base(path))
		if err != nil {
			return err
		}
		defer at.Close()
		st, err := at.Stat()
		if err != nil {
			return err
		}
		line := fmt.Sprintf("%o %d:%d rdev %d mtime %d", st.Mode, st.UID-base, st.GID-base, st.Rdev, st.Mtime)
		if st.Type() != file.TypeDir && st.Links > 1 {
			if first[st.Ino] == "" {
				first[st.Ino] = rel
			}
			line += fmt.Sprintf(" %d names, first %s", st.Links, first[st.Ino])
		}
		switch st.Type() {
		case file.TypeLink:
			to, _ := os.Readlink(path)
			line += " -> " + to
		case file.TypeFile:
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %d bytes %x, holes %v", st.Size, sha256.Sum256(text), st.Disk < st.Size/2)
		}
		if st.Type() != file.TypeLink {
			xs, err := at.Xattrs()
			if err != nil {
				return err
			}
			slices.SortFunc(xs, func(a, b file.Xattr) int { return strings.Compare(a.Name, b.Name) })
			for _, x := range xs {
				x, ok, err := layer.Shift{From: base}.Xattr(x)
				if err != nil {
					return err
				}
				if ok {
					line += fmt.Sprintf(" %s=%x", x.Name, x.Value)
				}
			}
		}
		out[rel] = line
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return out
}

// same compares two trees by their words, but for what the guest's start writes.
func same(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	for _, p := range slices.Sorted(func(yield func(string) bool) {
		for p := range want {
			if !yield(p) {
				return
			}
		}
		for p := range got {
			if _, both := want[p]; !both && !yield(p) {
				return
			}
		}
	}) {
		if got[p] != want[p] {
			t.Errorf("%s: %s\n got %s\nwant %s", what, p, got[p], want[p])
		}
	}
}

// everything puts into a tree one of all that a guest can have there.
func everything(t *testing.T, tree string, base int) {
	t.Helper()
	at := func(name string) string { return filepath.Join(tree, name) }
	do := func(errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	do(os.MkdirAll(at("all/deep/down"), 0o2775), os.Mkdir(at("all/opaque"), 0o700), os.WriteFile(at("all/f"), []byte("text"), 0o640))
	do(os.Link(at("all/f"), at("all/deep/same")), os.Symlink("../f", at("all/deep/link")), syscall.Mkfifo(at("all/pipe"), 0o620))
	do(syscall.Mknod(at("all/socket"), syscall.S_IFSOCK|0o755, 0), syscall.Mknod(at("all/gone"), syscall.S_IFCHR, 0))
	do(os.Link(at("all/gone"), at("all/gone too")), os.WriteFile(at("all/böse\nname"), nil, 0o600))
	f, err := os.Create(at("all/sparse"))
	do(err)
	for _, off := range []int64{1 << 20, 9 << 20, 9<<20 + 5} {
		_, err := f.WriteAt([]byte("x"), off)
		do(err)
	}
	do(f.Truncate(64<<20+3), f.Close(), os.WriteFile(at("all/su"), []byte("#!"), 0o755))
	err = filepath.WalkDir(at("all"), func(p string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(p, base+1000, base+70))
	})
	do(err, os.Chmod(at("all/su"), os.ModeSetuid|os.ModeSetgid|0o755), os.Lchown(at("all/deep/link"), base+7, base+8))
	d, err := file.OpenDir(at("all"))
	do(err)
	defer d.Close()
	set := func(name, attr string, value []byte) {
		e, err := d.Entry(name)
		do(err)
		do(e.SetXattr(attr, value), e.Close())
	}
	set("f", "user.k", []byte("v\x00w"))
	set("opaque", "trusted.overlay.opaque", []byte("y"))
	set("opaque", "user.overlay.opaque", []byte("y"))
	capability := append(binary.LittleEndian.AppendUint32(nil, 0x03000001), make([]byte, 20)...)
	binary.LittleEndian.PutUint32(capability[4:], 1<<10)
	binary.LittleEndian.PutUint32(capability[20:], uint32(base))
	set("su", "security.capability", capability)
	acl := binary.LittleEndian.AppendUint32(nil, 2)
	for _, entry := range [][3]uint32{{1, 6, ^uint32(0)}, {2, 4, uint32(base) + 33}, {4, 4, ^uint32(0)}, {16, 6, ^uint32(0)}, {32, 0, ^uint32(0)}} {
		acl = binary.LittleEndian.AppendUint16(acl, uint16(entry[0]))
		acl = binary.LittleEndian.AppendUint16(acl, uint16(entry[1]))
		acl = binary.LittleEndian.AppendUint32(acl, entry[2])
	}
	set("f", "system.posix_acl_access", acl)
	for i, name := range []string{"f", "deep", "gone", "pipe", "sparse", "socket"} {
		do(d.SetTimes(name, 1, int64(i)*1e18+123_456_789))
	}
	do(d.SetTimes("su", 1, -86_400_000_000_001)) // the day before 1970
}

// TestExport writes guests of all kinds, and takes them in on another host with another
// number: settings, files, layers, snapshots and images are the same.
func TestExport(t *testing.T) {
	need.Root(t)
	for _, kind := range []guest.RootKind{guest.RootOverlay, guest.RootDir} {
		a, b := need.TempDir(t), need.TempDir(t)
		from, to := Open(guest.DefaultDirs(a)), Open(guest.DefaultDirs(b))
		mustBuild(t, to, "other", guest.Spec{})
		mustBuild(t, from, "web1", guest.Spec{Root: guest.Root{Kind: kind}, Limits: guest.Limits{Pids: 77}})
		own := map[guest.RootKind]string{guest.RootOverlay: "upper", guest.RootDir: "root"}[kind]
		base := guest.AutoXID.IDBase()
		everything(t, filepath.Join(from.Dirs.Guest("web1"), own), int(base))
		if _, err := TakeSnapshot(t.Context(), from, "web1", "first"); err != nil {
			t.Fatal(err)
		}
		put(t, from, "web1", "etc/mine", "later")
		for _, what := range []string{"now", "first"} {
			args := []string{"web1", "export"}
			if what == "first" {
				args = append(args, "--snapshot", what)
			}
			text, err := vserver(t, a, nil, args...)
			if err != nil {
				t.Fatal(err)
			}
			n := guest.Name(what)
			if out, err := vserver(t, b, text, "import", what, "-", "--xid", "99"); err != nil || string(out) != what+"\n" {
				t.Fatalf("%s, %v", out, err)
			}
			spec, err := store.Load(to.Dirs.Spec(n))
			if err != nil || spec.XID != 99 || spec.Limits.Pids != 77 || spec.Root.Kind != kind && kind == guest.RootDir {
				t.Fatalf("%+v, %v", spec, err)
			}
			alikeStates(t, from, to, n, what, kind)
			if err := to.Delete(t.Context(), n, DeleteOptions{}); err != nil {
				t.Error(err)
			}
		}
		if err := errors.Join(from.Delete(t.Context(), "web1", DeleteOptions{}), to.Delete(t.Context(), "other", DeleteOptions{})); err != nil {
			t.Error(err)
		}
		for _, h := range []*Host{from, to} {
			left(t, h)
			if names := layersOf(t, h); len(names) > 0 {
				t.Errorf("left: %q", names)
			}
		}
		if all, err := pool.Open(to.Dirs.Pool()).List(); err != nil || len(all) > 1 {
			t.Errorf("images left: %+v, %v", all, err)
		}
	}
}

// alikeStates compares guest n of one host with web1 of the other, now or as its snapshot.
func alikeStates(t *testing.T, from, to *Host, n guest.Name, what string, kind guest.RootKind) {
	t.Helper()
	old, base, was := from.Dirs.Guest("web1"), guest.AutoXID.IDBase(), guest.AutoXID.IDBase()
	if kind == guest.RootDir {
		dir := filepath.Join(old, "root")
		if what == "first" {
			shots, err := Snapshots(from, "web1")
			if err != nil {
				t.Fatal(err)
			}
			dir = filepath.Join(from.Dirs.Layers(), shots[0].ID, "root")
		}
		same(t, what, told(t, filepath.Join(to.Dirs.Guest(n), "root"), guest.XID(99).IDBase()), told(t, dir, base))
		return
	}
	if what == "now" {
		same(t, what, told(t, filepath.Join(to.Dirs.Guest(n), "upper"), guest.XID(99).IDBase()), told(t, filepath.Join(old, "upper"), was))
	}
	mine, err := Snapshots(to, n)
	if err != nil || len(mine) != 1 || mine[0].Name != "first" {
		t.Fatalf("%+v, %v", mine, err)
	}
	his, err := Snapshots(from, "web1")
	if err != nil || his[0].ID != mine[0].ID {
		t.Fatalf("%+v, %v", his, err)
	}
	l, err := mine[0].Layers()
	if err != nil || len(l) != 1 || l[0].Base != 0 {
		t.Fatalf("%+v, %v", l, err)
	}
	same(t, "layer", told(t, filepath.Join(l[0].Dir(to.Dirs), "upper"), 0), told(t, filepath.Join(from.Dirs.Layers(), his[0].ID, "upper"), was))
	want := map[string]string{"now": "later", "first": ""}[what]
	if got := content(t, to, n, "etc/mine"); got != want {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// exported is a small guest as a stream.
func exported(t *testing.T) (root string, text []byte) {
	t.Helper()
	root = need.TempDir(t)
	h := Open(guest.DefaultDirs(root))
	mustBuild(t, h, "web1", guest.Spec{})
	put(t, h, "web1", "etc/mine", strings.Repeat("mine\n", 40_000))
	if _, err := TakeSnapshot(t.Context(), h, "web1", "first"); err != nil {
		t.Fatal(err)
	}
	put(t, h, "web1", "etc/more", strings.Repeat("more\n", 40_000))
	put(t, h, "web1", "etc/mine", "now")
	text, err := vserver(t, root, nil, "web1", "export")
	if err != nil {
		t.Fatal(err)
	}
	return root, text
}

// nothing fails the test when a host has anything of a guest, a layer or an image.
func nothing(t *testing.T, h *Host) {
	t.Helper()
	left(t, h)
	if names := layersOf(t, h); len(names) > 0 {
		t.Errorf("left: %q", names)
	}
	if all, err := pool.Open(h.Dirs.Pool()).List(); err != nil || len(all) > 0 {
		t.Errorf("images left: %+v, %v", all, err)
	}
}

// TestImportBroken takes in streams that were cut or changed, each in one place: there is
// no guest.
func TestImportBroken(t *testing.T) {
	need.Root(t)
	_, text := exported(t)
	root := need.TempDir(t)
	h := Open(guest.DefaultDirs(root))
	broken := map[string][]byte{
		"empty": nil, "text": []byte("no guest at all\n"),
		"more": append(slices.Clone(text), "more"...), "twice": append(slices.Clone(text), text...),
	}
	const places = 12
	for i := range places {
		at := len(text) * i / places
		broken[fmt.Sprintf("cut at %d of %d", at, len(text))] = text[:at]
		flipped := slices.Clone(text)
		flipped[at+i] ^= 1 << (i % 8)
		broken[fmt.Sprintf("flipped at %d of %d", at+i, len(text))] = flipped
	}
	broken["cut at the end"] = text[:len(text)-1]
	for what, stream := range broken {
		if out, err := vserver(t, root, stream, "import", "web2", "-"); err == nil {
			t.Errorf("%s: taken in: %s", what, out)
			h.Delete(t.Context(), "web2", DeleteOptions{})
		} else if lines := strings.Split(strings.TrimSpace(err.Error()), "\n"); !strings.Contains(lines[len(lines)-1], "vserver: ") {
			t.Errorf("%s: %v", what, err)
		}
		nothing(t, h)
	}
}

// TestKilledImport kills imports after each step. The next command puts right what was
// left: the guest is whole or was never there.
func TestKilledImport(t *testing.T) {
	need.Root(t)
	_, text := exported(t)
	k := 0
	for ; ; k++ {
		root := need.TempDir(t)
		h := Open(guest.DefaultDirs(root))
		cmd := exec.Command(need.Binary(t), "import", "web2", "-")
		cmd.Env = append(os.Environ(), "VSERVER_ROOT="+root, fmt.Sprintf("%s=import:%d", step.DieVar, k))
		cmd.Stdin = bytes.NewReader(text)
		if err := cmd.Run(); err == nil {
			break
		}
		if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !ws.Signaled() {
			t.Fatalf("step %d: %v", k, cmd.ProcessState)
		}
		mustBuild(t, h, "other", guest.Spec{})
		whole := Exists(h, "web2")
		if whole {
			if got := content(t, h, "web2", "etc/mine"); got != "now" {
				t.Errorf("step %d: %q", k, got)
			}
			if err := h.Delete(t.Context(), "web2", DeleteOptions{}); err != nil {
				t.Errorf("step %d: %v", k, err)
			}
		}
		if err := h.Delete(t.Context(), "other", DeleteOptions{}); err != nil {
			t.Errorf("step %d: %v", k, err)
		}
		left(t, h)
		if names := layersOf(t, h); len(names) > 0 {
			t.Errorf("step %d: left %q", k, names)
		}
		if all, err := pool.Open(h.Dirs.Pool()).List(); err != nil || len(all) > 1 { // other's
			t.Errorf("step %d: images %+v, %v", k, all, err)
		}
	}
	if k != 12 {
		t.Errorf("killed after %d steps", k)
	}
}

// TestImportFull takes in a guest on a disk that is too small, by a little and by much.
func TestImportFull(t *testing.T) {
	need.Root(t)
	_, text := exported(t)
	for _, size := range []string{"32k", "200k", "400k"} {
		root := need.TempDir(t)
		h := Open(guest.DefaultDirs(root))
		if err := os.MkdirAll(h.Dirs.Data, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mount("small", h.Dirs.Data, "tmpfs", 0, "size="+size); err != nil {
			t.Fatal(err)
		}
		_, err := vserver(t, root, text, "import", "web2", "-")
		if err == nil || !strings.Contains(err.Error(), "df -h") {
			t.Errorf("%s: %v", size, err)
		}
		nothing(t, h)
		if err := syscall.Unmount(h.Dirs.Data, 0); err != nil {
			t.Error(err)
		}
	}
}

// TestExportRunning writes a guest that runs and goes on, and is killed after each step: it
// goes on then too, and the next command sweeps.
func TestExportRunning(t *testing.T) {
	w := newWorld(t)
	w.guest("web1", nil)
	w.start("web1")
	w.sh("web1", "echo live >/root/mine; ln /root/mine /root/again")
	text, err := vserver(t, w.root, nil, "web1", "export")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := vserver(t, w.root, text, "import", "web2", "-", "--trust"); err != nil {
		t.Fatal(err)
	}
	w.start("web2")
	if got, _ := w.sh("web2", "cat /root/mine; stat -c '%u %h' /root/mine"); got != "live\n0 2\n" {
		t.Errorf("the copy sees %q", got)
	}
	w.stop("web2")
	steps := 0
	for ; ; steps++ {
		cmd := exec.Command(need.Binary(t), "web1", "export")
		cmd.Env = append(os.Environ(), "VSERVER_ROOT="+w.root, fmt.Sprintf("%s=export:%d", step.DieVar, steps))
		if err := cmd.Run(); err == nil {
			break
		}
		thawed(t, w.Dirs, "web1")
		if _, err := TakeSnapshot(t.Context(), w.Host, "web1", "sweep"); err != nil {
			t.Error(err)
		}
		if err := DeleteSnapshot(w.Host, "web1", "sweep"); err != nil {
			t.Error(err)
		}
		if names := layersOf(t, w.Host); len(names) > 0 {
			t.Errorf("step %d: left %q", steps, names)
		}
	}
	if steps != 6 {
		t.Errorf("killed after %d steps", steps)
	}
	w.stop("web1")
}

// TestImportAsks refuses what gives a guest more of the host, unless it is trusted.
func TestImportAsks(t *testing.T) {
	need.Root(t)
	root := need.TempDir(t)
	h := Open(guest.DefaultDirs(root))
	mustBuild(t, h, "web1", guest.Spec{Hooks: guest.Hooks{PreStart: []string{"/bin/true"}}, Rights: guest.Rights{Nesting: true}})
	text, err := vserver(t, root, nil, "web1", "export")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := vserver(t, root, text, "import", "web2", "-"); err == nil || !strings.Contains(err.Error(), "rights.nesting, hooks") {
		t.Errorf("%v", err)
	}
	if Exists(h, "web2") {
		t.Error("is there")
	}
	out, err := vserver(t, root, text, "import", "web2", "-", "--trust", "--json")
	var made struct {
		Guest string
		XID   int
	}
	if jerr := json.Unmarshal(out, &made); err != nil || jerr != nil || made.Guest != "web2" || made.XID != int(guest.AutoXID)+1 {
		t.Errorf("%s, %v, %v", out, err, jerr)
	}
}
