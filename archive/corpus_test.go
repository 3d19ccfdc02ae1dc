package archive

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vserver/internal/need"
	"vserver/kernel/file"
)

func TestMain(m *testing.M) { need.Main(m) }

// maker makes an archive for a test.
type maker struct {
	*tar.Writer
	raw *bytes.Buffer
	t   *testing.T
}

func (m maker) put(h tar.Header, content ...string) {
	m.t.Helper()
	text := strings.Join(content, "")
	h.Size = int64(len(text))
	if h.Mode == 0 {
		h.Mode = 0o644
	}
	if h.Typeflag == 0 {
		h.Typeflag = tar.TypeReg
	}
	if err := m.WriteHeader(&h); err != nil {
		m.t.Fatal(err)
	}
	if _, err := m.Write([]byte(text)); err != nil {
		m.t.Fatal(err)
	}
}

func (m maker) file(name string, content ...string) { m.put(tar.Header{Name: name}, content...) }
func (m maker) dir(name string)                     { m.put(tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755}) }
func (m maker) link(name, target string) {
	m.put(tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target})
}
func (m maker) hard(name, target string) {
	m.put(tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: target})
}

// block writes a header that package tar would refuse to write: change alters one of a
// file called f, whose checksum is made right again.
func (m maker) block(change func(b []byte)) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	if err := w.WriteHeader(&tar.Header{Name: "f", Mode: 0o644, Typeflag: tar.TypeReg}); err != nil {
		m.t.Fatal(err)
	}
	b := buf.Bytes()[:512]
	change(b)
	copy(b[148:156], "        ")
	sum := 0
	for _, c := range b {
		sum += int(c)
	}
	copy(b[148:156], fmt.Sprintf("%06o\x00 ", sum))
	if err := m.Flush(); err != nil {
		m.t.Fatal(err)
	}
	m.raw.Write(b)
}

