package unification

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"vserver/build"
	"vserver/fault"
	"vserver/guest"
	"vserver/host/files"
	"vserver/host/life"
	"vserver/host/snapshot"
	"vserver/host/state"
	"vserver/kernel/file"
	"vserver/quota/sized"
	"vserver/stack"
	"vserver/store"
	"vserver/unify"
	"vserver/unify/beneath"
	"vserver/unify/exclude"
)

// The ways in which a guest's files are unified.
const (
	Linked    = "linked"    // they lie beneath its own layer, hard links: once on disk and in memory
	Reflinked = "reflinked" // they have their blocks in common: once on the disk
	Deferred  = "deferred"  // the guest runs upon what has no reflinks: when it is stopped
)

// Hashified is what was done with a guest's files, or would be.
type Hashified struct {
	Guest  guest.Name    `json:"guest"`
	Way    string        `json:"way"`
	Moved  beneath.Moved `json:"moved"`
	Report unify.Report  `json:"report"`
}

// GuestOptions are the ways to unify a guest's files.
type GuestOptions struct {
	Options
	// Exclude, when not nil, is an exclude list in the place of the guest's.
	Exclude io.Reader
	// Each, when not nil, is told what becomes of each file.
	Each unify.Each
}

// work is one guest being unified; its lock is held.
type work struct {
	dirs guest.Dirs
	name guest.Name
	spec guest.Spec
	o    GuestOptions
	say  build.Progress
	out  Hashified
	// at is where the trees of its own files are: its directory or, until release is called,
	// the root of its image.
	at      string
	release func() error
}

// Guest unifies the files of a guest. One that is stopped has those that are not excluded
// moved beneath its private layer, where they become one with equal ones of other guests and
// images. One that runs, or is in a plain directory or on a subvolume of its own, has them
// reflinked, and where there are no reflinks that is done when it is stopped.
func Guest(ctx context.Context, d guest.Dirs, n guest.Name, o GuestOptions) (h Hashified, err error) {
	err = state.Locked(d, n, state.Patience, func() error {
		w, running, err := begun(d, n, o)
		if err != nil {
			return err
		}
		defer w.release()
		s, err := unify.Open(d.Pool())
		if err != nil {
			return err
		}
		defer s.Close()
		err = w.run(ctx, s, running)
		h = w.out
		return files.HintFull(err, d.Data)
	})
	return h, err
}

// begun finds out about a guest, and takes down what is left of one that ended.
func begun(d guest.Dirs, n guest.Name, o GuestOptions) (w *work, running bool, err error) {
	if there, err := store.Exists(d.Spec(n)); err != nil || !there {
		return nil, false, errors.Join(err, state.Absent(d, n))
	}
	spec, err := state.Load(d, n)
	if err != nil {
		return nil, false, err
	}
	if running, err = state.Runs(d, n); err != nil {
		return nil, false, err
	}
	if !running {
		if err := life.Halted(d, n); err != nil {
			return nil, false, err
		}
	}
	w = &work{dirs: d, name: n, spec: spec.WithDefaults(n), o: o, say: build.Lines(o.Progress), out: Hashified{Guest: n}}
	w.at, w.release, err = sized.At(d.Guest(n))
	return w, running, err
}

// imaged tells whether the guest's own files are in an image or on a device, and so on a file
// system of their own.
func (w *work) imaged() bool { return w.at != w.dirs.Guest(w.name) }

// open opens the guest's private layer and the one beneath it.
func (w *work) open(l stack.Layer) (*beneath.Layer, error) {
	return beneath.Open(w.dirs.Guest(w.name), w.at, w.spec.FirstID(), filepath.Join(l.Dir(w.dirs), "upper"))
}

