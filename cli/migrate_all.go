package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"vserver/guest"
	"vserver/host"
)

// takenOver is what became of a guest when a host was taken over. Its names are an
// interface.
type takenOver struct {
	Name     guest.Name `json:"name"`
	Migrated bool       `json:"migrated"`
	Differs  []string   `json:"differs"` // keys that are not the same
	Started  bool       `json:"started"`
	Error    string     `json:"error,omitempty"`
}

// takeOver migrates all guests of Linux-VServer's, and starts those that are wanted.
func (t *tool) takeOver(ctx context.Context, f migrateFlags) error {
	names, err := t.host.Names()
	if err != nil {
		return err
	}
	old := slices.DeleteFunc(slices.Clone(names), func(n guest.Name) bool {
		_, err := host.Explain(t.host, n)
		return errors.Is(err, guest.ErrNotFound)
	})
	list := map[guest.Name]*takenOver{}
	var wrong error
	for _, n := range old { // one after the other: each takes its number from what all others have
		m, err := host.Migrate(ctx, t.host, n, host.MigrateOptions{DryRun: f.dry, Chown: f.chown, Link: f.link})
		list[n] = taken(n, m, err)
		if err == nil && !t.json {
			fmt.Fprintln(t.out, list[n].line(f.dry))
		}
		wrong = join(wrong, t.about(n, err))
	}
	toStart := t.toStart(f, names)
	if !f.dry {
		wrong = join(wrong, t.startTaken(ctx, toStart, list))
	}
	if t.json {
		all := []*takenOver{}
		for _, n := range names {
			if o, ok := list[n]; ok {
				all = append(all, o)
			}
		}
		return join(writeJSON(t.out, all), wrong)
	}
	t.sumUp(f, old, toStart, list)
	return wrong
}

func taken(n guest.Name, m host.Migration, err error) *takenOver {
	o := &takenOver{Name: n, Migrated: err == nil, Differs: []string{}}
	if err != nil {
		o.Error = err.Error()
		return o
	}
	for _, c := range changes(m.Findings) {
		o.Differs = append(o.Differs, c.Key)
	}
	return o
}

// line is what is said of a guest at once.
func (o *takenOver) line(dry bool) string {
	done := "is migrated"
	if dry {
		done = "can be migrated"
	}
	if len(o.Differs) == 0 {
		return fmt.Sprintf("%s: %s, all is the same", o.Name, done)
	}
	return fmt.Sprintf("%s: %s; not the same: %s", o.Name, done, strings.Join(o.Differs, ", "))
}

// toStart are the guests to start that do not run.
func (t *tool) toStart(f migrateFlags, names []guest.Name) []guest.Name {
	if f.start == "" {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(names), func(n guest.Name) bool {
		spec, err := t.host.Load(n)
		if err != nil || f.start != "all" && !slices.Contains(spec.Boot.Marks, f.start) {
			return true
		}
		s, err := t.host.Status(n)
		return err == nil && isUp(s)
	})
}

// startTaken starts guests, those that others need first.
func (t *tool) startTaken(ctx context.Context, names []guest.Name, list map[guest.Name]*takenOver) error {
	var mu sync.Mutex
	return t.inOrder(ctx, names, dependsFirst, func(ctx context.Context, n guest.Name) error {
		_, err := t.host.Start(ctx, n, host.StartOptions{Output: t.err})
		if errors.Is(err, guest.ErrRunning) {
			err = nil
		}
		mu.Lock()
		defer mu.Unlock()
		o := list[n]
		if o == nil { // it was migrated before
			o = &takenOver{Name: n, Differs: []string{}}
			list[n] = o
		}
		if o.Started = err == nil; err != nil {
			o.Error = err.Error()
		}
		return err
	})
}

// sumUp says in one line what was done with all of them.
func (t *tool) sumUp(f migrateFlags, old, start []guest.Name, list map[guest.Name]*takenOver) {
	var migrated, started int
	for _, o := range list {
		if o.Migrated {
			migrated++
		}
		if o.Started {
			started++
		}
	}
	word := "migrated"
	if f.dry {
		word = "can be migrated"
	}
	line := fmt.Sprintf("%d of %d guests %s", migrated, len(old), word)
	if len(old) == 0 {
		line = "no directory of Linux-VServer's is left in " + t.host.Dirs.Config
	}
	switch {
	case f.start != "" && f.dry:
		line += fmt.Sprintf(", %d would be started", len(start))
	case f.start != "":
		line += fmt.Sprintf(", %d of %d started", started, len(start))
	}
	fmt.Fprintln(t.out, line)
}
