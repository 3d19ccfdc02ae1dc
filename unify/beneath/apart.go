package beneath

import (
	"context"
	"strings"

	"vserver/kernel/file"
	"vserver/layer"
)

// Two file systems have no order of what reaches the disk first. So what hides is written out
// before what it hides is taken away, and copies are before their originals go.

// settled has the private layer on the disk, if it is on a file system of its own.
func (l *Layer) settled() error {
	if !l.apart {
		return nil
	}
	return file.SyncAll(l.up)
}

// away takes away what there are copies of beneath. Directories that hid what is lower come
// first: their copies beneath do that, and would be hidden themselves.
func (m *mover) away(ctx context.Context) error {
	if !m.apart {
		return nil
	}
	if err := file.SyncAll(m.down); err != nil {
		return err
	}
	for _, at := range m.reveal {
		if err := m.in(at+"/.", func(d *file.Dir, self *file.Entry, _ string) error { return layer.Reveal(self) }); err != nil {
			return err
		}
	}
	for _, at := range m.copied {
		err := ctx.Err()
		if err == nil {
			err = m.in(at, func(d *file.Dir, _ *file.Entry, name string) error { return d.Unlink(name) })
		}
		if err != nil {
			return err
		}
	}
	return m.settled()
}

// in calls do with the directory of the private layer in which a path is, which keeps its times.
func (m *mover) in(at string, do func(d *file.Dir, self *file.Entry, name string) error) error {
	d, name, err := m.up.Parent(strings.TrimPrefix(at, "/"))
	if err != nil {
		return err
	}
	defer d.Close()
	return file.KeepTimes(d, func(self *file.Entry) error { return do(d, self, name) })
}