// hostileArchives are refused, each.
func hostileArchives() map[string]func(maker) {
	long := strings.Repeat("n", 256)
	return map[string]func(maker){
		"goes up":                          func(m maker) { m.file("../canary", "evil") },
		"goes up in the middle":            func(m maker) { m.file("a/../../canary", "evil") },
		"goes up but stays":                func(m maker) { m.file("a/../b", "evil") },
		"is above":                         func(m maker) { m.dir("..") },
		"absolute":                         func(m maker) { m.file("/canary", "evil") },
		"absolute root":                    func(m maker) { m.dir("/") },
		"absolute with dots":               func(m maker) { m.file("/../canary", "evil") },
		"through a link to the host":       func(m maker) { m.link("l", "/tmp"); m.file("l/x", "evil") },
		"through a link up":                func(m maker) { m.link("l", ".."); m.file("l/canary", "evil") },
		"through a link inside":            func(m maker) { m.dir("d"); m.link("l", "d"); m.file("l/x", "evil") },
		"through a chain of links":         func(m maker) { m.link("a", "b"); m.link("b", ".."); m.file("a/canary", "evil") },
		"through a link deep down":         func(m maker) { m.dir("d/e"); m.link("d/e/l", "../../.."); m.file("d/e/l/canary", "evil") },
		"through a link to itself":         func(m maker) { m.link("l", "l"); m.file("l/x", "evil") },
		"directory through a link":         func(m maker) { m.link("l", ".."); m.dir("l/newdir") },
		"link through a link":              func(m maker) { m.link("l", ".."); m.link("l/newlink", "x") },
		"directory becomes a link":         func(m maker) { m.dir("d"); m.link("d", ".."); m.file("d/canary", "evil") },
		"full directory becomes a link":    func(m maker) { m.file("d/x", ""); m.link("d", "..") },
		"directory becomes a file":         func(m maker) { m.dir("d"); m.file("d", "evil") },
		"directory becomes a hard link":    func(m maker) { m.file("f", ""); m.dir("d"); m.hard("d", "f") },
		"file becomes a directory":         func(m maker) { m.file("f", ""); m.dir("f") },
		"below a file":                     func(m maker) { m.file("f", ""); m.file("f/x", "evil") },
		"below a fifo":                     func(m maker) { m.put(tar.Header{Name: "p", Typeflag: tar.TypeFifo}); m.file("p/x", "evil") },
		"hard link up":                     func(m maker) { m.hard("h", "../canary") },
		"hard link to an absolute path":    func(m maker) { m.hard("h", "/etc/passwd") },
		"hard link through a link":         func(m maker) { m.link("l", ".."); m.hard("h", "l/canary") },
		"hard link to nothing":             func(m maker) { m.hard("h", "nothing") },
		"hard link to a directory":         func(m maker) { m.dir("d"); m.hard("h", "d") },
		"hard link to the root":            func(m maker) { m.hard("h", ".") },
		"hard link without a target":       func(m maker) { m.hard("h", "") },
		"hard link to a missing directory": func(m maker) { m.hard("h", "d/f") },
		"link to nothing":                  func(m maker) { m.block(func(b []byte) { b[156] = tar.TypeSymlink }) },
		"link to too much":                 func(m maker) { m.link("l", strings.Repeat("x", 5000)) },
		"root is a link":                   func(m maker) { m.link("./", "..") },
		"root is a file":                   func(m maker) { m.block(func(b []byte) { copy(b, "./\x00") }) },
		"long name":                        func(m maker) { m.file(long, "") },
		"long name on the way":             func(m maker) { m.file("a/"+long+"/b", "") },
		"long path":                        func(m maker) { m.file(strings.Repeat("ab/", 1500)+"f", "") },
		"deep":                             func(m maker) { m.file(strings.Repeat("d/", 300)+"f", "") },
		"no name":                          func(m maker) { m.block(func(b []byte) { b[0] = 0 }) },
		"unknown type":                     func(m maker) { m.block(func(b []byte) { b[156] = 'Z' }) },
		"multi-volume":                     func(m maker) { m.block(func(b []byte) { b[156] = 'M' }) },
		"negative size":                    func(m maker) { m.block(func(b []byte) { copy(b[124:], bytes.Repeat([]byte{0xff}, 12)) }) },
		"negative owner":                   func(m maker) { m.block(func(b []byte) { copy(b[108:], bytes.Repeat([]byte{0xff}, 8)) }) },
		"bad checksum":                     func(m maker) { m.block(func(b []byte) {}); m.raw.Bytes()[m.raw.Len()-400] ^= 1 },
		"size without content":             func(m maker) { m.block(func(b []byte) { copy(b[124:], "00000007777\x00") }) },
		"garbage":                          func(m maker) { m.raw.WriteString(strings.Repeat("garbage! ", 200)) },
		"a page of text":                   func(m maker) { m.raw.WriteString(strings.Repeat("a", 512)) },
		"zero byte in the path": func(m maker) {
			m.put(tar.Header{Name: "f", PAXRecords: map[string]string{"VENDOR.x": "y"}})
			pax(m, "path", "a\x00b")
		},
		"header of headers": func(m maker) { m.block(func(b []byte) { b[156] = 'x'; copy(b[124:], "77777777777\x00") }) },
		"too many bytes":    func(m maker) { m.file("big", strings.Repeat("x", 2<<20)) },
		"too many bytes in all": func(m maker) {
			for i := range 5 {
				m.file(fmt.Sprint("f", i), strings.Repeat("x", 300<<10))
			}
		},
		"sparse beyond all": func(m maker) {
			pax(m, "GNU.sparse.major", "1", "GNU.sparse.minor", "0", "GNU.sparse.realsize", "1099511627776", "GNU.sparse.name", "s")
			m.block(func(b []byte) { copy(b[124:], "00000001000\x00") })
			m.raw.WriteString("0\n" + strings.Repeat("\x00", 510))
		},
		"too many entries": func(m maker) {
			for i := range 1001 {
				m.dir(fmt.Sprint("d", i))
			}
		},
		"large attributes": func(m maker) {
			m.put(tar.Header{Name: "f", PAXRecords: map[string]string{"SCHILY.xattr.user.x": strings.Repeat("x", 70000)}})
		},
		"broken capabilities": func(m maker) {
			m.put(tar.Header{Name: "f", PAXRecords: map[string]string{"SCHILY.xattr.security.capability": "short"}})
		},
		"broken ACL": func(m maker) {
			m.put(tar.Header{Name: "f", PAXRecords: map[string]string{"SCHILY.xattr.system.posix_acl_access": "\x09\x00\x00\x00"}})
		},
	}
}

// pax writes an extended header for the next one.
func pax(m maker, pairs ...string) {
	var text string
	for i := 0; i < len(pairs); i += 2 {
		line := " " + pairs[i] + "=" + pairs[i+1] + "\n"
		n := len(line)
		for len(fmt.Sprint(n))+len(line) != n {
			n = len(fmt.Sprint(n)) + len(line)
		}
		text += fmt.Sprint(n) + line
	}
	m.block(func(b []byte) {
		b[156] = 'x'
		copy(b[124:], fmt.Sprintf("%011o\x00", len(text)))
	})
	m.raw.WriteString(text + strings.Repeat("\x00", (512-len(text)%512)%512))
}

func limits() Limits {
	l := Default()
	l.Bytes, l.Entries = 1<<20, 1000
	return l
}

