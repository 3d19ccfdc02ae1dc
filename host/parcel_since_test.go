package host

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"vserver/guest"
	"vserver/internal/need"
	"vserver/internal/tree"
	"vserver/step"
)

// sinceRunning brings what web1, which runs, has changed to a copy.
func sinceRunning(t *testing.T, w *world) {
	t.Helper()
	w.sh("web1", "mkdir /root/d; seq 100000 >/root/d/big; echo one >/root/mine")
	bring := func(args ...string) []byte {
		t.Helper()
		text, err := vserver(t, w.root, nil, append([]string{"web1", "export"}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := vserver(t, w.root, text, "import", "web3", "-", "--trust", "--replace"); err != nil {
			t.Fatal(err)
		}
		return text
	}
	for _, s := range []string{"one", "two"} {
		if _, err := TakeSnapshot(t.Context(), w.Host, "web1", s); err != nil {
			t.Fatal(err)
		}
		if s == "one" {
			bring("--snapshot", "one")
			w.sh("web1", "echo two >/root/new; rm /root/again; mv /root/d /root/e")
		}
	}
	w.sh("web1", "rm /root/mine; rmdir /mnt")
	small := bring("--snapshot", "two", "--since", "one")
	bring("--since", "two")
	w.start("web3")
	if got, _ := w.sh("web3", "cat /root/new; ls /root/mine /root/again /root/d /mnt 2>/dev/null; tail -n1 /root/e/big"); got != "two\n100000\n" || len(small) > 500_000 {
		t.Errorf("the copy sees %q of %d bytes", got, len(small))
	}
	w.stop("web3")
	if err := w.Delete(t.Context(), "web3", DeleteOptions{}); err != nil {
		t.Error(err)
	}
	for _, s := range []string{"one", "two"} {
		if err := DeleteSnapshot(w.Host, "web1", s); err != nil {
			t.Error(err)
		}
	}
}

// TestSinceChain brings what changed since one snapshot, and then since the next, to another
// host, where the guest has another number.
func TestSinceChain(t *testing.T) {
	need.Swift(t)
	need.Root(t)
	for kind, own := range map[guest.RootKind]string{guest.RootOverlay: "upper", guest.RootDir: "root"} {
		a, b := need.TempDir(t), need.TempDir(t)
		from, to := Open(guest.DefaultDirs(a)), Open(guest.DefaultDirs(b))
		mustBuild(t, from, "web1", guest.Spec{Root: guest.Root{Kind: kind}})
		dir := filepath.Join(from.Dirs.Guest("web1"), own)
		tree.Fill(t, dir, int(guest.AutoXID.IDBase()))
		put(t, from, "web1", "etc/big", strings.Repeat("big", 1<<20))
		bring := func(what string, args ...string) (string, error) {
			t.Helper()
			text, err := vserver(t, a, nil, append([]string{"web1", "export"}, args...)...)
			if err != nil {
				t.Fatal(err)
			}
			if what != "all" && len(text) > 20<<10 {
				t.Errorf("%s: %d bytes", what, len(text))
			}
			words := []string{"import", "web1", "-", "--replace"}
			if what == "all" {
				words = []string{"import", "web1", "-", "--xid", "99"}
			}
			_, err = vserver(t, b, text, words...)
			return what, err
		}
		shot := func(name, mine string) {
			t.Helper()
			put(t, from, "web1", "etc/mine", mine)
			if _, err := TakeSnapshot(t.Context(), from, "web1", name); err != nil {
				t.Fatal(err)
			}
		}
		check := func(what string, err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			if got := content(t, to, "web1", "etc/mine"); got != what && what != "all" {
				t.Errorf("%s: the copy has %q", what, got)
			}
		}
		shot("one", "one")
		check(bring("all", "--snapshot", "one"))
		shot("two", "two")
		if err := seen(t, from, "web1").Remove("all/deep/same"); err != nil {
			t.Fatal(err)
		}
		shot("three", "three")
		put(t, from, "web1", "etc/mine", "now")
		if _, err := bring("three", "--snapshot", "three", "--since", "two"); err == nil || !strings.Contains(err.Error(), "no such snapshot") {
			t.Errorf("without two: %v", err)
		}
		put(t, to, "web1", "etc/mine", "lost")
		check(bring("two", "--snapshot", "two", "--since", "one"))
		if _, err := bring("two", "--snapshot", "two", "--since", "one"); err == nil {
			t.Error("two was taken in twice")
		}
		check(bring("three", "--snapshot", "three", "--since", "one"))
		check(bring("now", "--since", "two"))
		check(bring("now", "--since", "three"))
		if shots, err := Snapshots(to, "web1"); err != nil || len(shots) != 3 {
			t.Errorf("%+v, %v", shots, err)
		}
		if kind == guest.RootDir {
			tree.Same(t, "now", tree.Told(t, filepath.Join(to.Dirs.Guest("web1"), own), guest.XID(99).IDBase()), tree.Told(t, dir, guest.AutoXID.IDBase()))
		}
		for _, name := range []string{"two", "one", "three"} {
			if s, err := Rollback(t.Context(), to, "web1", name); err != nil || content(t, to, "web1", "etc/mine") != name {
				t.Errorf("back to %+v: %v", s, err)
			}
		}
		if err := to.Delete(t.Context(), "web1", DeleteOptions{}); err != nil {
			t.Error(err)
		}
		nothing(t, to)
	}
}

// TestKilledSince kills imports of changes after each step: the guest is what it was, or
// what it becomes.
func TestKilledSince(t *testing.T) {
	need.Root(t)
	a, text := exported(t)
	from := Open(guest.DefaultDirs(a))
	later, err := vserver(t, a, nil, "web1", "export", "--since", "first")
	if err != nil {
		t.Fatal(err)
	}
	if err := from.Delete(t.Context(), "web1", DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	k := 0
	for ; ; k++ {
		root := need.TempDir(t)
		h := Open(guest.DefaultDirs(root))
		if _, err := vserver(t, root, text, "import", "-"); err != nil {
			t.Fatal(err)
		}
		put(t, h, "web1", "etc/mine", "lost")
		cmd := exec.Command(need.Binary(t), "import", "-", "--replace")
		cmd.Env = append(os.Environ(), "VSERVER_ROOT="+root, fmt.Sprintf("%s=import:%d", step.DieVar, k))
		cmd.Stdin = bytes.NewReader(later)
		if err := cmd.Run(); err == nil {
			break
		}
		if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !ws.Signaled() {
			t.Fatalf("step %d: %v", k, cmd.ProcessState)
		}
		want := map[bool]string{true: "now", false: "lost"}[k >= 5]
		if got := content(t, h, "web1", "etc/mine"); got != want {
			t.Errorf("step %d: %q, want %q", k, got, want)
		}
		if _, err := vserver(t, root, later[:len(later)/2], "import", "-", "--replace"); err == nil {
			t.Errorf("step %d: half was taken", k)
		}
		if got := content(t, h, "web1", "etc/mine"); got != want {
			t.Errorf("step %d: then %q, want %q", k, got, want)
		}
		if _, err := vserver(t, root, later, "import", "-", "--replace"); err != nil {
			t.Errorf("step %d: again: %v", k, err)
		}
		if err := h.Delete(t.Context(), "web1", DeleteOptions{}); err != nil {
			t.Errorf("step %d: %v", k, err)
		}
		nothing(t, h)
	}
	if k != 7 {
		t.Errorf("killed after %d steps", k)
	}
}
