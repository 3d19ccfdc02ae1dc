package host

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"vserver/guest"
	"vserver/internal/need"
	"vserver/internal/tree"
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
		tree.Fill(t, filepath.Join(from.Dirs.Guest("web1"), own), int(base))
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
		tree.Same(t, what, tree.Told(t, filepath.Join(to.Dirs.Guest(n), "root"), guest.XID(99).IDBase()), tree.Told(t, dir, base))
		return
	}
	if what == "now" {
		tree.Same(t, what, tree.Told(t, filepath.Join(to.Dirs.Guest(n), "upper"), guest.XID(99).IDBase()), tree.Told(t, filepath.Join(old, "upper"), was))
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
	tree.Same(t, "layer", tree.Told(t, filepath.Join(l[0].Dir(to.Dirs), "upper"), 0), tree.Told(t, filepath.Join(from.Dirs.Layers(), his[0].ID, "upper"), was))
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
		if _, err := vserver(t, root, stream, "import", "web2", "-"); err == nil {
			// Some bits of a zstd stream say nothing: what is in it is then as it was.
			if !strings.HasPrefix(what, "flipped") || content(t, h, "web2", "etc/mine") != "now" || content(t, h, "web2", "etc/more") != strings.Repeat("more\n", 40_000) {
				t.Errorf("%s: taken in", what)
			}
			if err := h.Delete(t.Context(), "web2", DeleteOptions{}); err != nil {
				t.Error(err)
			}
		} else if !strings.Contains(err.Error(), "vserver: web2: import: ") {
			t.Errorf("%s: %v", what, err)
		}
		nothing(t, h)
	}
}

// TestKilledImport kills imports after each step. The next command puts right what was
// left: the guest is whole or was never there.
func TestKilledImport(t *testing.T) {
	need.Swift(t)
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
	sinceRunning(t, w)
	for _, words := range [][]string{{"web1", "export"}, {"web1", "commit", "app@1"}} { // the latter leaves an image
		op, steps := words[1], 0
		for ; ; steps++ {
			cmd := exec.Command(need.Binary(t), words...)
			cmd.Env = append(os.Environ(), "VSERVER_ROOT="+w.root, fmt.Sprintf("%s=%s:%d", step.DieVar, op, steps))
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
				t.Errorf("%s:%d: left %q", op, steps, names)
			}
			if _, err := CollectImages(w.Host, CollectOptions{}); err != nil {
				t.Error(err)
			}
			left, err := os.ReadDir(filepath.Join(w.Dirs.Pool(), "staging"))
			if err != nil || len(left) > 0 {
				t.Errorf("%s:%d: left %v, %v", op, steps, left, err)
			}
			if all, err := pool.Open(w.Dirs.Pool()).List(); err != nil || slices.ContainsFunc(all, func(im pool.Image) bool { return im.Name == "app@1" }) {
				t.Errorf("%s:%d: images %+v, %v", op, steps, all, err)
			}
		}
		if steps != 6 {
			t.Errorf("%s: killed after %d steps", op, steps)
		}
	}
	w.stop("web1")
}

// TestExportWriter writes a guest while a program in it writes records one after the other:
// the copy has none without those before it, and all that
// were there when the export began.
func TestExportWriter(t *testing.T) {
	w := newWorld(t)
	w.guest("web1", nil)
	w.start("web1")
	w.sh("web1", "(i=0; while :; do i=$((i+1)); echo $i >>/root/log; echo $i >/root/new; mv /root/new /root/last; done) >/dev/null 2>&1 &")
	count := func(n guest.Name) (records, last int) {
		t.Helper()
		out, _ := w.sh(n, "awk '$1 != NR {exit 1} END {print NR}' /root/log && cat /root/last")
		if _, err := fmt.Sscan(out, &records, &last); err != nil {
			t.Fatalf("%s: %q, %v", n, out, err)
		}
		return records, last
	}
	for n := 0; n < 100; n, _ = count("web1") {
	}
	before, _ := count("web1")
	text, err := vserver(t, w.root, nil, "web1", "export")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := vserver(t, w.root, text, "import", "web2", "-", "--trust"); err != nil {
		t.Fatal(err)
	}
	after, _ := count("web1")
	w.stop("web1")
	w.start("web2")
	if records, last := count("web2"); records < before || records > after || last != records && last != records-1 {
		t.Errorf("%d records, the last is %d; %d before, %d after", records, last, before, after)
	}
	w.stop("web2")
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
