package cli

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vserver/fault"
	"vserver/guest"
	"vserver/host"
)

// snapshotActions are what can be done with snapshots.
func snapshotActions() []string { return []string{"list", "create", "diff", "restore", "delete"} }

func newSnapshot(t *tool) *cobra.Command {
	c := command("snapshot ACTION NAME [SNAPSHOT...]", `
Deals with snapshots of a guest: what its own files were at some time. What it shares
with others, its images and volumes, is no part of them.

  list NAME                  the snapshots, the oldest first
  create NAME [SNAPSHOT]     take one, called by the time without a name
  diff NAME A [B]            what the guest has changed since snapshot A, or
                             until snapshot B: as vserver diff tells it
  restore NAME SNAPSHOT      give a stopped guest the files of one back; what
                             it has changed since is lost, its snapshots stay
  delete NAME SNAPSHOT...    remove some

A stopped guest's files become the snapshot as they are, in milliseconds, and the guest
goes on above them. A running guest is frozen while its own files are taken: by the file
system on btrfs, shared on XFS, copied elsewhere; what programs have not written yet is
lost, as in a power cut. What a snapshot keeps counts as the guest's on the disk.`, `
vserver web1 snapshot create before-upgrade
vserver snapshot list web1
vserver web1 snapshot diff before-upgrade
vserver web1 stop && vserver web1 rollback
vserver snapshot delete web1 before-upgrade`,
		func(ctx context.Context, args []string) error { return t.snapshot(ctx, args) })
	c.ValidArgsFunction = t.completeSnapshots
	return c
}

// snapshot does something with snapshots.
func (t *tool) snapshot(ctx context.Context, args []string) error {
	action, words := t.action(args, snapshotActions())
	n, names, err := t.one(words)
	if err != nil {
		return err
	}
	switch {
	case action == "list" && len(names) == 0:
		return t.about(n, t.snapshotList(n))
	case action == "create" && len(names) <= 1:
		return t.about(n, t.snapshotCreate(ctx, n, append(names, "")[0]))
	case action == "diff" && (len(names) == 1 || len(names) == 2):
		return t.about(n, t.diff(ctx, n, host.DiffOptions{From: names[0], To: append(names[1:], "")[0]}))
	case action == "restore" && len(names) == 1:
		return t.rolledBack(ctx, n, names[0])
	case action == "delete" && len(names) > 0:
		var errs []error
		for _, name := range names {
			errs = append(errs, t.about(n, hintSnapshots(n, host.DeleteSnapshot(t.host, n, name))))
		}
		return join(errs...)
	}
	return usageHint("vserver snapshot --help", "%s: want %s, a guest and the names of its snapshots",
		strings.Join(args, " "), strings.Join(snapshotActions(), ", "))
}

// hintSnapshots says where the snapshots are to be seen.
func hintSnapshots(n guest.Name, err error) error {
	if !errors.Is(err, host.ErrNoSnapshot) {
		return err
	}
	return fault.Hint(err, "vserver "+string(n)+" snapshot list")
}

// snapshotJSON is a snapshot as --json prints it: an interface, scripts read it.
type snapshotJSON struct {
	Guest   guest.Name `json:"guest"`
	Name    string     `json:"name"`
	ID      string     `json:"id"`
	Made    time.Time  `json:"made"`
	Running bool       `json:"running"`
	Images  []string   `json:"images"`
	Layers  int        `json:"layers"`
}

func jsonOfSnapshot(n guest.Name, s host.Snapshot) snapshotJSON {
	return snapshotJSON{n, s.Name, s.ID, s.Made, s.Running, append([]string{}, s.Lower...), len(s.Stack)}
}

