// Package archive unpacks tar streams that strangers made. What it writes stays in one
// directory whatever the archive says: every file is made through handles on
// directories (kernel/file), no symbolic link is followed, hard links stay inside, and
// limits bound what a small archive can unfold to.
//
// It takes plain tar; package image has it done in a process of its own, behind a decoder.
package archive

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"vserver/kernel/file"
)

// ErrHostile is what archives are refused with that no honest tool makes.
var ErrHostile = errors.New("refused")

// Limits bound what an archive may unfold to.
type Limits struct {
	Bytes   int64 // content of all files, holes included
	Entries int   // files, directories, links
	Depth   int   // directories above a file
	Path    int   // bytes in a path
	Xattrs  int   // bytes of a file's extended attributes, names included
	// Ratio bounds Bytes by the packed size as well, once they are more than Free.
	Ratio, Free int64
}

// Default are limits that no distribution's root comes near: the largest public
// images hold some 10^6 files and 10^11 bytes, the deepest trees (of node modules)
// are about 60 deep, and gzip cannot pack better than 1:1032.
func Default() Limits {
	return Limits{
		Bytes: 256 << 30, Entries: 4_000_000, Depth: 256, Path: 4095, Xattrs: 64 << 10,
		Ratio: 1100, Free: 1 << 30,
	}
}

// Report counts what was unpacked, and what was left out or changed because a guest
// cannot have it.
type Report struct {
	Entries int
	Bytes   int64
	Devices int // device nodes, left out
	IDs     int // files of ids from 65536 on, given to the guest's nobody
	Xattrs  int // extended attributes of other kinds than a guest may set, left out
}

// String tells what was left out, in a line; "" when nothing was.
func (r Report) String() string {
	var parts []string
	for _, p := range []struct {
		n    int
		text string
	}{
		{r.Devices, "%d device nodes left out"},
		{r.IDs, "%d files of ids above 65535 given to nobody"},
		{r.Xattrs, "%d extended attributes left out"},
	} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf(p.text, p.n))
		}
	}
	return strings.Join(parts, ", ")
}

// Options are what an Unpacker is to take, and as what.
type Options struct {
	Limits Limits
	// Whole takes what Packer.Whole keeps, for the tree of one guest; Devices its device
	// nodes as well.
	Whole, Devices bool
	// Over does what Packer.Since wrote to the tree that is in the directory.
	Over bool
	// Base is what the archive's id 0 becomes.
	Base uint32
}

// Progress is what the archives come to that were unpacked into one directory.
type Progress struct {
	Report Report
	Left   map[string]bool // devices that were left out
	Disk   int64           // bytes of content written, holes left out
}

// Unpacker unpacks archives one over the other into a directory.
type Unpacker struct {
	Options
	// Packed, when not nil, tells how many bytes of the packed stream were read, for
	// Limits.Ratio.
	Packed func() int64
	Done   Progress
	Taken  int64 // bytes of the last stream

	root   *file.Dir
	here   map[string]bool // what the current archive has put there; true for directories
	ways   map[string]bool // directories on the way to these, of a layer
	layer  bool            // the current archive is a layer over others
	times  []stamp         // of directories, set when nothing is put in them any more
	at     *file.Dir       // the directory last used, at path atPath; nil for none
	atPath string
	stale  bool   // something was replaced that may be on the way to at
	buf    []byte // for content
}

type stamp struct {
	path  string
	mtime int64
}

// New gives an Unpacker for the directory root, which nobody else changes meanwhile.
func New(root *file.Dir) *Unpacker {
	return &Unpacker{Options: Options{Limits: Default()}, root: root}
}

// Report tells what was done so far.
func (u *Unpacker) Report() Report { return u.Done.Report }

// hostile refuses an entry.
func hostile(name, format string, args ...any) error {
	if len(name) > 200 {
		name = name[:200] + "…"
	}
	return fmt.Errorf("archive entry %q: %s: %w", name, fmt.Sprintf(format, args...), ErrHostile)
}

