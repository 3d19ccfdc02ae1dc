// Package making is how a guest comes to be and goes: built, cloned, renamed, deleted, with
// the images that its root lies over. What is killed on the way is put right by the next
// such operation on any guest.
//
//house:allow all that comes and goes has one kind of staging, which one settle puts right
package making

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"vserver/build"
	"vserver/fault"
	"vserver/guest"
	"vserver/host/disk"
	"vserver/host/files"
	"vserver/host/inside"
	"vserver/identity"
	"vserver/kernel/file"
	"vserver/layer"
	"vserver/pool"
	"vserver/quota/sized"
	"vserver/step"
	"vserver/store"
)

// BuildOptions are the ways to build a guest.
type BuildOptions struct {
	// Keep leaves what a build that fails has made, for looking at; the error's hint
	// says where.
	Keep bool
	// Fresh makes a new image though the pool has one made in the same way.
	Fresh bool
	// Progress gets a line for each thing that is done; nil discards them.
	Progress io.Writer
	// RootPassword is a hash by crypt(3) for root; "" locks root's password.
	RootPassword string
	// AuthorizedKeys are ssh keys for root, each a line of an authorized_keys file.
	AuthorizedKeys []string
	// Furnish, when not nil, completes the guest once it is there, as whoever works in one
	// does. It belongs to the build: with a failure or a death of it the guest goes again.
	Furnish func(context.Context) error
}

// builder is one build on its way.
type builder struct {
	dirs    guest.Dirs
	n       guest.Name
	spec    *guest.Spec // gets the numbers and the image
	full    guest.Spec  // with its defaults, once it has the numbers
	src     build.Source
	o       BuildOptions
	say     build.Progress
	fill    func(context.Context) error // makes the files
	release func()                      // of the image
	made    bool                        // an image, in whose place others may have to go
	kept    bool                        // the files are where Keep leaves them
	ordered bool                        // all of it goes to the disk with what is done last
	placed  *placing                    // nil for files that are made here
	bare    *file.Dir                   // the mark of a guest to be furnished, see furnish.go
}

// Build makes guest n: its files by src, and last its spec. A number that spec does not
// have is given to it, and root.lower and root.shared are filled in. Nothing is there
// when Build fails or is killed; what a killed one left is swept by the next Build,
// Delete or Rename of any guest. guest.ErrExists when there is such a guest.
func Build(ctx context.Context, d guest.Dirs, n guest.Name, spec *guest.Spec, src build.Source, o BuildOptions) error {
	b := &builder{dirs: d, n: n, spec: spec, src: src, o: o, say: build.Lines(o.Progress)}
	b.fill = b.files
	defer b.leave()
	err := run(ctx, d, n, "build", b.steps())
	if err == nil && o.Furnish != nil {
		return b.furnish(ctx)
	}
	if err != nil && b.kept {
		err = fault.Hint(err, "look at "+kept(d, n))
	}
	return err
}

// run settles, takes the guest's lock, and runs a table.
func run(ctx context.Context, d guest.Dirs, n guest.Name, op string, steps []step.Step) error {
	if err := settle(d); err != nil {
		return err
	}
	return locked(d, n, func() error { return step.Run(ctx, op, steps) })
}

func (b *builder) steps() []step.Step {
	fill := []step.Step{{Name: "make the files by method " + b.src.Method, Do: b.fill, Undo: b.unuse}}
	if b.placed != nil {
		fill = b.placed.fill(Site{b})
	}
	return slices.Concat([]step.Step{
		{Name: "check that there is no such guest", Do: b.check},
		{Name: "make " + staging(b.dirs, b.n), Do: b.mark, Undo: b.undo},
		{Name: "reserve a number", Do: b.reserve},
	}, fill, []step.Step{
		{Name: "write who the guest is", Do: b.identify},
		{Name: "move the files to " + b.dirs.Guest(b.n), Do: b.place},
		{Name: "write " + b.dirs.Spec(b.n), Do: b.write},
		{Name: "remove " + staging(b.dirs, b.n), Do: b.finish},
	})
}

func (b *builder) check(context.Context) error {
	if found := b.spec.Validate(); len(found) > 0 {
		return found[0]
	}
	if b.placed == nil { // what comes from elsewhere may have been made for more than this host
		if err := inside.Holds(b.spec); err != nil {
			return err
		}
	}
	if b.spec.Root.Kind == guest.RootDir && len(b.src.Shared) > 0 {
		return fault.Hint(fmt.Errorf("method %s: needs root.kind overlay: %w", b.src.Method, guest.ErrInvalid),
			"leave root.kind out, or build with -m debootstrap")
	}
	if b.spec.Root.Path != "" || b.spec.Root.IDMap {
		return fault.Hint(fmt.Errorf("root.path and root.idmap are for files that are there already: %w", guest.ErrInvalid),
			"write "+b.dirs.Spec(b.n)+" by hand; doc/legacy.md tells how")
	}
	makesRoom := "vserver " + string(b.n) + " delete"
	for _, at := range []struct {
		path string
		has  func(string) (bool, error)
		hint string
	}{
		{b.dirs.Spec(b.n), store.Exists, "vserver " + string(b.n) + " info shows it, " + makesRoom + " makes room"},
		{b.dirs.Guest(b.n), file.Exists, makesRoom},
	} {
		there, err := at.has(at.path)
		if err != nil {
			return err
		}
		if there {
			return fault.Hint(fmt.Errorf("%s: %w", at.path, guest.ErrExists), at.hint)
		}
	}
	return b.clash()
}