func (w *work) run(ctx context.Context, s *unify.Store, running bool) error {
	wanted, err := w.exclusions()
	if err != nil {
		return err
	}
	if !running && w.spec.Root.Kind == guest.RootOverlay {
		linkable, err := w.linkable()
		if err != nil {
			return err
		}
		if linkable {
			return w.move(ctx, s, wanted)
		}
	}
	return w.reflink(ctx, s, wanted, running)
}

// tree is the guest's own files.
func (w *work) tree() string {
	if w.spec.Root.Kind == guest.RootDir {
		return w.spec.Root.Tree(w.dirs.Guest(w.name))
	}
	return filepath.Join(w.at, "upper")
}

// linkable tells whether files can be moved from the guest's directory to the layers, and
// be linked with the pool's: they are on one file system, and on btrfs one subvolume.
func (w *work) linkable() (bool, error) {
	own, err := os.Stat(w.dirs.Guest(w.name))
	if err != nil {
		return false, err
	}
	pool, err := os.Stat(filepath.Join(w.dirs.Pool(), "objects"))
	if err != nil {
		return false, err
	}
	return file.SameDevice(own, pool), nil
}

// exclusions gives the guest's exclude list, what belongs to its administrator in front.
func (w *work) exclusions() (*exclude.List, error) {
	conf, err := w.conffiles()
	if err != nil {
		return nil, err
	}
	if w.o.Exclude != nil {
		return exclude.Parse(strings.NewReader(conf), w.o.Exclude)
	}
	const list = "apps/vunify/exclude" // of util-vserver
	for _, at := range []string{string(w.name), ".defaults"} {
		f, err := os.Open(filepath.Join(w.dirs.Config, at, list))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			continue
		}
		if err != nil {
			return nil, err
		}
		defer f.Close()
		x, err := exclude.Parse(strings.NewReader(conf), f)
		if err != nil {
			err = fmt.Errorf("%s: %w", f.Name(), err)
		}
		return x, err
	}
	return exclude.Parse(strings.NewReader(conf), strings.NewReader(exclude.Usual))
}

// conffiles is what the guest's package manager says belongs to its administrator.
func (w *work) conffiles() (string, error) {
	r, err := files.Root(w.dirs, &w.spec, w.dirs.Guest(w.name))
	if err != nil {
		return "", err
	}
	defer r.Close()
	const longest = 64 << 20 // bytes of a list of packages; one of 1000 has 2 MiB
	text, err := r.Read("var/lib/dpkg/status", longest)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", err
	}
	return exclude.Conffiles(strings.NewReader(string(text)))
}

// move moves files beneath and links them with equal ones.
func (w *work) move(ctx context.Context, s *unify.Store, x *exclude.List) error {
	w.out.Way = Linked
	if w.o.DryRun {
		return w.survey(ctx, s, x)
	}
	l, err := w.layer(ctx)
	if err != nil {
		return err
	}
	b, err := w.open(l)
	if err != nil {
		return err
	}
	w.out.Moved, err = b.Move(ctx, x.Wanted, w.o.Each)
	if err = errors.Join(err, b.Close()); err != nil {
		return err
	}
	if err := w.one(ctx, s, l); err != nil {
		return err
	}
	if err := w.frozen(ctx, s, l); err != nil {
		return err
	}
	return w.undue()
}

// layer gives the layer beneath the guest's own that files are moved into: the one that it
// has, unless that is another's too.
func (w *work) layer(ctx context.Context) (stack.Layer, error) {
	l, is, err := stack.Unified(w.dirs, w.name)
	if err != nil {
		return l, err
	}
	if is {
		if is, err = stack.Alone(w.dirs, w.name, l); err != nil || is {
			return l, err
		}
	}
	if err := snapshot.Room(ctx, w.dirs, w.name, &w.spec); err != nil {
		return l, err
	}
	return stack.Lay(w.dirs, w.name, files.Own(w.spec.Root))
}

