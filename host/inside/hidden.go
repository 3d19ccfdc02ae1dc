package inside

import (
	"syscall"
	"time"

	"vserver/daemon/proto"
	"vserver/guest"
	"vserver/kernel/cgroup"
	"vserver/ncontext/facade"
	"vserver/spawn"
	"vserver/vcontext"
)

// Serve starts a server for the processes that come of child, a process of the guest
// about to execute. group and init are the guest's.
func Serve(group *cgroup.Group, init int, child *spawn.Child) (*facade.Tree, error) {
	listener, err := child.Listener()
	if err != nil {
		return nil, err
	}
	defer syscall.Close(listener)
	return facade.Serve(group, listener, init)
}

// Call has vserverd answer the calls that the filter of child, a process of the guest
// about to execute, leaves to it. taken must follow: it waits until vserverd can be killed
// and they are answered nevertheless.
func Call(d guest.Dirs, n guest.Name, child *spawn.Child, init int) (taken func() error, err error) {
	listener, err := child.Listener()
	if err != nil {
		return nil, err
	}
	told, err := proto.TellCalls(d, n, listener, init)
	if err != nil {
		syscall.Close(listener)
		return nil, err
	}
	return func() error {
		defer syscall.Close(listener)
		return told.Confirm()
	}, nil
}

// unwatched is how long the server of a command is nobody's but ours: most commands
// have ended by then, and vserverd needs not hear of them.
const unwatched = 100 * time.Millisecond

// serve has the calls of a command answered that its filter leaves to somebody. taken is
// called when the command is executed, done when it has ended: what it left running keeps
// the server of its sockets.
func (in *Guest) serve(plan *vcontext.Enter, child *spawn.Child) (taken func() error, done func(), err error) {
	taken, done = func() error { return nil }, func() {}
	if !plan.Listened {
		return taken, done, nil
	}
	if !in.Note.Hidden {
		if taken, err = Call(in.dirs, in.name, child, in.pidfd); err != nil {
			child.Kill()
		}
		return taken, done, err
	}
	tree, err := Serve(in.Group, in.pidfd, child)
	if err != nil {
		child.Kill()
		return nil, nil, err
	}
	told := make(chan bool)
	tell := time.AfterFunc(unwatched, func() {
		proto.Serves(in.dirs, in.name, tree.Files()) // else it serves unwatched
		close(told)
	})
	return taken, func() {
		switch {
		case !tell.Stop():
			<-told
		case !tree.Over():
			proto.Serves(in.dirs, in.name, tree.Files())
		}
		tree.Close()
	}, nil
}