// clean checks the path of an entry and gives it without "./" and a trailing slash;
// "" is the root itself.
func (u *Unpacker) clean(name string) (string, error) {
	switch {
	case name == "":
		return "", hostile(name, "no name")
	case len(name) > u.Limits.Path:
		return "", hostile(name, "a path of %d bytes", len(name))
	case strings.HasPrefix(name, "/"):
		return "", hostile(name, "an absolute path")
	case strings.Contains(name, "\x00"):
		return "", hostile(name, "a zero byte in the path")
	}
	depth := 0
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", hostile(name, "a path that goes up")
		}
		if len(part) > maxName {
			return "", hostile(name, "a name of %d bytes", len(part))
		}
		if part != "" && part != "." {
			depth++
		}
	}
	if depth > u.Limits.Depth {
		return "", hostile(name, "%d directories deep", depth)
	}
	if p := path.Clean(name); p != "." {
		return p, nil
	}
	return "", nil
}

// maxName is NAME_MAX of Linux's file systems, in bytes.
const maxName = 255

// dir opens the directory at path p, making what is missing on the way. Through a
// symbolic link of the same archive nobody goes. One that an earlier layer made may
// lead to a directory inside, since layers do put files into /bin where it is a link
// to usr/bin.
// The directory stays the Unpacker's, and open until the next call.
func (u *Unpacker) dir(p string) (*file.Dir, error) {
	if u.at != nil && u.atPath == p && !u.stale {
		return u.at, nil
	}
	u.close()
	w := walker{u: u, make: true, links: maxLinks, layer: u.layer}
	d, err := w.walk(p)
	u.at, u.atPath, u.stale = d, p, false
	return d, err
}

// forget has the directory last used looked up again.
func (u *Unpacker) forget() { u.stale = true }

func (u *Unpacker) close() {
	if u.at != nil {
		u.at.Close()
		u.at = nil
	}
}

// maxLinks bounds the symbolic links on one path, as the kernel does (MAXSYMLINKS).
const maxLinks = 40

// walker goes down from the root by handles alone.
type walker struct {
	u     *Unpacker
	make  bool
	layer bool
	links int
}

func (w *walker) walk(p string) (*file.Dir, error) {
	stack := []*file.Dir{}
	names := []string{}
	defer func() {
		for _, d := range stack {
			d.Close()
		}
	}()
	top := func() *file.Dir {
		if len(stack) == 0 {
			return w.u.root
		}
		return stack[len(stack)-1]
	}
	todo := strings.Split(p, "/")
	for len(todo) > 0 {
		name := todo[0]
		todo = todo[1:]
		switch name {
		case "", ".":
			continue
		case "..": // of a link's target; above the root is the root
			if len(stack) > 0 {
				stack[len(stack)-1].Close()
				stack, names = stack[:len(stack)-1], names[:len(names)-1]
			}
			continue
		}
		at := strings.Join(append(names, name), "/")
		next, target, err := w.step(top(), name, at)
		if err != nil {
			return nil, err
		}
		if next != nil {
			stack, names = append(stack, next), append(names, name)
			continue
		}
		if strings.HasPrefix(target, "/") {
			for _, d := range stack {
				d.Close()
			}
			stack, names = nil, nil
		}
		todo = append(strings.Split(target, "/"), todo...)
	}
	return top().Again()
}

// own gives a directory to the archive's root that has no entry of its own there.
func (u *Unpacker) own(d *file.Dir) error {
	if u.Base == 0 {
		return nil
	}
	e, err := d.SelfEntry()
	if err != nil {
		return err
	}
	defer e.Close()
	return e.Chown(u.Base, u.Base)
}

// step opens one directory, or gives the target of a link that may be followed.
func (w *walker) step(d *file.Dir, name, at string) (*file.Dir, string, error) {
	st, err := d.Stat(name)
	if isNotExist(err) && w.make {
		if err := d.Mkdir(name, 0o755); err != nil {
			return nil, "", err
		}
		w.u.here[at] = true
		next, err := d.Dir(name)
		if err != nil {
			return nil, "", err
		}
		if err := w.u.own(next); err != nil {
			next.Close()
			return nil, "", err
		}
		return next, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	switch st.Type() {
	case file.TypeDir:
		next, err := d.Dir(name)
		return next, "", err
	case file.TypeLink:
		_, own := w.u.here[at]
		if own || !w.layer {
			return nil, "", hostile(at, "lies on the way to another entry and is a symbolic link")
		}
		if w.links--; w.links < 0 {
			return nil, "", hostile(at, "too many symbolic links")
		}
		target, err := d.Readlink(name)
		return nil, target, err
	}
	return nil, "", hostile(at, "lies on the way to another entry and is no directory")
}
