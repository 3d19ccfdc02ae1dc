// Package reach is how the host gets at the files of guests: it copies them in and out, and
// mounts the root of one that does not run.
//
// A path of a guest's is what the guest's own root would find there, with the guest's root
// as its root: the kernel resolves it (openat2(2), RESOLVE_IN_ROOT), so that no link and no
// renaming leads out of it. Below, handles are gone through, name by name, and no link is
// followed. What is made in a guest is made with its ids and counts as its own, and what
// the guest's root could not read or write is left alone, though we could.
//
//	a guest that runs     by the mounts that it has, volumes included; the copying ends
//	                      when the guest does, and nobody changes its files meanwhile
//	                      that thinks it stopped (state.Visit)
//	one that does not     by mounts of our own, which nobody sees and which are gone with
//	                      us; it is locked meanwhile
//
// A file is written without a name and gets its own when it is whole.
package reach

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"vserver/fault"
	"vserver/guest"
	"vserver/host/account"
	"vserver/host/files"
	"vserver/kernel/cred"
	"vserver/kernel/file"
	"vserver/layer"
)

// Place is something to copy, or where to.
type Place struct {
	Guest guest.Name // "" is the host
	Path  string     // from the root
	In    io.Reader  // in its stead: what is read there
	Out   io.Writer  // in its stead: where it is written to
}

// String names the place as a user does.
func (p Place) String() string {
	switch {
	case p.In != nil || p.Out != nil:
		return "-"
	case p.Guest != "":
		return string(p.Guest) + ":" + p.Path
	}
	return p.Path
}

// Options are the ways to copy.
type Options struct {
	Recursive bool    // directories with all that is in them; links are copied as links
	Archive   bool    // that, with owners, bits, times, attributes and hard links
	Mode      *uint32 // permission bits of the files, in place of their own
	Owner     string  // user[:group] in the guest that is copied to; "" is its root, with Archive that of the file
	// Tell, when not nil, is told of all that is copied: of what, and how many bytes more.
	Tell func(path string, bytes int64)
	// Omit, when not nil, is told of what is left out and why.
	Omit func(path, why string)
}

// grace is how long an interrupted copying has to clean up. After that it is left where
// it is: a guest may have mounted what never answers.
const grace = 2 * time.Second

// Copy copies files between the host and guests, running or not.
func Copy(parent context.Context, d guest.Dirs, from []Place, to Place, o Options) error {
	ctx, end := context.WithCancelCause(parent)
	defer end(nil)
	c := &copying{ctx: ctx, dirs: d, options: o, to: to, views: map[guest.Name]*view{}}
	names := []guest.Name{to.Guest}
	for _, f := range from {
		names = append(names, f.Guest)
	}
	slices.Sort(names) // whoever locks several does it in this order
	for _, n := range slices.Compact(names) {
		if err := c.see(d, n); err != nil {
			c.Close()
			return files.HintFull(about(n, err), d.Data)
		}
	}
	var watchers sync.WaitGroup
	for _, v := range c.views {
		watchers.Go(func() { v.watch(ctx, end) })
	}
	done := make(chan error, 1)
	go func() { done <- c.run(from) }()
	var err error
	select {
	case err = <-done:
		err = c.because(d, err)
	case <-ctx.Done():
		err = context.Cause(ctx)
		select {
		case <-done:
		case <-time.After(grace):
			return err
		}
	}
	end(nil)
	watchers.Wait()
	c.Close()
	return err
}

// about says of which guest an error is.
func about(n guest.Name, err error) error {
	if n == "" {
		return err
	}
	return fault.New(string(n), "", err)
}

// because puts an error of the end in its place, and says what is to be looked at when a
// disk is full.
func (c *copying) because(d guest.Dirs, err error) error {
	if cause := context.Cause(c.ctx); cause != nil && err != nil {
		return cause
	}
	if c.to.Guest == "" {
		return files.HintFull(err, c.into)
	}
	if errors.Is(err, syscall.EDQUOT) {
		return fault.Hint(err, "vserver "+string(c.to.Guest)+" status tells what its limits.disk is")
	}
	return files.HintFull(err, d.Data)
}

// copying is one Copy.
type copying struct {
	ctx     context.Context
	dirs    guest.Dirs
	options Options
	to      Place
	views   map[guest.Name]*view
	owner   *account.Account // in the guest that is copied to
	into    string           // the directory that is copied to

	src, dst *view
	top      *file.Dir // where the copy of this one begins
	made     *file.Stat
	links    map[inode]string // files of several names, by where below top they were copied to
}

type inode struct{ dev, ino uint64 }

// Close lets go of the guests.
func (c *copying) Close() {
	for _, v := range c.views {
		v.Close()
	}
}

