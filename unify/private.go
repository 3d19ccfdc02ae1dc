package unify

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"runtime"
	"strconv"
	"sync"

	"vserver/guest"
	"vserver/kernel/file"
	"vserver/layer"
)

// Private is a tree of one guest's own files, which may run and change them meanwhile.
type Private struct {
	Dir    *file.Dir
	Base   uint32                 // its first id on the host
	Wanted func(path string) bool // is asked for each file by its path in the guest
	Seen   map[Seen]bool          // what a Dedupe before found to have an object's blocks
	Each   Each
}

// Each, unless it is nil, is told of each file by its path in the guest: that it is to be
// unified or, if it is skipped, why.
type Each func(path, skipped string)

// Say calls it.
func (e Each) Say(path, skipped string) {
	if e != nil {
		e(path, skipped)
	}
}

// Why a file is skipped, in the words of Linux-VServer's tools.
const (
	Excluded = "excluded"
	TooSmall = "too small"
	Unified  = "already unified"
	Several  = "several names"
	Foreign  = "owner not of the guest"
	Noted    = "operation not supported"
)

// Seen is a file in a state in which it was seen.
type Seen struct {
	Ino   uint64
	Ctime int64 // nanoseconds since 1970
	Size  int64
}

// Survey tells which files of a tree equal objects or each other, and changes nothing: what
// unifying it would save. Trees of other guests surveyed with this Store count as objects.
func (s *Store) Survey(ctx context.Context, p Private, tell func(Report)) (Report, error) {
	if s.plan == nil {
		s.plan = map[Key]int{}
	}
	x := &sharer{store: s, Private: p, tell: tell, equals: map[Key]int{}}
	x.do = x.survey
	return x.run(ctx)
}

// Dedupe gives files of a tree the blocks of the objects that they equal, on a file system
// with reflinks: once on the disk, though not in memory. The kernel compares each file with
// its object while nobody can write to it, and the file stays the one that it is, so a guest
// that runs may do what it likes. seen is for the next Dedupe, which then reads only what
// has changed. An error that file.Unshared knows is that of a file system without reflinks.
func (s *Store) Dedupe(ctx context.Context, p Private, tell func(Report)) (r Report, seen map[Seen]bool, err error) {
	x := &sharer{store: s, Private: p, tell: tell, seen: map[Seen]bool{}}
	x.do = x.dedupe
	r, err = x.run(ctx)
	return r, x.seen, err
}

// sharer goes through a private tree.
type sharer struct {
	store *Store
	Private
	tell func(Report)
	do   func(ctx context.Context, d *file.Dir, name string) (joined bool, st file.Stat, err error)

	mu     sync.Mutex
	equals map[Key]int // files of a key, of a survey
	seen   map[Seen]bool
	report Report
	err    error // the first of a file's
}

func (x *sharer) run(ctx context.Context) (Report, error) {
	if err := x.store.share(); err != nil {
		return Report{}, err
	}
	slots := make(chan struct{}, runtime.NumCPU())
	var all sync.WaitGroup
	err := Search(ctx, x.Dir, func(in *file.Dir, at string, st file.Stat) {
		if !x.wanted(at, st) {
			return
		}
		d, err := in.Again() // Search closes its own
		if err != nil {
			x.fail(err)
			return
		}
		slots <- struct{}{}
		all.Go(func() {
			x.file(ctx, d, path.Base(at))
			d.Close()
			<-slots
		})
	})
	all.Wait()
	return x.report, errors.Join(err, x.err)
}

func (x *sharer) fail(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.err == nil {
		x.err = err
	}
}

// wanted counts a file, and tells whether it is to be read.
func (x *sharer) wanted(at string, st file.Stat) bool {
	own := func(id uint32) bool { return id-x.Base < guest.IDs } // unsigned: below is far above
	x.mu.Lock()
	defer x.mu.Unlock()
	x.report.Files++
	skipped := ""
	switch now := (Seen{st.Ino, st.Ctime, st.Size}); {
	case x.Seen[now]:
		x.report.Same++
		x.seen[now] = true
		skipped = Unified
	case st.Size < Smallest:
		x.report.Small++
		skipped = TooSmall
	case st.Links > 1:
		x.report.Linked++
		skipped = Several
	case !own(st.UID) || !own(st.GID):
		x.report.Left++
		skipped = Foreign
	case !x.Wanted("/" + at):
		x.report.Left++
		skipped = Excluded
	}
	x.Each.Say("/"+at, skipped)
	return skipped == "" && x.err == nil
}

