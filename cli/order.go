package cli

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"vserver/guest"
	"vserver/step"
)

// order is how boot.depends is read: a start waits for those that a guest needs, a
// stop for those that need it.
type order bool

const (
	dependsFirst order = false
	dependsLast  order = true
)

// inOrder does something for each guest, in parallel where boot.depends allows it.
// Only guests among names are waited for. A failed one does not hold up a stop,
// but a start that needs it is refused.
func (t *tool) inOrder(ctx context.Context, names []guest.Name, o order, do func(context.Context, guest.Name) error) error {
	if len(names) == 1 {
		return t.each(ctx, names, do)
	}
	before, err := t.before(names, o)
	if err != nil {
		return err
	}
	done := make(map[guest.Name]chan struct{}, len(names))
	for _, n := range names {
		done[n] = make(chan struct{})
	}
	var mu sync.Mutex
	failed := make(map[guest.Name]bool)
	room := make(chan struct{}, t.room())
	return t.all(ctx, names, func(ctx context.Context, n guest.Name) (err error) {
		defer func() {
			mu.Lock()
			failed[n] = err != nil
			mu.Unlock()
			close(done[n])
		}()
		for _, b := range before[n] {
			<-done[b]
			mu.Lock()
			bad := failed[b]
			mu.Unlock()
			if bad && o == dependsFirst {
				return fmt.Errorf("boot.depends: %s did not start", b)
			}
		}
		room <- struct{}{}
		defer func() { <-room }()
		return do(ctx, n)
	})
}

// before says for each guest which others are worked on first, and complains about
// a circle.
func (t *tool) before(names []guest.Name, o order) (map[guest.Name][]guest.Name, error) {
	among := make(map[guest.Name]bool, len(names))
	for _, n := range names {
		if among[n] {
			return nil, usagef("%s is named twice", n)
		}
		among[n] = true
	}
	before := make(map[guest.Name][]guest.Name)
	for _, n := range names {
		spec, err := t.host.Load(n)
		if err != nil {
			continue // said when its turn comes
		}
		for _, d := range spec.Boot.Depends {
			switch {
			case !among[d]:
			case o == dependsFirst:
				before[n] = append(before[n], d)
			default:
				before[d] = append(before[d], n)
			}
		}
	}
	return before, circle(names, before)
}

// circle finds a guest that would wait for itself.
func circle(names []guest.Name, before map[guest.Name][]guest.Name) error {
	const walking, clear = 1, 2
	state := make(map[guest.Name]int)
	var walk func(guest.Name) error
	walk = func(n guest.Name) error {
		switch state[n] {
		case walking:
			return fmt.Errorf("%s: boot.depends: a circle: %w", n, guest.ErrInvalid)
		case clear:
			return nil
		}
		state[n] = walking
		for _, b := range before[n] {
			if err := walk(b); err != nil {
				return err
			}
		}
		state[n] = clear
		return nil
	}
	for _, n := range names {
		if err := walk(n); err != nil {
			return err
		}
	}
	return nil
}

// join puts what went wrong in one list, for a line each.
func join(errs ...error) error {
	var all many
	for _, err := range errs {
		var m many
		switch {
		case err == nil:
		case errors.As(err, &m):
			all = append(all, m...)
		default:
			all = append(all, err)
		}
	}
	switch len(all) {
	case 0:
		return nil
	case 1:
		return all[0]
	}
	return all
}

// plans prints the steps of each guest's plan.
func (t *tool) plans(names []guest.Name, plan func(guest.Name) ([]step.Step, error)) error {
	type planned struct {
		Name  guest.Name `json:"name"`
		Steps []string   `json:"steps"`
	}
	var list []planned
	var errs many
	for _, n := range names {
		steps, err := plan(n)
		if err != nil {
			errs = append(errs, t.about(n, err))
			continue
		}
		p := planned{Name: n, Steps: make([]string, len(steps))}
		for i, s := range steps {
			p.Steps[i] = s.Name
		}
		list = append(list, p)
	}
	if t.json {
		return join(writeJSON(t.out, list), join(errs...))
	}
	for _, p := range list {
		if len(names) > 1 {
			fmt.Fprintf(t.out, "%s:\n", p.Name)
		}
		for i, s := range p.Steps {
			fmt.Fprintf(t.out, "%3d  %s\n", i+1, s)
		}
	}
	return join(errs...)
}
