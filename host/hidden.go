package host

import (
	"context"
	"syscall"

	"vserver/daemon/proto"
	"vserver/guest"
	"vserver/kernel/cgroup"
	"vserver/kernel/ns"
	"vserver/ncontext/facade"
	"vserver/spawn"
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

// serve has the first process's calls answered, if its filter leaves any to a server.
func (r *run) serve() error {
	if !r.plan.Listened {
		return nil
	}
	pidfd, err := r.child.Pidfd()
	if err != nil {
		return err
	}
	warning, err := serve(r.h.Dirs, r.name, r.group, pidfd, r.child)
	r.complain(warning)
	return err
}

// serve starts a server for the processes that come of child, a process of the guest
// about to execute, and has vserverd watch it. group and init are the guest's. The
// warning is that the server serves, but nobody is there who would replace it.
func serve(dirs guest.Dirs, n guest.Name, group *cgroup.Group, init int, child *spawn.Child) (warning, err error) {
	listener, err := child.Listener()
	if err != nil {
		return nil, err
	}
	defer syscall.Close(listener)
	tree, err := facade.Serve(group, listener, init)
	if err != nil {
		return nil, err
	}
	defer tree.Close()
	return proto.Serves(dirs, n, tree.Files()), nil
}

// hiddenStatus says when nobody is there who makes sockets for the guest.
func hiddenStatus(st *condition, g *cgroup.Group) {
	if pids, err := g.Servers(); err == nil && len(pids) == 0 && st.Problem == "" {
		st.Problem = "nobody hands sockets to it; vserverd or a restart of the guest mends that"
	}
}
