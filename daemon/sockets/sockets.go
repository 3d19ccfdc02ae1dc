// Package sockets watches the servers of guests' sockets (package ncontext/facade) for
// vserverd. They need nobody; but when one is killed, another must take its place, or
// the guest's socket() waits for ever.
//
// The store holds their files as
//
//	serves NAME ID N     the Nth of facade.Tree.Files; ID is one for each tree
package sockets

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"

	"vserver/daemon/loop"
	"vserver/guest"
	"vserver/kernel/cgroup"
	"vserver/kernel/pidfd"
	"vserver/ncontext/facade"
)

// keptServes begins the names of files in the store; keptServer is the number there of
// the file that changes with each server.
const (
	keptServes = "serves "
	keptServer = 4
)

// Set is the servers of a host. Its methods are called in the loop only.
type Set struct {
	Dirs guest.Dirs
	Loop *loop.Loop
	Say  func(format string, args ...any) // to vserverd's own log
	// Keep has the store hold a file, Unkeep has it let go.
	Keep   func(name string, fd int) error
	Unkeep func(name string)
	// Job runs something beside the loop.
	Job func(do func())

	all map[*served]bool
}

// served is a server that is watched.
type served struct {
	name guest.Name
	id   int64
	pid  int // of the server; 0 when it is dead
	tree *facade.Tree
	src  *loop.Source
	born time.Time
}

func (s *served) kept(n int) string { return fmt.Sprintf("%s%s %d %d", keptServes, s.name, s.id, n) }

// Take watches a server that was just started. The files are the set's from now on.
func (set *Set) Take(name guest.Name, files []int) {
	tree, ok := facade.FromFiles(files)
	if !ok {
		set.Say("%s: serves: %d files", name, len(files))
		return
	}
	set.take(name, tree)
}

// take watches a server that the store does not hold.
func (set *Set) take(name guest.Name, tree *facade.Tree) {
	pid, err := pidfd.PID(tree.Server)
	if err != nil || pid > 0 && set.has(pid) || tree.Over() {
		tree.Close() // known; or of a command that has ended
		return
	}
	s := &served{name: name, id: time.Now().UnixNano(), tree: tree}
	for n, fd := range tree.Files() {
		if err := set.Keep(s.kept(n), fd); err != nil {
			set.Say("%s: %v", name, err)
		}
	}
	set.watch(s)
}

// has tells whether the server with that pid is watched.
func (set *Set) has(pid int) bool {
	for s := range set.all {
		if s.pid == pid {
			return true
		}
	}
	return false
}

func (set *Set) watch(s *served) {
	s.born = time.Now()
	pid, _ := pidfd.PID(s.tree.Server)
	s.pid = max(pid, 0)
	if set.all == nil {
		set.all = map[*served]bool{}
	}
	set.all[s] = true
	if s.tree.Server < 0 {
		set.revive(s)
		return
	}
	var err error
	if s.src, err = set.Loop.Add(s.tree.Server, loop.Readable, func(uint32) { set.lost(s) }); err != nil {
		set.Say("%s: %v", s.name, err)
		set.drop(s)
	}
}

// A server that was killed is replaced at once, one that did not live for shortLife
// after a pause.
const (
	shortLife   = time.Second
	revivePause = 100 * time.Millisecond
)

// lost is called when a server is dead: because nobody needs it any more, or
// because somebody killed it.
func (set *Set) lost(s *served) {
	set.Loop.Drop(s.src)
	if s.tree.Over() {
		set.drop(s)
		return
	}
	s.pid = 0
	set.Unkeep(s.kept(keptServer))
	if time.Since(s.born) < shortLife {
		set.Loop.After(revivePause, func() { set.revive(s) })
		return
	}
	set.revive(s)
}

func (set *Set) revive(s *served) {
	set.Job(func() {
		err := set.again(s.name, s.tree)
		set.Loop.Post(func() { set.revived(s, err) })
	})
}

func (set *Set) revived(s *served, err error) {
	switch {
	case err == nil:
		set.Say("%s: the server of its sockets was killed; another is there", s.name)
		if err := set.Keep(s.kept(keptServer), s.tree.Server); err != nil {
			set.Say("%s: %v", s.name, err)
		}
		set.watch(s)
	case s.tree.Over():
		set.drop(s)
	default:
		set.Say("%s: %v", s.name, err)
		set.Loop.After(time.Second, func() { set.revive(s) })
	}
}

// drop lets go of a server.
func (set *Set) drop(s *served) {
	set.Loop.Drop(s.src)
	delete(set.all, s)
	for n := range s.tree.Files() {
		set.Unkeep(s.kept(n))
	}
	s.tree.Close()
}

// Inherit takes up the servers of the worker before.
func (set *Set) Inherit(files map[string]int) {
	for name := range files {
		rest, ok := strings.CutPrefix(name, keptServes)
		words := strings.Fields(rest)
		if !ok || len(words) != 3 || words[2] != "0" {
			continue
		}
		id, _ := strconv.ParseInt(words[1], 10, 64)
		s := &served{name: guest.Name(words[0]), id: id}
		var fds []int
		for n := range keptServer + 1 {
			fd, ok := files[s.kept(n)]
			if ok {
				delete(files, s.kept(n))
			} else if n == keptServer {
				fd = -1 // the worker died while it started another
			} else {
				break
			}
			fds = append(fds, fd)
		}
		if s.tree, ok = facade.FromFiles(fds); ok {
			set.watch(s)
			continue
		}
		for n := range fds {
			set.Unkeep(s.kept(n))
		}
	}
	for name, fd := range files {
		if strings.HasPrefix(name, keptServes) { // not all are there
			set.Unkeep(name)
			syscall.Close(fd)
		}
	}
}

// Adopt finds the servers of a guest that nobody told us of.
func (set *Set) Adopt(name guest.Name) {
	g, err := set.group(name)
	if err != nil {
		return
	}
	defer g.Close()
	for _, tree := range facade.Find(g, set.has) {
		set.take(name, tree)
	}
}

// again starts a guest's server of sockets anew.
func (set *Set) again(n guest.Name, t *facade.Tree) error {
	g, err := set.group(n)
	if err != nil {
		return err
	}
	defer g.Close()
	return t.Revive(g)
}

func (set *Set) group(n guest.Name) (*cgroup.Group, error) {
	cg, err := cgroup.Find()
	if err != nil {
		return nil, err
	}
	return cg.Open(set.Dirs.Group(n))
}
