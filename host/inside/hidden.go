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
// about to execute, leaves to it.
func Call(d guest.Dirs, n guest.Name, child *spawn.Child, init int) error {
	listener, err := child.Listener()
	if err != nil {
		return err
	}
	defer syscall.Close(listener)
	return proto.Calls(d, n, listener, init)
}

// unwatched is how long the server of a command is nobody's but ours: most commands
// have ended by then, and vserverd needs not hear of them.
const unwatched = 100 * time.Millisecond

// serve starts a server for a command, if the guest's sockets are handed in. done is
// called when the command has ended: what it left running keeps the server.
func (in *Guest) serve(plan *vcontext.Enter, child *spawn.Child) (done func(), err error) {
	if !plan.Listened {
		return func() {}, nil
	}
	if !in.Note.Hidden {
		if err := Call(in.dirs, in.name, child, in.pidfd); err != nil {
			child.Kill()
			return nil, err
		}
		return func() {}, nil
	}
	tree, err := Serve(in.Group, in.pidfd, child)
	if err != nil {
		child.Kill()
		return nil, err
	}
	told := make(chan bool)
	tell := time.AfterFunc(unwatched, func() {
		proto.Serves(in.dirs, in.name, tree.Files()) // else it serves unwatched
		close(told)
	})
	return func() {
		switch {
		case !tell.Stop():
			<-told
		case !tree.Over():
			proto.Serves(in.dirs, in.name, tree.Files())
		}
		tree.Close()
	}, nil
}
