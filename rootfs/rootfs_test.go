package rootfs

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"vserver/guest"
	"vserver/internal/need"
)

func TestMain(m *testing.M) { need.Main(m) }

func TestPlan(t *testing.T) {
	image := func(name string) string { return "/pool/" + name }
	for _, c := range []struct {
		root guest.Root
		net  guest.NetMode
		want []string
	}{
		{guest.Root{Kind: guest.RootOverlay, Lower: []string{"web", "/srv/base"}, Shared: []string{"/usr"}}, guest.NetPrivate, []string{
			"make overlay of /g/upper over /pool/web:/srv/base for /",
			"make overlay of /g/shared/usr/upper over /usr for /usr",
			"make dev for /dev", "make devpts for /dev/pts", "make run for /run"}},
		{guest.Root{Kind: guest.RootDir}, guest.NetHost, []string{"clone mount of /g/root for /",
			"make dev for /dev", "make devpts for /dev/pts", "make run for /run", "make sys for /sys"}},
	} {
		var got []string
		for _, m := range Plan(&guest.Spec{Root: c.root, Network: guest.Network{Mode: c.net}}, "/g", nil, image) {
			got = append(got, m.String())
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v:\n%s\nwant\n%s", c.root, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}

// /dev has the harmless devices and belongs to the guest; what is made is gone with
// its descriptor.
func TestDev(t *testing.T) {
	need.Root(t)
	const base = 3000000000
	fd, err := Mount{Kind: Dev, Target: "/dev", Tun: true}.Make(Owner{Base: base, Userns: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	dir := "/proc/self/fd/" + strconv.Itoa(fd)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	want := []string{"console", "fd", "full", "mqueue", "net", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty", "tty1", "urandom", "zero"}
	if !slices.Equal(names, want) {
		t.Errorf("has %v, want %v", names, want)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, name := range names {
		info, err := root.Lstat(name)
		if err != nil {
			t.Fatal(err)
		}
		if st := info.Sys().(*syscall.Stat_t); st.Uid != base || st.Gid != base {
			t.Errorf("%s belongs to %d:%d", name, st.Uid, st.Gid)
		}
	}
	if info, err := root.Stat("net/tun"); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		t.Errorf("net/tun: %v, %v", info, err)
	}
	null, err := root.OpenFile("null", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if _, err := null.Write([]byte("x")); err != nil {
		t.Errorf("null: %v", err)
	}
}

// A root that is missing is named.
func TestMissing(t *testing.T) {
	need.Root(t)
	dir := need.TempDir(t)
	for _, m := range []Mount{
		{Kind: Dir, Target: "/", Upper: dir + "/none"},
		{Kind: Overlay, Target: "/", Lower: []string{dir + "/none"}, Upper: dir, Work: dir},
		{Kind: Overlay, Target: "/", Lower: []string{dir}, Upper: dir + "/none", Work: dir},
	} {
		fd, err := m.Make(Owner{Userns: -1})
		if err == nil {
			syscall.Close(fd)
		}
		if err == nil || !strings.Contains(err.Error(), dir+"/none") {
			t.Errorf("%v: %v", m, err)
		}
	}
}
