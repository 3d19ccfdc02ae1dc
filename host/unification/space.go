package unification

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"runtime"
	"sync"

	"vserver/fault"
	"vserver/guest"
	"vserver/host/files"
	"vserver/host/state"
	"vserver/kernel/file"
	"vserver/pool"
	"vserver/quota/sized"
	"vserver/stack"
	"vserver/store"
	"vserver/unify"
)

// Space is what a guest's files take of the disk, in bytes.
type Space struct {
	Guest guest.Name `json:"guest"`
	// Private is what would be free without the guest: its own layer, and what lies beneath
	// it for it alone. Blocks that a reflink shares count as the guest's.
	Private int64 `json:"private"`
	// Shared is what it has in common with others beneath its own layer, by the files'
	// contents.
	Shared int64 `json:"shared"`
	// Apparent is the sizes of all files in its layers, holes counted.
	Apparent int64 `json:"apparent"`
}

// Spaces tells what the files of guests take, in their order.
func Spaces(ctx context.Context, d guest.Dirs, names []guest.Name) ([]Space, error) {
	users, err := stack.Users(d)
	if err != nil {
		return nil, err
	}
	c := &counter{dirs: d, users: users, images: map[string]int64{}}
	out, errs := make([]Space, len(names)), make([]error, len(names))
	slots := make(chan struct{}, runtime.NumCPU())
	var all sync.WaitGroup
	for i, n := range names {
		slots <- struct{}{}
		all.Go(func() {
			out[i], errs[i] = c.guest(ctx, n)
			errs[i] = fault.New(string(n), "vdu", errs[i])
			<-slots
		})
	}
	all.Wait()
	return out, errors.Join(errs...)
}

// counter knows what guests have in common.
type counter struct {
	dirs  guest.Dirs
	users map[string][]guest.Name // of layers

	mu     sync.Mutex
	images map[string]int64 // contents, by what specs call them
}

func (c *counter) guest(ctx context.Context, n guest.Name) (s Space, err error) {
	s.Guest = n
	if there, err := store.Exists(c.dirs.Spec(n)); err != nil || !there {
		return s, errors.Join(err, state.Absent(c.dirs, n))
	}
	spec, err := state.Load(c.dirs, n)
	if err != nil {
		return s, err
	}
	own, release, err := sized.At(c.dirs.Guest(n))
	if err != nil {
		return s, err
	}
	defer release()
	for _, at := range files.OwnAt(spec.Root, own) {
		sum, err := count(ctx, at, nil)
		if err != nil {
			return s, err
		}
		s.Private, s.Apparent = s.Private+sum.disk, s.Apparent+sum.size
	}
	layers, err := stack.Read(c.dirs.Guest(n))
	if err != nil {
		return s, err
	}
	for _, l := range layers {
		if err := c.layer(ctx, l, spec, &s); err != nil {
			return s, err
		}
	}
	for _, lower := range spec.Root.Lower {
		size, err := c.image(ctx, lower)
		if err != nil {
			return s, err
		}
		s.Shared, s.Apparent = s.Shared+size, s.Apparent+size
	}
	return s, nil
}

// layer adds a layer beneath the guest's own. An object that no other tree has a link to,
// in a layer that no other guest has, is the guest's.
func (c *counter) layer(ctx context.Context, l stack.Layer, spec *guest.Spec, s *Space) error {
	const alone = 2 // links: the object's and the layer's
	for _, tree := range files.Own(spec.Root) {
		sum, err := count(ctx, filepath.Join(l.Dir(c.dirs), tree), func(st file.Stat) bool {
			return l.Base != 0 || st.Links <= alone
		})
		if err != nil {
			return err
		}
		if len(c.users[l.ID]) > 1 {
			sum.disk, sum.shared = 0, sum.content
		}
		s.Private, s.Shared, s.Apparent = s.Private+sum.disk, s.Shared+sum.shared, s.Apparent+sum.size
	}
	return nil
}

// image gives the size of what lies beneath by its name. That of an image is known; a
// directory of the host's is counted once.
func (c *counter) image(ctx context.Context, lower string) (int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if size, known := c.images[lower]; known {
		return size, nil
	}
	p := pool.Open(c.dirs.Pool())
	if !filepath.IsAbs(lower) {
		name, err := p.Resolve(lower)
		if err != nil {
			return 0, err
		}
		if m := p.Meta(name); m.Files > 0 {
			c.images[lower] = m.Bytes
			return m.Bytes, nil
		}
		if lower, err = p.Tree(name); err != nil {
			return 0, err
		}
	}
	sum, err := count(ctx, lower, nil)
	c.images[lower] = sum.size
	return sum.size, err
}

// counted is what a tree takes.
type counted struct {
	disk    int64 // blocks of those that mine says so of, all for nil
	shared  int64 // contents of the others
	content int64 // of all, without holes
	size    int64 // with them
}

// count adds the files of a tree up, each inode once.
func count(ctx context.Context, path string, mine func(file.Stat) bool) (sum counted, err error) {
	d, err := file.OpenDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return sum, nil
	}
	if err != nil {
		return sum, err
	}
	defer d.Close()
	type inode struct{ dev, ino uint64 }
	linked := map[inode]bool{}
	err = unify.Search(ctx, d, func(_ *file.Dir, _ string, st file.Stat) {
		if st.Links > 1 && linked[inode{st.Dev, st.Ino}] {
			return
		}
		if st.Links > 1 {
			linked[inode{st.Dev, st.Ino}] = true
		}
		sum.size += st.Size
		content := min(st.Size, st.Disk) // the smallest file takes a block
		sum.content += content
		if mine == nil || mine(st) {
			sum.disk += st.Disk
		} else {
			sum.shared += content
		}
	})
	return sum, err
}
