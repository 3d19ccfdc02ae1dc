package host

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"vserver/fault"
	"vserver/guest"
	"vserver/host/disk"
	"vserver/host/files"
	"vserver/internal/need"
	"vserver/kernel/quota"
)

// sized makes a guest whose files are counted; the disk of a machine to throw away counts
// by projects.
func (w *world) sized(n guest.Name, l guest.Limits) {
	w.t.Helper()
	need.VM(w.t)
	w.guest(n, func(s *guest.Spec) { s.Limits = l })
	// Its directory was not made by us.
	if _, err := w.Start(w.t.Context(), n, StartOptions{}); (l.Disk > 0) != (errors.Is(err, guest.ErrUnsupported) && strings.Contains(fault.HintOf(err), "quota adopt")) {
		w.t.Fatalf("start of a guest that is not counted: %v", err)
	}
	if l.Disk == 0 {
		w.stop(n)
	}
	if err := Adopt(w.t.Context(), w.Host, n); err != nil {
		w.t.Fatal(err)
	}
}

// fill writes mebi MiB in the guest and tells what came of it.
func (w *world) fill(n guest.Name, file string, mebi int) (string, int) {
	w.t.Helper()
	return w.sh(n, "dd if=/dev/zero of="+file+" bs=1M count="+strconv.Itoa(mebi)+" 2>&1 && sync")
}

func (w *world) set(n guest.Name, changes ...string) {
	w.t.Helper()
	c, err := w.Set(n, changes)
	if err != nil || len(c.Restart) > 0 {
		w.t.Fatalf("set %v: %+v %v", changes, c, err)
	}
}