func (x *sharer) file(ctx context.Context, d *file.Dir, name string) {
	joined, st, err := x.do(ctx, d, name)
	x.mu.Lock()
	defer x.mu.Unlock()
	if !errors.Is(err, errSparse) {
		x.report.Read += st.Size
	}
	switch {
	case errors.Is(err, errOverlay), errors.Is(err, errSparse):
		x.report.Left++
	case errors.Is(err, errChanged) || errors.Is(err, file.ErrUnlike) || vanished(err):
		x.report.Changed++
	case err != nil && x.err == nil:
		x.err = err
	case err != nil:
	case joined:
		x.report.Joined++
		x.report.Saved += st.Size
	default:
		x.report.New++
	}
	if x.tell != nil {
		x.tell(x.report)
	}
}

func (x *sharer) shift() layer.Shift { return layer.Shift{From: x.Base} }

func (x *sharer) survey(ctx context.Context, d *file.Dir, name string) (bool, file.Stat, error) {
	by := x.shift()
	k, st, err := sum(ctx, d, name, &by, nil)
	if err != nil {
		return false, st, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	n := x.equals[k]
	x.equals[k]++
	joined, err := x.store.would(k, n)
	return joined, st, err
}

// dedupe gives a file the blocks of its object, which is made of it when there is none.
func (x *sharer) dedupe(ctx context.Context, d *file.Dir, name string) (bool, file.Stat, error) {
	by := x.shift()
	k, st, err := sum(ctx, d, name, &by, nil)
	if err != nil {
		return false, st, err
	}
	shelf, err := x.store.shelf(k)
	if err != nil {
		return false, st, err
	}
	_, err = shelf.Stat(generation(k, 0))
	joined := true
	if errors.Is(err, fs.ErrNotExist) {
		joined, err = x.reflink(ctx, d, name, shelf, k)
	}
	if err == nil && joined {
		err = share(shelf, generation(k, 0), d, name, st.Size)
	}
	if err != nil {
		return false, st, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.seen[Seen{st.Ino, st.Ctime, st.Size}] = true
	return joined, st, nil
}

// share gives a file the blocks of an object.
func share(shelf *file.Dir, object string, d *file.Dir, name string, size int64) error {
	from, err := shelf.Open(object, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := d.Open(name, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer to.Close()
	return file.Dedupe(from, to, size)
}

// reflink makes an object of a file that may change meanwhile: the object is what the key
// says, or there is none. there tells that an equal file was first.
func (x *sharer) reflink(ctx context.Context, d *file.Dir, name string, shelf *file.Dir, k Key) (there bool, err error) {
	tmp, err := x.store.dir.Dir(newDir)
	if err != nil {
		return false, err
	}
	defer tmp.Close()
	on := strconv.Itoa(os.Getpid()) + "-reflink-" + strconv.FormatUint(nameSum(d.Path(), name), 16)
	if err := file.Gone(tmp.Unlink(on)); err != nil {
		return false, err
	}
	if err := x.cloned(d, name, tmp, on); err != nil {
		return false, errors.Join(err, file.Gone(tmp.Unlink(on)))
	}
	if _, err := check(ctx, tmp, on, k); err != nil {
		if errors.Is(err, errDrift) {
			err = errChanged
		}
		return false, errors.Join(err, file.Gone(tmp.Unlink(on)))
	}
	err = tmp.Link(on, shelf, generation(k, 0))
	if there = errors.Is(err, fs.ErrExist); there {
		err = nil
	}
	return there, errors.Join(err, file.Gone(tmp.Unlink(on)))
}

// cloned makes a file with the blocks of another, and all that belongs to it.
func (x *sharer) cloned(d *file.Dir, name string, tmp *file.Dir, on string) error {
	src, err := d.Open(name, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := tmp.Open(on, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = file.Reflink(dst, src)
	if err = errors.Join(err, dst.Close()); err != nil {
		return err
	}
	return x.shift().Like(d, name, tmp, on)
}

// Reflinks tells whether files of one directory can have blocks in common with those of
// another.
func Reflinks(a, b string) (bool, error) {
	from, err := os.CreateTemp(a, ".reflink-")
	if err != nil {
		return false, err
	}
	defer os.Remove(from.Name())
	defer from.Close()
	to, err := os.CreateTemp(b, ".reflink-")
	if err != nil {
		return false, err
	}
	defer os.Remove(to.Name())
	defer to.Close()
	err = file.Reflink(to, from)
	if err != nil && file.Unshared(err) {
		return false, nil
	}
	return err == nil, err
}
