package layer

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"syscall"

	"vserver/kernel/file"
)

// Merge makes one layer of several, topmost first, in the empty directory to, whose ids
// begin at base: over what lies beneath all of them it shows what they show. Files are
// linked, so that they take no space and memory of their own, where their ids stay and the
// file system can; else they are copied. Nothing of the layers is changed.
func Merge(ctx context.Context, trees []Tree, to *file.Dir, base uint32) error {
	m := &merging{base}
	var at []part
	defer func() { closeParts(at) }()
	for _, t := range trees {
		d, err := file.OpenDir(t.Dir)
		if err != nil {
			return err
		}
		at = append(at, part{d, &Copy{Shift: Shift{t.Base, base}, Devices: true, root: to, links: map[inode]string{}}})
	}
	return m.dir(ctx, at, to, "", 0)
}

// merging is one Merge.
type merging struct {
	to uint32 // where ids begin
}

// part is a directory of one of the layers.
type part struct {
	*file.Dir
	copy *Copy
}

func closeParts(parts []part) {
	for _, p := range parts {
		p.Close()
	}
}

// dir merges directories, which are at least one, into one.
func (m *merging) dir(ctx context.Context, parts []part, to *file.Dir, at string, depth int) error {
	done := map[string]bool{}
	for i, p := range parts {
		err := Each(ctx, "merge", p.Dir, depth, func(name string) error {
			if done[name] {
				return nil
			}
			done[name] = true
			return m.entry(ctx, parts[i:], to, name, path.Join(at, name), depth)
		})
		if err != nil {
			return err
		}
	}
	top := parts[0]
	return top.copy.self(top.Dir, to)
}

// entry merges what the directories have by a name, of which the first has something.
func (m *merging) entry(ctx context.Context, parts []part, to *file.Dir, name, at string, depth int) error {
	var dirs []part
	defer func() { closeParts(dirs) }()
	hides := false // what lies beneath all the layers
	for _, p := range parts {
		st, err := p.Stat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if st.Type() != file.TypeDir {
			if len(dirs) == 0 {
				return m.leaf(ctx, p, to, name, at, depth)
			}
			hides = true
			break
		}
		sub, err := p.Dir.Dir(name)
		if err != nil {
			return err
		}
		dirs = append(dirs, part{sub, p.copy})
		e, err := sub.SelfEntry()
		if err != nil {
			return err
		}
		hides, err = Opaque(e)
		e.Close()
		if err != nil {
			return err
		}
		if hides {
			break
		}
	}
	if err := to.Mkdir(name, 0o700); err != nil {
		return err
	}
	sub, err := to.Dir(name)
	if err != nil {
		return err
	}
	defer sub.Close()
	if err := m.dir(ctx, dirs, sub, at, depth+1); err != nil || !hides {
		return err
	}
	return Hide(to, name)
}

// leaf takes over what is no directory, whiteouts too.
func (m *merging) leaf(ctx context.Context, p part, to *file.Dir, name, at string, depth int) error {
	if p.copy.Shift.From == m.to {
		err := p.Link(name, to, name)
		if !errors.Is(err, syscall.EXDEV) && !errors.Is(err, syscall.EMLINK) && !errors.Is(err, syscall.EPERM) {
			return err
		}
	}
	return p.copy.entry(ctx, p.Dir, to, name, at, depth)
}
