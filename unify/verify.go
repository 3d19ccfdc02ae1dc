package unify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"sync"

	"vserver/kernel/file"
)

// errDrift says that an object is no longer what its name says.
var errDrift = errors.New("is not what its name says")

// Finding is an object that is damaged: its content, or its owner, mode, time or
// attributes are other than they were. The trees' names for it are those with its inode.
type Finding struct {
	Key   Key    `json:"key"`
	Path  string `json:"path"` // below the pool's objects
	Dev   uint64 `json:"dev"`
	Ino   uint64 `json:"inode"`
	Links uint32 `json:"links"` // names that trees have for it
	Cause string `json:"cause"`
}

// Verified says what Verify read.
type Verified struct {
	Objects int64     `json:"objects"`
	Bytes   int64     `json:"bytes"`
	Resumed string    `json:"resumed"` // the shelf after which it went on; "" from the start
	Found   []Finding `json:"found"`
	Percent int       `json:"-"` // of all objects, those before Resumed too, that is behind it
}

// noted is the file that says how far a Verify has come.
const noted = ".verified"

// Verify reads all objects, as many at once as there are processors, and gives those
// that are damaged. One that was interrupted or killed is gone on with by the next,
// unless afresh is said; the directory in which something was found is read again. tell,
// when not nil, is called after each object, one call at a time.
func (s *Store) Verify(ctx context.Context, afresh bool, tell func(Verified)) (v Verified, err error) {
	if err := s.share(); err != nil {
		return v, err
	}
	shelves, err := s.shelves()
	if err != nil {
		return v, err
	}
	if text, err := s.dir.Read(noted, 2); err == nil && !afresh {
		v.Resumed = string(text)
	}
	for i, sh := range shelves {
		if sh <= v.Resumed {
			continue
		}
		v.Percent = i * 100 / len(shelves) // keys are sums: the shelves are of one size
		if err := s.verifyShelf(ctx, sh, &v, tell); err != nil {
			return v, err
		}
		if len(v.Found) == 0 {
			if err := s.note(sh); err != nil {
				return v, err
			}
		}
	}
	if err := s.dir.Unlink(noted); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return v, err
	}
	return v, nil
}

// note writes how far a Verify has come: two bytes, at once.
func (s *Store) note(shelf string) error {
	f, err := s.dir.Open(noted, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte(shelf), 0)
	return errors.Join(err, f.Close())
}

func (s *Store) verifyShelf(ctx context.Context, sh string, v *Verified, tell func(Verified)) error {
	var mu sync.Mutex
	slots := make(chan struct{}, runtime.NumCPU())
	var all sync.WaitGroup
	err := s.eachOn(ctx, sh, func(shelf *file.Dir, name string, k Key) error {
		own, err := shelf.Again() // eachOn closes its shelf before the last is read
		if err != nil {
			return err
		}
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			defer own.Close()
			st, bad := check(ctx, own, name, k)
			mu.Lock()
			defer mu.Unlock()
			v.Objects++
			v.Bytes += st.Size
			if bad != nil && ctx.Err() == nil {
				v.Found = append(v.Found, Finding{k, sh + "/" + name, st.Dev, st.Ino, max(st.Links, 1) - 1, bad.Error()})
			}
			if tell != nil {
				tell(*v)
			}
		})
		return nil
	})
	all.Wait()
	return cmp.Or(err, ctx.Err())
}

func check(ctx context.Context, d *file.Dir, name string, k Key) (file.Stat, error) {
	is, st, err := summed(ctx, d, name, nil, nil, true)
	if err == nil && is != k {
		err = fmt.Errorf("object %s: %w", k, errDrift)
	}
	return st, err
}

// Collected says what Collect removed.
type Collected struct {
	Objects int64 `json:"objects"`
	Bytes   int64 `json:"bytes"` // of content
}

// reflinked tells whether a file has blocks in common with others. Where nobody can tell,
// it has none.
func reflinked(d *file.Dir, name string) bool {
	f, err := d.Open(name, os.O_RDONLY, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	shares, err := file.Shares(f)
	return err == nil && shares
}

// Collect removes the objects that no tree has a link to or blocks in common with. It gives guest.ErrBusy while
// anybody adds to the store or verifies it. With dry it only counts.
func (s *Store) Collect(ctx context.Context, dry bool) (c Collected, err error) {
	if err := s.Seize(); err != nil {
		return c, err
	}
	held := map[inode]uint32{} // links that killed ones left on their way
	tmp, err := s.dir.Dir(newDir)
	if err != nil {
		return c, err
	}
	defer tmp.Close()
	names, err := tmp.Names()
	for _, name := range names {
		st, serr := tmp.Stat(name)
		held[inode{st.Dev, st.Ino}]++
		if serr == nil && !dry {
			serr = tmp.Unlink(name)
			delete(held, inode{st.Dev, st.Ino})
		}
		err = errors.Join(err, serr)
	}
	if err != nil {
		return c, err
	}
	return c, s.each(ctx, func(shelf *file.Dir, name string, _ Key) error {
		st, err := shelf.Stat(name)
		if err != nil || st.Links-held[inode{st.Dev, st.Ino}] > 1 || reflinked(shelf, name) {
			return err
		}
		if !dry {
			if err := shelf.Unlink(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		c.Objects++
		c.Bytes += st.Size
		return nil
	})
}