// survey tells what would come of it.
func (w *work) survey(ctx context.Context, s *unify.Store, x *exclude.List) error {
	at, err := file.OpenDir(w.tree())
	if err != nil {
		return err
	}
	defer at.Close()
	w.out.Report, err = s.Survey(ctx, unify.Private{Dir: at, Base: w.spec.TreeID(), Wanted: x.Wanted, Each: w.o.Each}, w.tell())
	if err == nil && w.out.Way == Linked {
		err = w.surveyFrozen(ctx, s)
	}
	return err
}

// reflink gives files the blocks of equal ones, or leaves it for the guest's stop.
func (w *work) reflink(ctx context.Context, s *unify.Store, x *exclude.List, running bool) error {
	w.out.Way = Reflinked
	can, err := unify.Reflinks(w.dirs.Pool(), filepath.Dir(w.tree()))
	if err != nil {
		return err
	}
	switch {
	case !can && w.spec.Root.Kind == guest.RootDir:
		return fault.Hint(fmt.Errorf("root.kind dir: its file system has no reflinks: %w", guest.ErrUnsupported),
			"btrfs and XFS have them; a guest upon an image, as vserver build makes it without --root dir, needs none")
	case !can:
		w.out.Way = Deferred
	}
	if w.o.DryRun {
		return w.survey(ctx, s, x)
	}
	if running && w.spec.Root.Kind == guest.RootOverlay {
		if err := os.WriteFile(due(w.dirs, w.name), nil, 0o600); err != nil {
			return err
		}
	}
	if !can {
		return nil
	}
	at, err := file.OpenDir(w.tree())
	if err != nil {
		return err
	}
	defer at.Close()
	p := unify.Private{Dir: at, Base: w.spec.TreeID(), Wanted: x.Wanted, Seen: w.seen(), Each: w.o.Each}
	r, seen, err := s.Dedupe(ctx, p, w.tell())
	w.out.Report = r
	return errors.Join(err, w.remember(seen))
}

// tell gives what tells how far unifying is.
func (w *work) tell() func(unify.Report) {
	next := int64(step)
	return func(r unify.Report) {
		if r.Read >= next {
			w.say.Say("read %d MiB, %d MiB are there already", r.Read>>20, r.Saved>>20)
			next = r.Read + step
		}
	}
}

// memory is the file with what a guest's files were like when they were reflinked last, a
// line each. It may be lost, and is not believed of a file that has changed.
func (w *work) memory() string { return filepath.Join(w.dirs.Guest(w.name), ".reflinked") }

func (w *work) seen() map[unify.Seen]bool {
	f, err := os.Open(w.memory())
	if err != nil {
		return nil
	}
	defer f.Close()
	out := map[unify.Seen]bool{}
	for in := bufio.NewScanner(f); in.Scan(); {
		var s unify.Seen
		if _, err := fmt.Sscan(in.Text(), &s.Ino, &s.Ctime, &s.Size); err == nil {
			out[s] = true
		}
	}
	return out
}

func (w *work) remember(seen map[unify.Seen]bool) error {
	var b strings.Builder
	for s := range seen {
		fmt.Fprintln(&b, s.Ino, s.Ctime, s.Size)
	}
	err := os.WriteFile(w.memory(), []byte(b.String()), 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a tree of Linux-VServer's, which has nothing there
	}
	return err
}

// due is the mark of a guest whose files are to be unified when it is stopped.
func due(d guest.Dirs, n guest.Name) string { return filepath.Join(d.Guest(n), ".unify") }

func (w *work) undue() error { return file.Forget(due(w.dirs, w.name)) }

// Stopped unifies the files of a guest that was stopped, if that was put off. When
// something else uses them by now, such as another start, it stays put off.
func Stopped(ctx context.Context, d guest.Dirs, n guest.Name) error {
	if there, err := file.Exists(due(d, n)); err != nil || !there {
		return err
	}
	if _, err := Guest(ctx, d, n, GuestOptions{}); !errors.Is(err, guest.ErrBusy) {
		return err
	}
	return nil
}
