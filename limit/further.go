package limit

import (
	"errors"

	"vserver/guest"
	"vserver/kernel/cgroup"
)

// Further gives the processes whose group is at path the limits that l asks for, beside
// those that they have. When one of them cannot be had, all are as they were.
func Further(cg cgroup.Host, path string, l guest.Limits) error {
	g, err := cg.Open(path)
	if err != nil {
		return err
	}
	defer g.Close()
	all, err := settings(l)
	if err != nil {
		return err
	}
	c := &change{cg: cg, path: path, g: g}
	defer c.close()
	if err := c.all(lists{set: all.set}); err != nil {
		return errors.Join(err, c.back())
	}
	return nil
}