// clash refuses addresses and the like that another guest has.
func (b *builder) clash() error {
	if store.Sole(b.spec) {
		return nil
	}
	all, err := store.All(b.dirs.Config)
	if err != nil {
		return err
	}
	for _, c := range store.Check(append(all, store.Entry{Name: b.n, Spec: b.spec}), nil) {
		if c.Guest == b.n && !c.Warning {
			return fmt.Errorf("%s: %w", c.Path, c.Err)
		}
	}
	return nil
}

func (b *builder) mark(context.Context) error {
	for _, dir := range []string{b.dirs.Data, filepath.Dir(b.dirs.Guest(b.n)), filepath.Dir(staging(b.dirs, b.n))} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	err := os.Mkdir(staging(b.dirs, b.n), 0o700)
	if err == nil && b.o.Furnish != nil {
		b.bare, err = seizeBare(b.dirs, b.n)
	}
	return err
}

// dir is where the guest's own files are made.
func (b *builder) dir() string { return filepath.Join(staging(b.dirs, b.n), "files") }

// undo takes everything back from names alone. The steps after mark need none of
// their own.
func (b *builder) undo() error {
	err := error(nil)
	if b.o.Keep {
		err = b.keep()
	}
	return errors.Join(err, store.Remove(b.dirs.Spec(b.n)), clear(b.dirs, b.n))
}

// keep moves what was made to where nobody sweeps.
func (b *builder) keep() error {
	kept := kept(b.dirs, b.n)
	if err := os.MkdirAll(filepath.Dir(kept), 0o700); err != nil {
		return err
	}
	if err := remove(filepath.Dir(kept), b.n); err != nil {
		return err
	}
	for _, dir := range []string{b.dir(), b.dirs.Guest(b.n)} {
		if there, _ := file.Exists(dir); there {
			b.kept = true
			return os.Rename(dir, kept)
		}
	}
	return nil
}

func (b *builder) reserve(context.Context) error {
	if err := store.Reserve(b.dirs, b.n, b.spec); err != nil {
		return files.HintFull(err, b.dirs.Data)
	}
	b.full = b.spec.WithDefaults(b.n)
	// The number is that by which the disk counts what is in the directory.
	return files.HintFull(disk.Make(b.dir(), &b.full), b.dirs.Data)
}

// files makes the guest's own directories and what is beneath them.
func (b *builder) files(ctx context.Context) error {
	if b.full.Root.Kind == guest.RootDir {
		return files.HintFull(b.plain(ctx), b.dirs.Data)
	}
	image, err := b.image(ctx)
	if err != nil {
		return files.HintFull(err, b.dirs.Data)
	}
	b.spec.Root.Lower = append([]string{image}, b.spec.Root.Lower...)
	b.spec.Root.Shared = b.src.Shared
	b.full = b.spec.WithDefaults(b.n)
	return files.MakeOwn(b.dir(), b.full.FirstID(), b.src.Shared, b.src.Hidden)
}

// plain fills a plain directory, and gives it the guest's ids.
func (b *builder) plain(ctx context.Context) error {
	tree := filepath.Join(b.dir(), "root")
	if err := files.MakeDir(tree, 0o755, 0); err != nil {
		return err
	}
	if err := b.make(ctx, tree); err != nil {
		return err
	}
	b.adopt(tree, programOf(b.src))
	b.full = b.spec.WithDefaults(b.n)
	d, err := file.OpenDir(tree)
	if err != nil {
		return err
	}
	defer d.Close()
	b.say.Say("give the files to ids from %d", b.full.FirstID())
	return layer.Shift{To: b.full.FirstID()}.Run(ctx, d)
}

// make fills dir with files of ids from 0, takes away what would make two guests one (they
// get their own) unless they are one particular system's, and masks what no guest has a
// use for: in the tree of an image once for all guests upon it.
func (b *builder) make(ctx context.Context, dir string) error {
	if b.src.Image != "" {
		return b.copyImage(ctx, dir)
	}
	if err := b.within(ctx, dir); err != nil {
		return err
	}
	r, err := layer.Open(dir, nil, 0)
	if err != nil {
		return err
	}
	defer r.Close()
	if !b.src.Moves {
		err = identity.Strip(r)
	}
	return errors.Join(err, identity.Masks(r))
}

