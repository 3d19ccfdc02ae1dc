package host

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"vserver/guest"
	"vserver/host/making"
	"vserver/internal/need"
	"vserver/kernel/file"
	"vserver/step"
	"vserver/store"
)

// jobs are what the kill tests run, as the real program: a process of its own that dies.
func jobs() map[string][]string {
	return map[string][]string{
		"build":  {"build", "web1", "-m", "skeleton"},
		"plain":  {"build", "web1", "-m", "skeleton", "--root", "dir"},
		"clone":  {"build", "web1", "--from", "base"},
		"delete": {"delete", "--yes", "web1"},
		"rename": {"rename", "web1", "web2"},

		"snapshot": {"web1", "snapshot", "create", "now"},
		"rollback": {"web1", "rollback", "before"},
		"layer":    {"web1", "clone", "web2"},
	}
}

// killed runs a job that dies after step k of the table op; it tells whether there was
// such a step.
func killed(t *testing.T, root, job, op string, k int) bool {
	t.Helper()
	cmd := exec.Command(need.Binary(t), jobs()[job]...)
	cmd.Env = append(os.Environ(), "VSERVER_ROOT="+root, fmt.Sprintf("%s=%s:%d", step.DieVar, op, k))
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.Success() {
		return false
	}
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !ws.Signaled() {
		t.Fatalf("%s: %v\n%s", job, err, out)
	}
	return true
}

// TestKilledBuild kills builds after each step. The next command, for another guest,
// puts right what was left: the guest is whole or was never there.
func TestKilledBuild(t *testing.T) {
	need.Root(t)
	for _, job := range []string{"build", "plain", "clone"} {
		steps := 0
		for k := 0; ; k++ {
			root := need.TempDir(t)
			h := Open(guest.DefaultDirs(root))
			if job == "clone" {
				mustBuild(t, h, "base", guest.Spec{})
			}
			if !killed(t, root, job, "build", k) {
				break
			}
			steps++
			mustBuild(t, h, "other", guest.Spec{})
			whole, err := file.Exists(h.Dirs.Spec("web1"))
			if err != nil {
				t.Fatal(err)
			}
			if whole {
				err = h.Delete(t.Context(), "web1", DeleteOptions{})
			}
			err = errors.Join(err, h.Delete(t.Context(), "other", DeleteOptions{}))
			if job == "clone" {
				err = errors.Join(err, h.Delete(t.Context(), "base", DeleteOptions{}))
			}
			if err != nil {
				t.Errorf("%s:%d: %v", job, k, err)
			}
			left(t, h)
		}
		if steps != 8 {
			t.Errorf("%s: killed after %d steps", job, steps)
		}
	}
}

// TestKilledDelete kills deletions after each step; the same command again finishes.
func TestKilledDelete(t *testing.T) {
	need.Root(t)
	k := 0
	for ; ; k++ {
		root := need.TempDir(t)
		h := Open(guest.DefaultDirs(root))
		mustBuild(t, h, "web1", guest.Spec{})
		if !killed(t, root, "delete", "delete", k) {
			break
		}
		err := h.Delete(t.Context(), "web1", DeleteOptions{})
		gone := k == 5 // after the last step there is nothing that could be deleted
		if gone != errors.Is(err, guest.ErrNotFound) || !gone && err != nil {
			t.Errorf("delete again after step %d: %v", k, err)
		}
		left(t, h)
	}
	if k != 6 {
		t.Errorf("killed after %d steps", k)
	}
}

// TestKilledRename kills renamings after each step; the next command of any guest
// finishes, and there is one guest, whole.
func TestKilledRename(t *testing.T) {
	need.Swift(t)
	need.Root(t)
	k := 0
	for ; ; k++ {
		root := need.TempDir(t)
		h := Open(guest.DefaultDirs(root))
		mustBuild(t, h, "web1", guest.Spec{})
		mustBuild(t, h, "db", guest.Spec{Boot: guest.Boot{Depends: []guest.Name{"web1"}}})
		if !killed(t, root, "rename", "rename", k) {
			whole(t, h, "web2")
			break
		}
		if k%2 == 0 {
			mustBuild(t, h, "other", guest.Spec{})
		} else if err := errors.Join(making.Mend(h.Dirs, "web1"), making.Mend(h.Dirs, "web2")); err != nil { // as a start does
			t.Error(err)
		}
		now := guest.Name("web2")
		if k < 5 { // the spec had its old name
			now = "web1"
		}
		whole(t, h, now)
		for _, n := range []guest.Name{now, "other", "db"} {
			if err := h.Delete(t.Context(), n, DeleteOptions{}); err != nil && n != "other" {
				t.Errorf("after step %d: %v", k, err)
			}
		}
		left(t, h)
	}
	if k != 9 {
		t.Errorf("killed after %d steps", k)
	}
}

// whole checks a guest and those that depend on it after a renaming.
func whole(t *testing.T, h *Host, n guest.Name) {
	t.Helper()
	if got := read(t, filepath.Join(h.Dirs.Guest(n), "upper/etc/hostname")); got != string(n)+"\n" {
		t.Errorf("%s: hostname %q", n, got)
	}
	db, err := store.Load(h.Dirs.Spec("db"))
	if err != nil || len(db.Boot.Depends) != 1 || db.Boot.Depends[0] != n {
		t.Errorf("db depends on %v, %v, want %s", db.Boot.Depends, err, n)
	}
	ids, err := store.Records(h.Dirs)
	if err != nil {
		t.Error(err)
	}
	for _, r := range ids {
		if r.XID == guest.AutoXID && r.Name != n {
			t.Errorf("number %d is %s's, want %s's", r.XID, r.Name, n)
		}
	}
}
