package life

import "syscall"

// ahead are mounts that are made while the steps before theirs are taken: making a root,
// and the kernel's namespaces, keeps one processor busy and leaves the others idle.
type ahead map[int]<-chan made // by number of the mount

// made is a mount, or why there is none.
type made struct {
	fd  int
	err error
}

// begin makes the mounts that ask nothing of the guest's first process, and stand nowhere yet:
// a process that ends takes them along.
func (r *Run) begin() {
	r.ahead = ahead{}
	var work []func()
	for i, m := range r.mounts {
		if !m.Alone() {
			continue
		}
		ready := make(chan made, 1)
		r.ahead[i] = ready
		work = append(work, func() {
			fd, err := m.Make(r.owner())
			ready <- made{fd, err}
		})
	}
	go func() {
		for _, do := range work {
			do()
		}
	}()
}

// take gives a mount that was begun.
func (a ahead) take(i int) (got made, begun bool) {
	ready, begun := a[i]
	if begun {
		got = <-ready
		delete(a, i)
	}
	return got, begun
}

// close closes what nobody took.
func (a ahead) close() {
	for i := range a {
		if got, _ := a.take(i); got.err == nil {
			syscall.Close(got.fd)
		}
	}
}
