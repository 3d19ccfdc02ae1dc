package host

import (
	"context"
	"syscall"
	"time"

	"vserver/daemon/proto"
	"vserver/guest"
	"vserver/kernel/cgroup"
	"vserver/kernel/ns"
	"vserver/ncontext/facade"
	"vserver/spawn"
	"vserver/vcontext"
)

// showAddresses puts the addresses of a guest whose sockets are handed in where it
// looks for them: into its own network namespace.
func (r *run) showAddresses(context.Context) error {
	pid, err := r.child.Forked()
	if err != nil {
		return err
	}
	netns, err := ns.Open(pid, "net")
	if err != nil {
		return err
	}
	defer netns.Close()
	return facade.Show(int(netns.Fd()), r.spec.Network.Addresses)
}

// showChange is showAddresses for a guest that runs, with that init: it had the
// addresses before.
func showChange(init int, before, addresses []guest.Address) error {
	netns, err := networkOf(init)
	if err != nil {
		return err
	}
	defer netns.Close()
	return facade.Repaint(int(netns.Fd()), before, addresses)
}

// serve has the first process's calls answered, if its filter leaves any to a server.
func (r *run) serve() error {
	if !r.plan.Listened {
		return nil
	}
	pidfd, err := r.child.Pidfd()
	if err != nil {
		return err
	}
	tree, err := serve(r.group, pidfd, r.child)
	if err != nil {
		return err
	}
	defer tree.Close()
	// Unwatched it serves as well, but nobody would replace it.
	return r.complain(proto.Serves(r.h.Dirs, r.name, tree.Files()))
}

// serve starts a server for the processes that come of child, a process of the guest
// about to execute. group and init are the guest's.
func serve(group *cgroup.Group, init int, child *spawn.Child) (*facade.Tree, error) {
	listener, err := child.Listener()
	if err != nil {
		return nil, err
	}
	defer syscall.Close(listener)
	return facade.Serve(group, listener, init)
}

// unwatched is how long the server of a command is nobody's but ours: most commands
// have ended by then, and vserverd needs not hear of them.
const unwatched = 100 * time.Millisecond

// serve starts a server for a command, if the guest's sockets are handed in. done is
// called when the command has ended: what it left running keeps the server.
func (in *inside) serve(plan *vcontext.Enter, child *spawn.Child) (done func(), err error) {
	if !plan.Listened {
		return func() {}, nil
	}
	tree, err := serve(in.group, in.pidfd, child)
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

// hiddenStatus says when nobody is there who makes sockets for the guest.
func hiddenStatus(st *condition, g *cgroup.Group) {
	if pids, err := g.Servers(); err == nil && len(pids) == 0 && st.Problem == "" {
		st.Problem = "nobody hands sockets to it; vserverd or a restart of the guest mends that"
	}
}
