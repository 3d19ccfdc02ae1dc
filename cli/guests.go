package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"vserver/fault"
	"vserver/guest"
	"vserver/host"
	"vserver/kernel/solo"
)

// selection is which guests are meant, for verbs that take several.
type selection struct {
	all   bool
	marks []string
}

// flags adds --all and --mark.
func (s *selection) flags(c *cobra.Command) {
	c.Flags().BoolVarP(&s.all, "all", "a", false, "all guests")
	c.Flags().StringSliceVar(&s.marks, "mark", nil, "all guests with this `MARK` (boot.marks)")
}

// several says whether guests were not named one by one; that one of them is as
// asked already is then not worth a line.
func (s selection) several() bool { return s.all || len(s.marks) > 0 }

// pick gives the guests that the words and the selection mean, and complains about
// those whose marks cannot be read.
func (t *tool) pick(s selection, words []string) ([]guest.Name, error) {
	if !s.several() {
		return t.names(words)
	}
	if len(words) > 0 || t.subject != "" || s.all && len(s.marks) > 0 {
		return nil, usagef("either names, or --all or --mark")
	}
	all, err := t.host.Names()
	if err != nil || s.all {
		return all, err
	}
	var names []guest.Name
	var errs many
	for _, n := range all {
		spec, err := t.host.Load(n)
		if err != nil {
			errs = append(errs, fault.New(string(n), t.verb, err))
			continue
		}
		if slices.ContainsFunc(s.marks, func(m string) bool { return slices.Contains(spec.Boot.Marks, m) }) {
			names = append(names, n)
		}
	}
	if errs != nil {
		return names, errs
	}
	return names, nil
}