func (c *copying) see(d guest.Dirs, n guest.Name) (err error) {
	if n == "" {
		c.views[n], err = hosts()
	} else {
		var v *view
		if v, err = open(d, n); err == nil {
			c.views[n] = v
		}
	}
	return err
}

// run copies, as one of the guest's when it is a guest that is copied to.
func (c *copying) run(from []Place) error {
	c.dst = c.views[c.to.Guest]
	if c.to.Guest == "" {
		return c.all(from)
	}
	who, err := account.Below(c.dst.root, c.options.Owner)
	if err != nil {
		return err
	}
	if who.UID >= guest.IDs || who.GID >= guest.IDs {
		return fmt.Errorf("owner %d:%d: a guest has ids to %d: %w", who.UID, who.GID, guest.IDs-1, guest.ErrInvalid)
	}
	c.owner = &who
	return cred.As(c.dst.base+who.UID, c.dst.base+who.GID, func() error { return c.all(from) })
}

func (c *copying) all(from []Place) error {
	if c.to.Out != nil {
		for _, f := range from {
			if err := c.out(f); err != nil {
				return err
			}
		}
		return nil
	}
	into, err := c.dst.root.Dir(c.to.Path)
	name := ""
	if err != nil {
		if len(from) > 1 || strings.HasSuffix(c.to.Path, "/") || !errors.Is(err, syscall.ENOTDIR) && !errors.Is(err, syscall.ENOENT) {
			return about(c.to.Guest, err)
		}
		if into, name, err = c.dst.root.Parent(c.to.Path); err != nil {
			return about(c.to.Guest, err)
		}
	}
	defer into.Close()
	c.into = into.Path()
	if err := c.enters(into); err != nil {
		return about(c.to.Guest, err)
	}
	for _, f := range from {
		as := name
		if as == "" && f.In == nil {
			as = path.Base(strings.TrimRight(f.Path, "/"))
		}
		if err := c.one(f, into, as); err != nil {
			return err
		}
	}
	return nil
}

// enters refuses a directory that the guest could not make anything in.
func (c *copying) enters(d *file.Dir) error {
	st, err := d.Self()
	if err == nil {
		err = c.dst.check(d.Path(), st, mayWrite|mayPass)
	}
	return err
}

// one copies what the user named.
func (c *copying) one(f Place, into *file.Dir, as string) error {
	if f.In != nil {
		if as == "" {
			return fmt.Errorf("%s: is a directory, and a name is missing: %w", c.to, guest.ErrInvalid)
		}
		return about(c.to.Guest, c.in(f.In, into, as))
	}
	c.src, c.top, c.made, c.links = c.views[f.Guest], into, nil, map[inode]string{}
	if !c.options.Recursive && !c.options.Archive {
		e, err := c.src.root.Entry(f.Path)
		if err != nil {
			return about(f.Guest, err)
		}
		defer e.Close()
		st, err := e.Stat()
		if err == nil && st.Type() == file.TypeDir {
			err = fault.Hint(fmt.Errorf("%s: is a directory: %w", f, guest.ErrInvalid), "vserver cp -r copies directories")
		} else if err == nil && st.Type() != file.TypeFile {
			err = fmt.Errorf("%s: is %s, no file: %w", f, kindOf(st), guest.ErrInvalid)
		}
		if err != nil {
			return err
		}
		return c.file(e, st, into, as, f.Path)
	}
	at, name, err := c.src.root.Parent(f.Path)
	if err != nil {
		return about(f.Guest, err)
	}
	defer at.Close()
	if name != "" {
		return c.entry(at, name, into, as, f.Path, 0)
	}
	if as == "/" || as == "." || as == ".." { // its content, without a name of its own
		return c.below(at, into, f.Path, 0)
	}
	return c.tree(at, into, as, f.Path, 0)
}

// tell says that something is done, and whether to go on.
func (c *copying) tell(name string, n int64) error {
	if c.options.Tell != nil {
		c.options.Tell(name, n)
	}
	return c.ctx.Err()
}

func (c *copying) omit(name, why string) error {
	if c.options.Omit != nil {
		c.options.Omit(name, why)
	}
	return nil
}

// shift is from the ids of where it comes from to those of where it goes.
func (c *copying) shift() layer.Shift { return layer.Shift{From: c.src.base, To: c.dst.base} }

// kindOf names what is no regular file.
func kindOf(st file.Stat) string {
	switch st.Type() {
	case file.TypeDir:
		return "a directory"
	case file.TypeFIFO:
		return "a fifo"
	case file.TypeSock:
		return "a socket"
	case file.TypeLink:
		return "a symbolic link"
	}
	return "a device"
}