func (t *tool) snapshotList(n guest.Name) error {
	all, err := host.Snapshots(t.host, n)
	if err != nil {
		return err
	}
	list := make([]snapshotJSON, len(all))
	rows := [][]string{{"SNAPSHOT", "MADE", "GUEST", "IMAGES"}}
	for i, s := range all {
		list[i] = jsonOfSnapshot(n, s)
		was := "stopped"
		if s.Running {
			was = "running"
		}
		rows = append(rows, []string{s.Name, s.Made.Local().Format(time.DateTime), was, strings.Join(s.Lower, ", ")})
	}
	if t.json {
		return writeJSON(t.out, list)
	}
	_, err = t.out.WriteString(columns(rows))
	return err
}

func (t *tool) snapshotCreate(ctx context.Context, n guest.Name, name string) error {
	s, err := host.TakeSnapshot(ctx, t.host, n, name)
	if err != nil {
		return err
	}
	if t.json {
		return writeJSON(t.out, jsonOfSnapshot(n, s))
	}
	_, err = t.out.WriteString(s.Name + "\n")
	return err
}

// completeSnapshots offers what can follow: an action, a guest, snapshots of it.
func (t *tool) completeSnapshots(_ *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if t.subject != "" {
		args = append([]string{t.subject}, args...)
	}
	words, rest := snapshotActions(), args
	if i := slices.IndexFunc(args, func(w string) bool { return slices.Contains(snapshotActions(), w) }); i >= 0 {
		words, rest = nil, slices.Delete(slices.Clone(args), i, i+1)
		if len(rest) == 0 {
			return t.guestNames(begun), cobra.ShellCompDirectiveNoFileComp
		}
	}
	if len(rest) > 0 && words == nil {
		words = t.snapshotNames(rest[0])
	}
	return matching(words, begun), cobra.ShellCompDirectiveNoFileComp
}

// guestNames are the guests that begin so, for completion.
func (t *tool) guestNames(begun string) (words []string) {
	names, _ := t.host.Names()
	for _, n := range names {
		words = append(words, string(n))
	}
	return matching(words, begun)
}

// snapshotNames are the snapshots of a guest, for completion.
func (t *tool) snapshotNames(word string) (names []string) {
	n, err := t.name(word)
	if err != nil {
		return nil
	}
	all, _ := host.Snapshots(t.host, n)
	for _, s := range all {
		names = append(names, s.Name)
	}
	return names
}

// completeSnapshotFlag has a flag completed with the snapshots of the guest.
func (t *tool) completeSnapshotFlag(c *cobra.Command, flag string) {
	c.RegisterFlagCompletionFunc(flag, func(_ *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		word := t.subject
		if word == "" && len(args) > 0 {
			word = args[0]
		}
		return matching(t.snapshotNames(word), begun), cobra.ShellCompDirectiveNoFileComp
	})
}

func newRollback(t *tool) *cobra.Command {
	c := command("rollback NAME [SNAPSHOT]", `
Gives a stopped guest the files back that it had when a snapshot was taken: its last one,
or the one that is named. What it has changed since is lost. Its settings, snapshots and
volumes stay as they are.`, `
vserver web1 snapshot create
vserver web1 rollback
vserver rollback web1 before-upgrade`,
		func(ctx context.Context, args []string) error {
			n, names, err := t.one(args)
			if err != nil {
				return err
			}
			if len(names) > 1 {
				return usageHint("vserver rollback --help", "%s: one word too many", names[1])
			}
			return t.rolledBack(ctx, n, append(names, "")[0])
		})
	c.ValidArgsFunction = func(c *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if t.subject == "" && len(args) == 0 {
			return t.guestNames(begun), cobra.ShellCompDirectiveNoFileComp
		}
		return t.completeSnapshots(c, append([]string{"restore"}, args...), begun)
	}
	return c
}

// rolledBack gives a guest its files back and says of when.
func (t *tool) rolledBack(ctx context.Context, n guest.Name, name string) error {
	s, err := host.Rollback(ctx, t.host, n, name)
	if err != nil {
		return t.about(n, hintSnapshots(n, err))
	}
	if t.json {
		return writeJSON(t.out, jsonOfSnapshot(n, s))
	}
	_, err = t.out.WriteString(s.Name + "\n")
	return err
}