// names gives the guests that the words mean, at least one.
func (t *tool) names(words []string) ([]guest.Name, error) {
	if t.subject != "" {
		if len(words) > 0 {
			return nil, usageHint("vserver "+t.verb+" "+t.subject+" "+strings.Join(words, " "),
				"%s: one word too many", words[0])
		}
		words = []string{t.subject}
	}
	if len(words) == 0 {
		return nil, usageHint("vserver "+t.verb+" --help", "which guest?")
	}
	names := make([]guest.Name, len(words))
	for i, w := range words {
		var err error
		if names[i], err = t.name(w); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// one gives the one guest that the words begin with, and the words behind it.
func (t *tool) one(words []string) (guest.Name, []string, error) {
	word := t.subject
	if word == "" {
		if len(words) == 0 {
			return "", nil, usageHint("vserver "+t.verb+" --help", "which guest?")
		}
		word, words = words[0], words[1:]
	}
	n, err := t.name(word)
	return n, words, err
}

// action takes what is to be done with a guest out of the words, where it stands before
// the guest or behind it; it is the first of the actions when none is said.
func (t *tool) action(words, actions []string) (string, []string) {
	i := slices.IndexFunc(words, func(w string) bool { return slices.Contains(actions, w) })
	if i == 0 || i == 1 && t.subject == "" {
		return words[i], slices.Delete(slices.Clone(words), i, i+1)
	}
	return actions[0], words
}

// single gives the one guest that the words are, and nothing else.
func (t *tool) single(words []string) (guest.Name, error) {
	n, rest, err := t.one(words)
	if err == nil && len(rest) > 0 {
		err = usageHint("vserver "+t.verb+" --help", "%s: one word too many", rest[0])
	}
	return n, err
}

// name reads a guest's name as the old tools did.
func (t *tool) name(word string) (guest.Name, error) {
	n, err := host.Find(t.host, word)
	switch {
	case errors.Is(err, guest.ErrNotFound):
		return "", fault.Hint(err, "vserver list shows the guests")
	case err != nil:
		return "", usage{err.Error()}
	}
	return n, nil
}

// parallel is how many guests are worked on at once. Starting and stopping is
// mostly waiting for others' inits, so it is more than the processors are.
const parallel = 16

// room is how many guests are worked on at once.
func (t *tool) room() int {
	if t.jobs > 0 {
		return t.jobs
	}
	return parallel
}

// each does something for each guest, several at once, and gives what went wrong.
func (t *tool) each(ctx context.Context, names []guest.Name, do func(context.Context, guest.Name) error) error {
	if len(names) == 1 {
		return t.about(names[0], do(ctx, names[0]))
	}
	room := make(chan struct{}, t.room())
	return t.all(ctx, names, func(ctx context.Context, n guest.Name) error {
		room <- struct{}{}
		defer func() { <-room }()
		return do(ctx, n)
	})
}

// all does something for all guests at once.
func (t *tool) all(ctx context.Context, names []guest.Name, do func(context.Context, guest.Name) error) error {
	solo.Over()
	errs := make([]error, len(names))
	var wg sync.WaitGroup
	for i, n := range names {
		wg.Go(func() { errs[i] = t.about(n, do(ctx, n)) })
	}
	wg.Wait()
	return join(errs...)
}

// about says which guest, or with "" none, and which verb an error concerns, and
// what else might have been meant when there is no such guest.
func (t *tool) about(n guest.Name, err error) error {
	if err == nil {
		return nil
	}
	switch e := err.(type) {
	case code, coded:
		return err
	case many:
		for i := range e {
			e[i] = t.about(n, e[i])
		}
		return e
	case *fault.Error:
		if e.Guest != "" && n == "" {
			return t.hinted(guest.Name(e.Guest), err)
		}
		if slices.Contains(does(t.verb), e.Op) {
			own := *e
			own.Op = t.verb // how it is done is nobody's business
			err = &own
		}
	}
	return t.hinted(n, fault.New(string(n), t.verb, err))
}

// does gives the verbs by which another is done. Once a restart starts, its verb is that.
func does(verb string) []string {
	switch verb {
	case "enter", "suexec":
		return []string{"exec"}
	case "restart", "condrestart":
		return []string{"stop", "start"}
	}
	return nil
}

// hinted adds the way out.
func (t *tool) hinted(n guest.Name, err error) error {
	if n != "" && errors.Is(err, guest.ErrNotFound) {
		err = fault.Hint(err, t.meant(n))
	}
	if entering := t.verb == "enter" || t.verb == "exec" || t.verb == "suexec"; entering && errors.Is(err, guest.ErrStopped) {
		err = fault.Hint(err, "vserver start "+string(n))
	}
	if errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0 {
		err = fault.Hint(short(err), rootsHint)
	}
	var at *fs.PathError
	if errors.Is(err, syscall.ENOSPC) && fault.HintOf(err) == "" && errors.As(err, &at) && !strings.HasPrefix(at.Path, "/dev/") {
		err = fault.Hint(err, "the disk is full: see `df -h "+filepath.Dir(at.Path)+"`")
	}
	return err
}

// rootsHint is the way out for those who are not root.
const rootsHint = "guests are root's: `sudo vserver`"

// short leaves the first line of what an error says.
func short(err error) error {
	if e, ok := err.(*fault.Error); ok {
		out := *e
		out.Err = firstLine{e.Err}
		return &out
	}
	return firstLine{err}
}

// firstLine is an error of which the first line says enough.
type firstLine struct{ error }

func (e firstLine) Error() string {
	first, _, _ := strings.Cut(e.error.Error(), "\n")
	return first
}

func (e firstLine) Unwrap() error { return e.error }

// meant is the way out when there is no guest n.
func (t *tool) meant(n guest.Name) string {
	const list = "vserver list shows the guests"
	all, _ := t.host.Names()
	words := make([]string, len(all))
	for i, a := range all {
		words[i] = string(a)
	}
	if near := guest.Nearest(string(n), words); near != "" && near != string(n) {
		return "vserver " + t.verb + " " + near + " is near; " + list
	}
	return list + ", vserver create " + string(n) + " makes one"
}

// settle is how long a command runs before it listens to signals. Listening costs
// a thread, a tenth of a millisecond; a command that is done before needs none,
// and one that is killed before leaves nothing that the next one does not mend.
const settle = 20 * time.Millisecond

// interruptible gives a context that ends at SIGINT, SIGTERM and SIGHUP, so that
// what was begun is undone.
func interruptible(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 1)
	timer := time.AfterFunc(settle, func() {
		signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
		select {
		case <-signals:
			signal.Stop(signals) // a second one ends the program as usual
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, func() {
		timer.Stop()
		signal.Stop(signals)
		cancel()
	}
}