// ownProgram puts the test's own program into the shared root, where it is not counted.
func (w *world) ownProgram() {
	w.t.Helper()
	self, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(filepath.Join(w.Dirs.Pool(), "images/box/tree/usr/bin/attributes"), self, 0o755)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// A guest has what its spec says of the disk, sees no more, cannot leave it, and gets more
// or less while it runs.
func TestDisk(t *testing.T) {
	w := newWorld(t)
	w.ownProgram()
	w.sized("web1", guest.Limits{Disk: 16 << 20})
	w.start("web1")
	if out, _ := w.sh("web1", "df -k / | tail -n 1"); !strings.Contains(" "+strings.Join(strings.Fields(out), " "), " 16384 ") {
		t.Errorf("df: %s", out)
	}
	if out, code := w.fill("web1", "/big", 32); code == 0 || !strings.Contains(out, "uota") {
		t.Errorf("more than the limit: %d %s", code, out)
	}
	st, err := w.Status("web1")
	if err != nil || st.Disk == nil || st.Disk.By != "project" || st.Disk.Used > 16<<20 || st.Disk.Used < 8<<20 || st.Disk.Limit != 16<<20 {
		t.Errorf("status: %+v %v", st.Disk, err)
	}
	w.set("web1", "limits.disk=64M", "limits.inodes=200")
	if out, code := w.fill("web1", "/big", 32); code != 0 {
		t.Errorf("less than the raised limit: %s", out)
	}
	if out, code := w.sh("web1", "i=0; while [ $i -lt 300 ]; do : >/tmp/f$i || exit 1; i=$((i+1)); done"); code == 0 {
		t.Errorf("more files than the limit: %s", out)
	}
	w.set("web1", "limits.disk=8M", "limits.inodes=") // below what is used
	if out, code := w.fill("web1", "/more", 1); code == 0 {
		t.Errorf("more when there is too much: %s", out)
	}
	if out, code := w.sh("web1", "rm /big && echo x >/small && mv /small /tmp/ && rm /etc/hostname && echo y >/etc/hostname"); code != 0 {
		t.Errorf("files as ever: %s", out)
	}
	// Ways out of the project, by an overlay's copying up (kernel/quota, TestHole).
	for _, path := range []string{"/usr", "/etc/passwd", "/bin/busybox", "/tmp"} {
		if out, code := w.sh("web1", "/usr/bin/attributes "+path); code != 1 || !strings.Contains(out, "not supported") {
			t.Errorf("attributes of %s: %d %s", path, code, out)
		}
	}
	if left := uncounted(t, w.Dirs.Guest("web1"), 101); len(left) > 0 {
		t.Errorf("not counted: %v", left)
	}
	w.stop("web1")
	w.start("web1")
	if out, code := w.fill("web1", "/again", 16); code == 0 {
		t.Errorf("after a restart: %s", out)
	}
	w.stop("web1")
	w.nothing("web1")
}

// Users and groups have quotas of their own inside.
func TestQuota(t *testing.T) {
	w := newWorld(t)
	w.sized("web1", guest.Limits{})
	w.sized("web2", guest.Limits{})
	w.start("web1")
	if out, code := w.sh("web1", "echo alice:x:1000:1000::/:/bin/sh >>/etc/passwd; echo devs:x:77: >>/etc/group"); code != 0 {
		t.Fatal(out)
	}
	limit := func(n guest.Name, k guest.QuotaKind, who string, hard guest.Bytes) error {
		return SetQuota(w.Host, n, k, who, func(q *guest.Quota) { q.Hard = hard })
	}
	if err := errors.Join(limit("web1", guest.QuotaUser, "alice", 2<<20), limit("web1", guest.QuotaGroup, "devs", 1<<20), limit("web2", guest.QuotaUser, "1000", 5<<20)); err != nil {
		t.Fatal(err)
	}
	if err := limit("web1", guest.QuotaUser, "nobody-knows", 1); !errors.Is(err, guest.ErrInvalid) {
		t.Errorf("a stranger: %v", err)
	}
	out, code := w.run("web1", Command{User: "alice", Args: []string{"/bin/sh", "-c", "dd if=/dev/zero of=/tmp/mine bs=64k count=64 2>&1"}})
	if code == 0 || !strings.Contains(out, "uota") {
		t.Errorf("alice above her limit: %d %s", code, out)
	}
	if out, code := w.fill("web1", "/tmp/roots", 8); code != 0 {
		t.Errorf("root is not alice: %s", out)
	}
	if out, code := w.sh("web1", ": >/tmp/theirs; chgrp 77 /tmp/theirs; dd if=/dev/zero of=/tmp/theirs conv=notrunc bs=64k count=64 2>&1"); code == 0 {
		t.Errorf("the group above its limit: %s", out)
	}
	users, err := Quotas(w.Host, "web1", guest.QuotaUser)
	i := slices.IndexFunc(users, func(q guest.Quota) bool { return q.Name == "alice" })
	if err != nil || i < 0 || users[i].ID != 1000 || users[i].Hard != 2<<20 || users[i].Used < 1<<20 {
		t.Errorf("users: %+v %v", users, err)
	}
	w.stop("web1")
	// Deleted with the guest: who gets the number next has none of it.
	if err := w.Delete(t.Context(), "web1", DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.next = 100
	w.sized("web3", guest.Limits{})
	if users, err = Quotas(w.Host, "web3", guest.QuotaUser); err != nil {
		t.Error(err)
	}
	for _, q := range users {
		if q.Hard > 0 {
			t.Errorf("of the guest before: %+v", q)
		}
	}
	if users, err = Quotas(w.Host, "web2", guest.QuotaUser); err != nil || len(users) == 0 || users[len(users)-1].Hard != 5<<20 {
		t.Errorf("the neighbour's: %+v %v", users, err)
	}
}

// uncounted lists what is in a directory without being in the project of guest x.
func uncounted(t *testing.T, dir string, x guest.XID) (out []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() && !e.IsDir() {
			return err
		}
		if id, err := need.Project(path); err != nil || id != x.Project() {
			out = append(out, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// What build makes is counted from the first file on, and goes with the guest.
func TestDiskBuilt(t *testing.T) {
	need.VM(t)
	need.Overlay(t)
	h := Open(need.Dirs(t))
	for _, kind := range []guest.RootKind{guest.RootOverlay, guest.RootDir} {
		spec := guest.Spec{XID: 300, Root: guest.Root{Kind: kind}, Limits: guest.Limits{Disk: 32 << 20, Inodes: 1000}}
		mustBuild(t, h, "web1", spec)
		if left := uncounted(t, h.Dirs.Guest("web1"), 300); len(left) > 0 {
			t.Errorf("%s: not counted: %v", kind, left)
		}
		st, err := h.Status("web1")
		if err != nil || st.Disk == nil || st.Disk.Limit != 32<<20 || st.Disk.Most != 1000 || st.Disk.Inodes < 4 {
			t.Errorf("%s: %+v %v", kind, st.Disk, err)
		}
		if err := h.Delete(t.Context(), "web1", DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		spec.Limits = guest.Limits{}
		mustBuild(t, h, "web1", spec)
		if st, err := h.Status("web1"); err != nil || st.Disk == nil || st.Disk.Limit != 0 || st.Disk.Most != 0 {
			t.Errorf("%s: limits of the guest before: %+v %v", kind, st.Disk, err)
		}
		if err := h.Delete(t.Context(), "web1", DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

// A host with a reserve starts no guest that could take it.
func TestReserve(t *testing.T) {
	w := newWorld(t)
	w.sized("web1", guest.Limits{Disk: 16 << 20})
	w.sized("web2", guest.Limits{Disk: 16 << 20})
	reserve := func(text string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(w.Dirs.Reserve()), 0o755), os.WriteFile(w.Dirs.Reserve(), []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	start := func(n guest.Name) error {
		_, err := w.Start(t.Context(), n, StartOptions{})
		return err
	}
	reserve("10%\n")
	w.start("web1")
	if _, err := w.Set("web1", []string{"limits.disk=1000T"}); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a limit beyond the disk: %v", err)
	}
	if _, err := w.Set("web1", []string{"limits.disk="}); !errors.Is(err, guest.ErrInvalid) {
		t.Errorf("no limit: %v", err)
	}
	reserve("100%\n")
	if err := start("web2"); !errors.Is(err, syscall.ENOSPC) || fault.HintOf(err) == "" {
		t.Errorf("start into the reserve: %v", err)
	}
	w.nothing("web2")
	reserve("much\n")
	if err := start("web2"); !errors.Is(err, guest.ErrInvalid) {
		t.Errorf("a reserve that is none: %v", err)
	}
	reserve("1M\n")
	w.start("web2")
	w.stop("web2")
	w.stop("web1")
}

// Where nothing counts, a limit is refused before anything is done.
func TestNoQuota(t *testing.T) {
	need.Root(t)
	dir := need.TempDir(t)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	d := need.Dirs(t)
	d.Data = filepath.Join(dir, "data")
	h := Open(d)
	err := h.Build(t.Context(), "web1", &guest.Spec{Limits: guest.Limits{Disk: 1 << 30}}, tiny(), BuildOptions{})
	if !errors.Is(err, guest.ErrUnsupported) || fault.HintOf(err) == "" {
		t.Errorf("build: %v", err)
	}
	left(t, h)
	mustBuild(t, h, "web1", guest.Spec{})
	if _, err := h.Set("web1", []string{"limits.disk=1G"}); !errors.Is(err, guest.ErrUnsupported) {
		t.Errorf("set: %v", err)
	}
	if text, err := h.Config("web1", "limits.disk"); err != nil || strings.HasPrefix(text, "1") {
		t.Errorf("set, though refused: %s %v", text, err)
	}
	if _, err := Quotas(h, "web1", guest.QuotaUser); !errors.Is(err, guest.ErrUnsupported) {
		t.Errorf("quotas: %v", err)
	}
	if err := h.Delete(t.Context(), "web1", DeleteOptions{}); err != nil {
		t.Error(err)
	}
}

// On btrfs with quotas a guest is bounded by the group of its subvolume, and goes with it.
func TestDiskQgroup(t *testing.T) {
	need.Root(t)
	need.Overlay(t)
	at := need.Disk(t, "btrfs", 256<<20, "")
	top, err := os.Open(at)
	if err == nil {
		err = errors.Join(quota.EnableGroups(top), top.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	w := worldAt(t, at)
	n := w.guest("web1", nil)
	spec, err := w.Load(n)
	if err != nil {
		t.Fatal(err)
	}
	dir := w.Dirs.Guest(n)
	if err := errors.Join(os.RemoveAll(dir), disk.Make(dir, spec), files.MakeOwn(dir, spec.FirstID(), nil, nil)); err != nil {
		t.Fatal(err)
	}
	w.start(n)
	w.set(n, "limits.disk=16M")
	if out, code := w.fill(n, "/big", 32); code == 0 || !strings.Contains(out, "uota") {
		t.Errorf("more than the limit: %d %s", code, out)
	}
	big := hostFile(t, filepath.Join(need.TempDir(t), "big"), strings.Repeat("x", 24<<20))
	if err := CopyFiles(t.Context(), w.Host, []CopyPlace{big}, CopyPlace{Guest: n, Path: "/pushed"}, CopyOptions{}); !errors.Is(err, syscall.EDQUOT) {
		t.Errorf("pushed more than the limit: %v", err)
	}
	if _, err := w.Set(n, []string{"limits.inodes=1000"}); !errors.Is(err, guest.ErrUnsupported) {
		t.Errorf("a number of files: %v", err)
	}
	st, err := w.Status(n)
	if err != nil || st.Disk == nil || st.Disk.By != "qgroup" || st.Disk.Limit != 16<<20 {
		t.Errorf("status: %+v %v", st.Disk, err)
	}
	w.set(n, "limits.disk=64M")
	if out, code := w.fill(n, "/big", 32); code != 0 {
		t.Errorf("less than the raised limit: %s", out)
	}
	w.stop(n)
	if err := w.Delete(t.Context(), n, DeleteOptions{}); err != nil {
		t.Error(err)
	}
}
