package unify

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"vserver/kernel/file"
)

// deepest is how many directories a tree may have one in another: each is held open.
const deepest = 200

// Report says what Tree did. Sizes are those of contents, in bytes.
type Report struct {
	Files   int64 `json:"files"`   // regular files seen
	Same    int64 `json:"same"`    // were objects before
	New     int64 `json:"new"`     // became objects
	Joined  int64 `json:"joined"`  // became one with an object that was there
	Saved   int64 `json:"saved"`   // size of those joined
	Read    int64 `json:"read"`    // bytes read to take keys
	Small   int64 `json:"small"`   // left alone: under 16 bytes
	Linked  int64 `json:"linked"`  // left alone: hard links that are no objects
	Left    int64 `json:"left"`    // left alone: with notes of an overlay, sparse, or not wanted
	Changed int64 `json:"changed"` // left alone: written to meanwhile
	Rotten  int64 `json:"rotten"`  // objects that are not what they were: nothing became one with them
}

// Add adds what was done with another tree.
func (r *Report) Add(o Report) {
	r.Files, r.Same, r.New, r.Joined = r.Files+o.Files, r.Same+o.Same, r.New+o.New, r.Joined+o.Joined
	r.Saved, r.Read = r.Saved+o.Saved, r.Read+o.Read
	r.Small, r.Linked, r.Left, r.Changed = r.Small+o.Small, r.Linked+o.Linked, r.Left+o.Left, r.Changed+o.Changed
	r.Rotten += o.Rotten
}

type inode struct{ dev, ino uint64 }

func inodeOf(st file.Stat) inode { return inode{st.Dev, st.Ino} }

// Tree unifies the regular files of the directory called name in parent. What is an
// object already is known by its inode, and is not read again: a tree with nothing new
// is only looked at. Directories keep their times. With dry nothing is changed, and the
// report says what would be; files of other trees of this Store's dry runs count as
// objects. tell, when not nil, is called after each file that was read, one call at a
// time.
func (s *Store) Tree(ctx context.Context, parent *file.Dir, name string, dry bool, tell func(Report)) (Report, error) {
	if err := s.share(); err != nil {
		return Report{}, err
	}
	if s.plan == nil {
		s.plan = map[Key]int{}
	}
	w := &walk{
		store: s, dry: dry, tell: tell, known: map[inode]bool{}, claimed: map[inode]bool{}, equals: map[Key]int{}, groups: map[inode][]string{},
		slots: make(chan []byte, runtime.NumCPU()), survey: true,
	}
	for range cap(w.slots) {
		w.slots <- make([]byte, roomy)
	}
	before := s.rotten()
	err := s.inodes(ctx, w.known)
	if err == nil {
		err = w.dir(ctx, parent, name, "", 0)
	}
	if err == nil && w.todo > 0 {
		w.survey, w.report = false, Report{}
		err = w.dir(ctx, parent, name, "", 0)
	}
	if err == nil && len(w.groups) > 0 {
		err = w.several(ctx, parent, name)
	}
	w.report.Rotten = s.rotten() - before
	return w.report, errors.Join(err, w.err)
}

// walk goes through a tree twice: first to see which objects it has, then to read what
// is none, if there is any.
type walk struct {
	store  *Store
	dry    bool
	tell   func(Report)
	known  map[inode]bool     // inodes of the objects there were; only read while walking
	slots  chan []byte        // buffers for the files being read
	survey bool               // the first time
	todo   int                // files to read, found the first time
	groups map[inode][]string // files of several names, by their paths, found the first time

	mu      sync.Mutex
	claimed map[inode]bool // objects that this tree has
	equals  map[Key]int    // files of a key, in a dry run
	report  Report
	err     error // the first of a file's
}

// dir does a directory: its files in goroutines, its directories meanwhile.
func (w *walk) dir(ctx context.Context, parent *file.Dir, name, path string, depth int) error {
	if depth > deepest {
		return fmt.Errorf("unify %s: more than %d directories deep", path, deepest)
	}
	d, err := parent.Dir(name)
	if err != nil {
		return err
	}
	defer d.Close()
	self, err := d.Self()
	if err != nil || self.MountRoot && depth > 0 {
		return err
	}
	names, err := d.Names()
	if err != nil {
		return err
	}
	var files sync.WaitGroup
	for _, n := range names {
		if err = w.entry(ctx, d, n, path+n, depth, &files); err != nil {
			break
		}
	}
	files.Wait()
	now, serr := d.Self()
	if err == nil && serr == nil && now.Mtime != self.Mtime {
		serr = parent.SetTimes(name, self.Atime, self.Mtime)
	}
	return errors.Join(err, serr)
}

// entry begins with an entry of a directory.
func (w *walk) entry(ctx context.Context, d *file.Dir, name, path string, depth int, files *sync.WaitGroup) error {
	st, err := d.Stat(name)
	if err != nil || w.failed() != nil {
		return err
	}
	if st.Type() == file.TypeDir {
		return w.dir(ctx, d, name, path+"/", depth+1)
	}
	if st.Type() != file.TypeFile || st.MountRoot || !w.wanted(st, path) {
		return nil
	}
	select {
	case room := <-w.slots:
		files.Go(func() {
			w.file(ctx, d, name, room, func(k Key, st file.Stat) (bool, error) { return w.put(ctx, d, name, k, st) })
			w.slots <- room
		})
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// wanted counts a file, and tells whether it is to be read now.
func (w *walk) wanted(st file.Stat, path string) bool {
	known := w.known[inodeOf(st)]
	w.mu.Lock()
	defer w.mu.Unlock()
	w.report.Files++
	switch {
	case known:
		w.report.Same++
		w.claimed[inodeOf(st)] = true
	case st.Size < Smallest:
		w.report.Small++
	case st.Links > 1:
		w.report.Linked++
		if w.survey {
			w.groups[inodeOf(st)] = append(w.groups[inodeOf(st)], path)
		}
	case w.survey:
		w.todo++
	default:
		return true
	}
	return false
}

// claim takes an object for a file of this tree, if none has it yet.
func (w *walk) claim(object file.Stat) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.claimed[inodeOf(object)] {
		return false
	}
	w.claimed[inodeOf(object)] = true
	return true
}

// put does with a file what is to be done.
func (w *walk) put(ctx context.Context, d *file.Dir, name string, k Key, st file.Stat) (bool, error) {
	if !w.dry {
		return w.store.put(ctx, d, name, k, st, w.claim)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.equals[k]
	w.equals[k]++
	return w.store.would(k, n)
}

func (w *walk) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// file does one file; put makes it an object's.
func (w *walk) file(ctx context.Context, d *file.Dir, name string, room []byte, put func(Key, file.Stat) (bool, error)) {
	k, st, err := sum(ctx, d, name, nil, room)
	joined := false
	if err == nil {
		joined, err = put(k, st)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !errors.Is(err, errSparse) {
		w.report.Read += st.Size
	}
	switch {
	case errors.Is(err, errOverlay), errors.Is(err, errSparse):
		w.report.Left++
	case errors.Is(err, errChanged):
		w.report.Changed++
	case err != nil && w.err == nil:
		w.err = err
	case err != nil:
	case joined:
		w.report.Joined++
		w.report.Saved += st.Size
	default:
		w.report.New++
	}
	if w.tell != nil {
		w.tell(w.report)
	}
}
