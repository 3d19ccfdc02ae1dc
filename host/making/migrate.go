package making

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"vserver/build"
	"vserver/fault"
	"vserver/guest"
	"vserver/host/files"
	"vserver/host/life"
	"vserver/host/state"
	"vserver/kernel/file"
	"vserver/layer"
	"vserver/step"
	"vserver/store"
	"vserver/store/legacy"
	"vserver/store/settings"
)

// MigrateOptions are the ways to make a spec of a directory of Linux-VServer's.
type MigrateOptions struct {
	// DryRun only tells what would be done.
	DryRun bool
	// Chown gives the guest's files its own ids, so that its mount need not shift them. It
	// can be interrupted, and goes on when it is called again.
	Chown bool
	// Link leaves a link at the directory's place to where it is kept.
	Link bool
	// Progress gets a line for each thing that is done; nil discards them.
	Progress io.Writer
}

// Migration is what becomes of such a guest.
type Migration struct {
	Spec     string // its path
	Text     string // of the spec
	Aside    string // where the directory is kept; "" when there is none (any more)
	Findings []legacy.Finding
	Steps    []string // that are taken
}

// migration is one on its way.
type migration struct {
	dirs guest.Dirs
	n    guest.Name
	o    MigrateOptions
	say  build.Progress
	spec guest.Spec // without defaults, with the numbers
	text []byte
	aged bool // there is a directory to be kept aside
}

// directory is where it was.
func directory(d guest.Dirs, n guest.Name) string { return filepath.Join(d.Config, string(n)) }

// Migrate writes the spec that the directory of guest n says and moves the directory
// aside; then, with Chown, gives the files to the guest's ids. A migration that was killed
// is finished by the next. A guest that has a spec, and files that are shown with other
// ids, can be given them by Chown as well.
func Migrate(ctx context.Context, d guest.Dirs, n guest.Name, o MigrateOptions) (Migration, error) {
	if there, err := store.Exists(d.Spec(n)); err != nil || !there {
		return Migration{}, errors.Join(err, guest.ErrNotFound)
	}
	var out Migration
	err := state.Locked(d, n, state.Patience, func() (err error) {
		m := &migration{dirs: d, n: n, o: o, say: build.Lines(o.Progress)}
		if out, err = m.plan(); err != nil {
			return err
		}
		steps := m.steps()
		for _, s := range steps {
			out.Steps = append(out.Steps, s.Name)
		}
		if o.DryRun {
			return nil
		}
		return step.Run(ctx, "migrate", steps)
	})
	return out, err
}

// plan decides what the spec is.
func (m *migration) plan() (out Migration, err error) {
	path := m.dirs.Spec(m.n)
	out.Spec = path
	old, err := store.Explain(path)
	if err == nil {
		out.Findings, m.aged = old.Findings, true
	} else if !errors.Is(err, guest.ErrNotFound) {
		return out, err
	}
	spec, err := store.Load(path)
	if err != nil {
		return out, err
	}
	m.spec = *spec
	switch {
	case m.aged && store.Old(path):
		if err := m.convert(&out); err != nil {
			return out, err
		}
	case m.aged: // the spec was written, and then something came between
	case m.o.Link && m.kept():
	case !m.o.Chown || spec.Root.Kind != guest.RootDir:
		return out, fault.Hint(fmt.Errorf("has a spec already, and no directory of Linux-VServer's: %w", guest.ErrExists),
			"vserver "+string(m.n)+" config")
	}
	if m.aged {
		out.Aside = store.Migrated(m.dirs, m.n)
	}
	if m.o.Chown {
		m.spec.Root.IDMap = false
	}
	if out.Text = string(m.text); out.Text == "" {
		text, err := store.Read(path)
		out.Text = string(text)
		return out, err
	}
	return out, nil
}