// ground is a directory to unpack into, beside things that must not change.
type ground struct {
	out    string
	before string
}

func newGround(t *testing.T) ground {
	t.Helper()
	dir := t.TempDir()
	g := ground{out: filepath.Join(dir, "out")}
	if err := os.WriteFile(filepath.Join(dir, "canary"), []byte("alive"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(g.out, 0o755); err != nil {
		t.Fatal(err)
	}
	g.before = g.around(t)
	return g
}

// around tells what is beside the directory.
func (g ground) around(t *testing.T) string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(g.out))
	if err != nil {
		t.Fatal(err)
	}
	var out string
	for _, e := range entries {
		st, err := os.Lstat(filepath.Join(filepath.Dir(g.out), e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out += fmt.Sprintln(e.Name(), st.IsDir())
		if !st.IsDir() {
			text, err := os.ReadFile(filepath.Join(filepath.Dir(g.out), e.Name()))
			out += fmt.Sprintln(st.ModTime(), string(text), err)
		}
	}
	return out
}

func (g ground) check(t *testing.T) {
	t.Helper()
	if now := g.around(t); now != g.before {
		t.Errorf("something changed outside: %s, was %s", now, g.before)
	}
}

func archiveOf(t *testing.T, make func(maker)) []byte {
	t.Helper()
	var buf bytes.Buffer
	m := maker{tar.NewWriter(&buf), &buf, t}
	make(m)
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestHostile(t *testing.T) {
	need.Root(t)
	cases := hostileArchives()
	if len(cases) < 40 {
		t.Errorf("%d cases", len(cases))
	}
	for name, make := range cases {
		for _, layer := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, layer %t", name, layer), func(t *testing.T) {
				g := newGround(t)
				root, err := file.OpenDir(g.out)
				if err != nil {
					t.Fatal(err)
				}
				defer root.Close()
				u := New(root)
				u.Limits = limits()
				err = u.unpack(t.Context(), bytes.NewReader(archiveOf(t, make)), layer)
				if err == nil {
					t.Error("was taken")
				}
				g.check(t)
			})
		}
	}
}

// TestCut unpacks an archive that was cut at each byte of interest: none is taken for
// whole but at the end of an entry, where nobody can tell.
func TestCut(t *testing.T) {
	need.Root(t)
	whole := archiveOf(t, func(m maker) { m.file("f", strings.Repeat("x", 1000)); m.dir("d") })
	for cut := range len(whole) - 1024 {
		if cut%512 == 0 && cut != 512 && cut != 1024 || cut%97 != 0 {
			continue
		}
		g := newGround(t)
		root, err := file.OpenDir(g.out)
		if err != nil {
			t.Fatal(err)
		}
		if err := New(root).Tar(t.Context(), bytes.NewReader(whole[:cut])); err == nil {
			t.Errorf("cut at %d of %d: was taken", cut, len(whole))
		}
		root.Close()
	}
}

func TestRatio(t *testing.T) {
	need.Root(t)
	g := newGround(t)
	root, err := file.OpenDir(g.out)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	u := New(root)
	u.Limits.Free, u.Limits.Ratio = 1<<20, 100
	u.Packed = func() int64 { return 1000 }
	bomb := archiveOf(t, func(m maker) { m.file("zeros", strings.Repeat("\x00", 4<<20)) })
	if err := u.Tar(t.Context(), bytes.NewReader(bomb)); !errors.Is(err, ErrHostile) {
		t.Errorf("got %v", err)
	}
}

func TestEmpty(t *testing.T) {
	need.Root(t)
	g := newGround(t)
	root, err := file.OpenDir(g.out)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := New(root).Tar(t.Context(), strings.NewReader("")); !errors.Is(err, ErrHostile) {
		t.Errorf("got %v", err)
	}
}

func FuzzUnpack(f *testing.F) {
	if os.Geteuid() != 0 {
		f.Skip("need root: owners are set")
	}
	for _, make := range hostileArchives() {
		var buf bytes.Buffer
		m := maker{tar.NewWriter(&buf), &buf, &testing.T{}}
		make(m)
		m.Close()
		if buf.Len() < 64<<10 {
			f.Add(buf.Bytes(), false)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, layer bool) {
		g := newGround(t)
		root, err := file.OpenDir(g.out)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		u := New(root)
		u.Limits = limits()
		u.Limits.Entries, u.Limits.Depth = 40, 20
		start := time.Now()
		u.unpack(t.Context(), bytes.NewReader(data), layer)
		if time.Since(start) > 10*time.Second {
			t.Error("took too long")
		}
		g.check(t)
	})
}
