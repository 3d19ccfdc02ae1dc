package life

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"

	"vserver/daemon/proto"
	"vserver/fault"
	"vserver/guest"
	"vserver/host/inside"
	"vserver/host/network"
	"vserver/kernel/ns"
	"vserver/step"
)

// networkSteps are the steps of a start that are about the network.
func (r *Run) networkSteps() []step.Step {
	var list []step.Step
	switch r.spec.Network.Mode {
	case guest.NetPrivate:
		list = append(list, step.Step{Name: "connect the private network", Do: r.networkUp, Undo: r.net.Down})
	case guest.NetShared:
		list = append(list, step.Step{Name: "give the host " + addressWords(r.spec.Network.Addresses), Do: r.networkUp, Undo: r.net.Down})
	}
	if r.spec.Network.Hidden() {
		list = append(list, step.Step{Name: "show the guest its addresses", Do: r.showAddresses})
	}
	return list
}

// encloseStep comes before the guest has a process: none may make a socket that the
// programs do not know what to do with, not even the first one for its own loopback.
func (r *Run) encloseStep() step.Step {
	name := "let the network pass"
	if r.spec.Network.Mode == guest.NetShared {
		name = "keep the guest to its addresses"
	}
	return step.Step{Name: name, Do: func(context.Context) error { return r.net.Enclose(r.group) }, Undo: r.net.Disclose}
}

// addressWords are addresses as a line of the plan.
func addressWords(list []guest.Address) string {
	words := make([]string, len(list))
	for i, a := range list {
		words[i] = a.String()
	}
	if len(words) == 0 {
		return "no address"
	}
	return strings.Join(words, ", ")
}

func (r *Run) networkUp(context.Context) error {
	pid, err := r.child.Forked()
	if err != nil {
		return err
	}
	warning, err := r.net.Up(pid)
	return errors.Join(err, r.complain(warning))
}

// showAddresses shows a guest whose sockets are handed in its addresses.
func (r *Run) showAddresses(context.Context) error {
	pid, err := r.child.Forked()
	if err != nil {
		return err
	}
	return r.net.Show(pid)
}

// serve has the first process's calls answered, if its filter leaves any to a server.
// taken is called when it is executed.
func (r *Run) serve() (taken func() error, err error) {
	taken = func() error { return nil }
	if !r.plan.Listened {
		return taken, nil
	}
	pidfd, err := r.child.Pidfd()
	if err != nil {
		return nil, err
	}
	if !r.spec.Network.Hidden() {
		return inside.Call(r.dirs, r.name, r.child, pidfd)
	}
	tree, err := inside.Serve(r.group, pidfd, r.child)
	if err != nil {
		return nil, err
	}
	defer tree.Close()
	// Unwatched it serves as well, but nobody would replace it.
	return taken, r.complain(proto.Serves(r.dirs, r.name, tree.Files()))
}

// attendHere attends a guest that nobody else knows of, in the process that waits for
// it.
func (r *Run) attendHere() (stop func()) {
	pid, err := r.child.Forked()
	if err != nil || !r.front {
		return func() {}
	}
	var mu sync.Mutex // one line at a time
	return network.Attend(r.dirs, r.name, pid, func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(r.output, format+"\n", args...)
	}, nil)
}

// inNetns does something in the network namespace that the guest shall be born into.
func (r *Run) inNetns(do func() error) error {
	name := r.spec.Network.Netns
	if name == "" {
		return do()
	}
	netns, err := ns.Named(name)
	if err != nil {
		return fault.Hint(fmt.Errorf("network.netns: %w", err), "`ip netns add "+name+"` makes it, or a hook pre-start")
	}
	defer netns.Close()
	return ns.Inside(int(netns.Fd()), syscall.CLONE_NEWNET, do)
}