// convert makes the spec of the directory: with numbers, and with the paths that its
// scripts have when it is aside.
func (m *migration) convert(out *Migration) error {
	s := &m.spec
	if err := store.Numbers(m.dirs, m.n, s); err != nil {
		return err
	}
	if m.o.DryRun {
		if s.XID == 0 {
			next, err := store.NextXID(m.dirs)
			if err != nil {
				return err
			}
			s.XID = next
		}
	} else if err := store.Reserve(m.dirs, m.n, s); err != nil {
		return err
	}
	was, now := directory(m.dirs, m.n)+"/", store.Migrated(m.dirs, m.n)+"/"
	for _, h := range s.Hooks.Points() {
		for i, p := range h.Programs {
			if rest, ok := strings.CutPrefix(p, was); ok {
				h.Programs[i] = now + rest
			}
		}
	}
	if rest, ok := strings.CutPrefix(s.Root.Path, was); ok {
		s.Root.Path = now + rest
	}
	m.text = settings.Render(m.n, s)
	if _, err := settings.Parse(m.dirs.Spec(m.n), m.text); err != nil {
		return err
	}
	return nil
}

func (m *migration) steps() (list []step.Step) {
	path := m.dirs.Spec(m.n)
	list = append(list, step.Step{Name: "check that the guest does not run", Do: func(context.Context) error {
		return life.Halted(m.dirs, m.n)
	}})
	if m.text != nil {
		list = append(list, step.Step{Name: "write " + path, Do: func(context.Context) error {
			m.say.Say("write %s", path)
			return files.HintFull(store.WriteText(path, m.text), m.dirs.Config)
		}})
	}
	if m.aged {
		list = append(list, step.Step{Name: "move " + directory(m.dirs, m.n) + " to " + store.Migrated(m.dirs, m.n), Do: m.setAside})
	}
	if m.o.Link {
		list = append(list, step.Step{Name: "link " + directory(m.dirs, m.n) + " to it", Do: func(context.Context) error { return store.Keep(m.dirs, m.n) }})
	}
	if m.o.Chown && m.tree() != "" {
		list = append(list,
			step.Step{Name: fmt.Sprintf("give the files of %s ids from %d", m.tree(), m.base()), Do: m.chown},
			step.Step{Name: "write root.idmap: false", Do: m.unmap})
	}
	return list
}

func (m *migration) setAside(context.Context) error {
	if err := os.MkdirAll(filepath.Dir(store.Migrated(m.dirs, m.n)), 0o755); err != nil {
		return err
	}
	m.say.Say("keep %s", store.Migrated(m.dirs, m.n))
	err := os.Rename(directory(m.dirs, m.n), store.Migrated(m.dirs, m.n))
	if errors.Is(err, fs.ErrExist) {
		err = fault.Hint(err, "mv "+store.Migrated(m.dirs, m.n)+" "+store.Migrated(m.dirs, m.n)+".old")
	}
	return err
}

// kept tells whether there is a directory aside.
func (m *migration) kept() bool {
	there, err := file.Exists(store.Migrated(m.dirs, m.n))
	return err == nil && there
}

// tree is the directory of the guest's files, "" for a guest over shared trees.
func (m *migration) tree() string {
	if m.spec.Root.Kind != guest.RootDir {
		return ""
	}
	return m.spec.Root.Tree(m.dirs.Guest(m.n))
}

// base is the first of the guest's ids.
func (m *migration) base() uint32 {
	full := m.spec.WithDefaults(m.n)
	return full.FirstID()
}

// chown gives the files to the guest's ids. Those that have them are passed over, so it may
// be done again; no link is followed and no mount entered.
func (m *migration) chown(ctx context.Context) error {
	m.say.Say("give the files of %s ids from %d", m.tree(), m.base())
	mark := files.Chowning(m.dirs, m.n)
	if err := os.MkdirAll(filepath.Dir(mark), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		return err
	}
	d, err := file.OpenDir(m.tree())
	if err != nil {
		return err
	}
	defer d.Close()
	err = layer.Shift{From: 0, To: m.base()}.Run(ctx, d)
	if err != nil {
		err = fault.Hint(err, "`vserver "+string(m.n)+" migrate --chown` goes on from there")
	}
	return err
}

// unmap says that the files have the guest's ids.
func (m *migration) unmap(context.Context) error {
	path := m.dirs.Spec(m.n)
	text, err := store.Read(path)
	if err != nil {
		return err
	}
	if text, _, err = settings.Apply(path, text, []string{"root.idmap="}); err != nil {
		return err
	}
	if err := store.WriteText(path, text); err != nil {
		return err
	}
	return os.Remove(files.Chowning(m.dirs, m.n))
}
