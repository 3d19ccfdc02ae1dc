package daemon

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

// A guest with hide_netif has servers of its sockets (package ncontext/facade). They
// need nobody; but when one is killed, another must take its place, or the guest's
// socket() waits for ever. The store holds their files as
//
//	serves NAME PID N     the Nth of facade.Tree.Files; PID is the server's that was told
const keptServes = "serves "

// served is a server that is watched.
type served struct {
	name guest.Name
	id   int // pid of the server that we were told of
	pid  int // of the one that serves now
	tree *facade.Tree
	src  *loop.Source
	born time.Time
}

func (s *served) kept(n int) string { return fmt.Sprintf("%s%s %d %d", keptServes, s.name, s.id, n) }

// serves takes a server that was just started. The files are ours from now on.
func (w *worker) serves(name guest.Name, files []int) {
	tree, ok := facade.FromFiles(files)
	if !ok {
		w.say("%s: serves: %d files", name, len(files))
		return
	}
	w.takeServer(name, tree)
}

// takeServer watches a server that the store does not hold.
func (w *worker) takeServer(name guest.Name, tree *facade.Tree) {
	pid, err := pidfd.PID(tree.Server)
	if err != nil || pid <= 0 || w.isServer(pid) {
		tree.Close() // dead already, with its guest or with its command; or known
		return
	}
	s := &served{name: name, id: pid, tree: tree}
	for n, fd := range tree.Files() {
		if err := w.keep(s.kept(n), fd); err != nil {
			w.say("%s: %v", name, err)
		}
	}
	w.watchServer(s)
}

// isServer tells whether we watch the server with that pid.
func (w *worker) isServer(pid int) bool {
	for s := range w.servers {
		if s.pid == pid {
			return true
		}
	}
	return false
}

func (w *worker) watchServer(s *served) {
	s.born = time.Now()
	s.pid, _ = pidfd.PID(s.tree.Server)
	w.servers[s] = true
	var err error
	if s.src, err = w.loop.Add(s.tree.Server, loop.Readable, func(uint32) { w.lostServer(s) }); err != nil {
		w.say("%s: %v", s.name, err)
		w.dropServer(s)
	}
}

// A server that was killed is replaced at once, one that did not live for shortLife
// after a pause.
const (
	shortLife   = time.Second
	revivePause = 100 * time.Millisecond
)

// lostServer is called when a server is dead: because nobody needs it any more, or
// because somebody killed it.
func (w *worker) lostServer(s *served) {
	w.loop.Drop(s.src)
	if s.tree.Over() {
		w.dropServer(s)
		return
	}
	if time.Since(s.born) < shortLife {
		w.loop.After(revivePause, func() { w.reviveServer(s) })
		return
	}
	w.reviveServer(s)
}

func (w *worker) reviveServer(s *served) {
	w.job(func() {
		err := w.acts.Revive(s.name, s.tree)
		w.loop.Post(func() { w.revivedServer(s, err) })
	})
}

func (w *worker) revivedServer(s *served, err error) {
	switch {
	case err == nil:
		w.say("%s: the server of its sockets was killed; another is there", s.name)
		const server = 4 // in Tree.Files
		if err := w.keep(s.kept(server), s.tree.Server); err != nil {
			w.say("%s: %v", s.name, err)
		}
		w.watchServer(s)
	case s.tree.Over():
		w.dropServer(s)
	default:
		w.say("%s: %v", s.name, err)
		w.loop.After(time.Second, func() { w.reviveServer(s) })
	}
}

// dropServer lets go of a server.
func (w *worker) dropServer(s *served) {
	w.loop.Drop(s.src)
	delete(w.servers, s)
	for n := range s.tree.Files() {
		w.unkeep(s.kept(n))
	}
	s.tree.Close()
}

// inheritServers takes up the servers of the worker before.
func (w *worker) inheritServers(files map[string]int) {
	for name := range files {
		rest, ok := strings.CutPrefix(name, keptServes)
		words := strings.Fields(rest)
		if !ok || len(words) != 3 || words[2] != "0" {
			continue
		}
		id, _ := strconv.Atoi(words[1])
		s := &served{name: guest.Name(words[0]), id: id}
		var fds []int
		for n := range (&facade.Tree{}).Files() {
			if fd, ok := files[s.kept(n)]; ok {
				fds = append(fds, fd)
				delete(files, s.kept(n))
			}
		}
		if s.tree, ok = facade.FromFiles(fds); ok {
			w.watchServer(s)
		}
	}
	for name, fd := range files {
		if strings.HasPrefix(name, keptServes) { // not all are there
			w.unkeep(name)
			syscall.Close(fd)
		}
	}
}

// adoptServers finds the servers of a guest that nobody told us of.
func (w *worker) adoptServers(name guest.Name) {
	for _, tree := range w.acts.Servers(name, w.isServer) {
		w.takeServer(name, tree)
	}
}

// revive starts a guest's server of sockets anew.
func revive(dirs guest.Dirs, n guest.Name, t *facade.Tree) error {
	g, err := groupOf(dirs, n)
	if err != nil {
		return err
	}
	defer g.Close()
	return t.Revive(g)
}

// servers finds the servers of sockets of a guest, but those that are known.
func servers(dirs guest.Dirs, n guest.Name, known func(pid int) bool) []*facade.Tree {
	g, err := groupOf(dirs, n)
	if err != nil {
		return nil
	}
	defer g.Close()
	return facade.Find(g, known)
}

func groupOf(dirs guest.Dirs, n guest.Name) (*cgroup.Group, error) {
	cg, err := cgroup.Find()
	if err != nil {
		return nil, err
	}
	return cg.Open(dirs.Cgroup + "/" + string(n))
}