// image gives the name of the image with the guest's files, which is made unless the
// pool has it, and protects it until the spec is written.
func (b *builder) image(ctx context.Context) (string, error) {
	name, err := b.src.Name(ctx)
	if err != nil {
		return "", err
	}
	meta, err := MetaOf(ctx, b.src)
	if err != nil {
		return "", err
	}
	p := pool.Open(b.dirs.Pool())
	if b.o.Keep {
		p = p.Keeping()
	}
	if name == "" {
		meta.Guest, name = string(b.n), string(b.n)
	}
	free := name
	for i := 2; meta.Guest != "" || b.o.Fresh; i++ {
		if _, err := p.Tree(free); errors.Is(err, pool.ErrNoImage) {
			break
		}
		free = fmt.Sprintf("%s-%d", name, i)
	}
	name = free
	switch full, err := p.Resolve(name); {
	case err == nil:
		name = full // the spec names a version, which stays what it is
	case b.src.Image != "":
		return "", hintImages(err)
	}
	for {
		b.release, err = p.Use(name)
		if err == nil {
			b.say.Say("image %s", name)
			tree, err := p.Tree(name)
			b.adopt(tree, p.Meta(name).Program)
			return name, err
		}
		if !errors.Is(err, pool.ErrNoImage) && !errors.Is(err, file.ErrLocked) {
			return "", err
		}
		b.say.Say("make image %s from %s", name, b.src.Text)
		err = p.Add(ctx, name, meta, func(ctx context.Context, dir string) error {
			return FillImage(ctx, b.dirs, b.src, dir, meta, b.spec.Limits, b.say)
		})
		b.made = b.made || err == nil
		if err != nil && !errors.Is(err, guest.ErrExists) {
			if b.o.Keep {
				err = fault.Hint(err, "look at "+p.Kept(name))
			}
			return "", err
		}
	}
}

func (b *builder) unuse() error {
	if b.release != nil {
		b.release()
		b.release = nil
	}
	return nil
}

func (b *builder) identify(context.Context) error {
	if b.placed != nil && !b.placed.fresh {
		return files.Mark(b.dir())
	}
	id, err := files.Identity(b.dirs, &b.full)
	if err != nil {
		return err
	}
	if id.Files, err = Presets(b.dirs); err != nil {
		return err
	}
	id.RootPassword, id.AuthorizedKeys, id.KeepAccounts = b.o.RootPassword, b.o.AuthorizedKeys, b.src.Moves
	r, err := files.Root(b.dirs, &b.full, b.dir())
	if err != nil {
		return err
	}
	defer r.Close()
	return files.HintFull(id.Apply(r), b.dirs.Data)
}

// Presets are the files of /etc that the host has for new guests, as util-vserver had
// them.
func Presets(d guest.Dirs) (map[string]string, error) {
	out := map[string]string{}
	names, err := store.PresetFiles(d)
	for _, name := range names {
		if !slices.Contains([]string{"hosts", "nsswitch.conf", "krb5.conf", "krb.conf", "krb.realms", "ldap.conf", "localtime"}, name) {
			continue
		}
		text, err := store.Preset(d, "files/"+name)
		if err != nil {
			return nil, err
		}
		if text != "" {
			out[name] = text
		}
	}
	return out, err
}

func (b *builder) place(context.Context) error {
	return os.Rename(b.dir(), b.dirs.Guest(b.n))
}

// write puts the spec in place, which makes the guest one. Its files are on the disk
// before: after a power cut there is a whole guest or none.
func (b *builder) write(context.Context) error {
	d, err := file.OpenDir(b.dirs.Guest(b.n))
	if err != nil {
		return err
	}
	defer d.Close()
	if err := errors.Join(sized.Land(b.dirs.Guest(b.n)), b.settle(d)); err != nil {
		return err
	}
	write := store.Write
	if b.ordered {
		write = store.WriteAhead
	}
	return files.HintFull(write(b.dirs.Spec(b.n), b.spec), b.dirs.Config)
}

// settle has the files on the disk, or about to be there with the spec: the one fsync of its
// directory, when nothing is left to do, takes all with it where they are on one file system
// that has order. To remove the mark behind that fsync takes as long as half of one.
func (b *builder) settle(d *file.Dir) error {
	if b.placed != nil || b.full.Root.Kind == guest.RootDir || !file.Ordered(d) {
		return file.SyncAll(d)
	}
	own, err := os.Stat(b.dirs.Guest(b.n))
	if err != nil {
		return err
	}
	if conf, err := os.Stat(b.dirs.Config); err != nil || !file.SameDevice(own, conf) {
		return file.SyncAll(d) // or nobody has made the other one yet
	}
	b.ordered = true
	return file.Land(d)
}

func (b *builder) finish(context.Context) error {
	err := b.unuse()
	if b.o.Furnish == nil {
		err = errors.Join(err, remove(filepath.Dir(staging(b.dirs, b.n)), b.n))
	}
	if b.made {
		err = errors.Join(err, prune(b.dirs))
	}
	if b.ordered {
		err = errors.Join(err, store.Land(b.dirs.Spec(b.n)))
	}
	return err
}
