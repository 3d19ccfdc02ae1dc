package making

import (
	"context"

	"vserver/build"
	"vserver/guest"
	"vserver/step"
	"vserver/store"
)

// Site is a guest on its way, as those see it who bring its files.
type Site struct{ b *builder }

// Dir is the directory for the guest's own files, once it has its number.
func (s Site) Dir() string { return s.b.dir() }

// Spec is the guest's spec with its number and its defaults.
func (s Site) Spec() *guest.Spec { return &s.b.full }

// Lie says which images the guest lies over. release lets go of what protects them, and is
// called when its spec does, or it is not to be.
func (s Site) Lie(lower []string, release func()) {
	s.b.spec.Root.Lower = lower
	s.b.full = s.b.spec.WithDefaults(s.b.n)
	before := s.b.release
	s.b.release = func() {
		release()
		if before != nil {
			before()
		}
	}
}

// Leave is the undoing of the last step that calls Lie.
func (s Site) Leave() error { return s.b.unuse() }

// placing is how a guest's files are brought.
type placing struct {
	fill  func(Site) []step.Step
	fresh bool
}

// Place makes guest n of files that its maker brings, by the steps that fill gives; op is
// what the table is called. What Build says of failing and of being killed holds for it,
// and images of pool.Meta.Guest n go as well. Without fresh the guest keeps who it is:
// machine id, ssh host keys, passwords; its names are written by its first start. A number
// that is not free becomes another one when anyXID.
func Place(ctx context.Context, d guest.Dirs, n guest.Name, spec *guest.Spec, op string, anyXID, fresh bool, o BuildOptions, fill func(Site) []step.Step) error {
	if err := settle(d); err != nil {
		return err
	}
	if anyXID {
		if err := yield(d, n, spec); err != nil {
			return err
		}
	}
	b := &builder{
		dirs: d, n: n, spec: spec, o: o, say: build.Lines(o.Progress),
		src: build.Source{Method: op, Moves: true}, placed: &placing{fill, fresh},
	}
	return locked(d, n, func() error { return step.Run(ctx, op, b.steps()) })
}

// yield takes the number out of a spec if another guest or an account of the host's has it.
func yield(d guest.Dirs, n guest.Name, spec *guest.Spec) error {
	spec.IDBase = 0
	all, err := store.All(d.Config)
	if err != nil {
		return err
	}
	taken, err := store.Accounts(d.Etc)
	if err != nil {
		return err
	}
	records, err := store.Records(d)
	if err != nil {
		return err
	}
	for _, c := range store.Check(append(all, store.Entry{Name: n, Spec: spec}), taken) {
		if c.Guest == n && (c.Path == "xid" || c.Path == "idbase") {
			spec.XID = 0
		}
	}
	for _, r := range records {
		if r.XID == spec.XID && r.Name != n {
			spec.XID = 0
		}
	}
	return nil
}
