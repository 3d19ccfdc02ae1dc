package host

import (
	"context"
	"errors"

	"vserver/build"
	"vserver/fault"
	"vserver/guest"
	"vserver/host/balance"
	"vserver/host/config"
	"vserver/host/files"
	"vserver/host/furnish"
	"vserver/host/inside"
	"vserver/host/life"
	"vserver/host/making"
	"vserver/host/packages"
	"vserver/host/reach"
	"vserver/host/unification"
	"vserver/host/usage"
	"vserver/step"
)

// Start starts a guest. It returns when the guest's init runs, with a nil exit; with
// Wait when the guest has ended, with how; with Console, of a guest of style sysv, when its
// scripts are done. ScriptsError tells that they failed. The error is guest.ErrRunning when it runs
// already. What a renaming that was killed left is put right first.
func (h *Host) Start(ctx context.Context, n guest.Name, o StartOptions) (*guest.Exit, error) {
	if err := making.Mend(h.Dirs, n); err != nil {
		return nil, fault.New(string(n), "start", err)
	}
	r, err := life.Start(ctx, h.Dirs, n, o)
	if err != nil {
		return nil, fault.New(string(n), "start", err)
	}
	defer r.Close()
	r.Complain(balance.Now(h.Dirs))
	if !o.Wait {
		return nil, fault.New(string(n), "start", r.Leave(ctx))
	}
	exit, err := r.Wait(ctx)
	err = errors.Join(err, balance.Now(h.Dirs))
	return exit, fault.New(string(n), "wait", err)
}

// Check gives the error that Start would end with for a guest that runs, once it has ended, as
// far as that can be told before. Nothing is changed. It is guest.ErrStopped for one that does
// not run.
func Check(h *Host, n guest.Name) error {
	return fault.New(string(n), "start", life.Check(h.Dirs, n))
}

// PlanStart gives the steps of a start without taking any.
func (h *Host) PlanStart(n guest.Name) ([]step.Step, error) {
	steps, err := life.PlanStart(h.Dirs, n)
	return steps, fault.New(string(n), "start", err)
}

// Stop ends a guest: its own way first, by force when its time is up. It always ends
// itself. The error is guest.ErrStopped when the guest does not run. Files whose unifying
// waited for it are unified.
func (h *Host) Stop(ctx context.Context, n guest.Name, o StopOptions) error {
	err := life.Stop(ctx, h.Dirs, n, o)
	if err == nil {
		err = unification.Stopped(ctx, h.Dirs, n)
	}
	return fault.New(string(n), "stop", errors.Join(err, balance.Now(h.Dirs)))
}

// Leave takes away what stands for all guests and contexts when there is none any more,
// unless vserverd is awake, which does it when it ends.
func Leave(h *Host) error { return life.Leave(h.Dirs) }

// PlanStop gives the steps of a stop without taking any.
func (h *Host) PlanStop(n guest.Name) ([]step.Step, error) {
	steps, err := life.PlanStop(h.Dirs, n)
	return steps, fault.New(string(n), "stop", err)
}

// Exec runs a command in a guest and gives its exit code; 128 and the signal's number when
// one ended it. Signals that this process gets meanwhile are passed on. The error is
// guest.ErrStopped when the guest does not run, unless c.Visit has it be there, without
// its init, for the time of the command.
func (h *Host) Exec(ctx context.Context, n guest.Name, c Command) (code int, err error) {
	if c.Visit {
		code, err = life.Exec(ctx, h.Dirs, n, c)
	} else {
		code, err = inside.Exec(ctx, h.Dirs, n, c)
	}
	return code, fault.New(string(n), "exec", err)
}

// Kill sends a signal to processes of a guest, by their numbers in the guest; to its
// init when there are none. SIGKILL without numbers ends the whole guest at once.
func (h *Host) Kill(n guest.Name, sig guest.Signal, pids ...int) error {
	return fault.New(string(n), "kill", inside.Kill(h.Dirs, n, sig, pids))
}

// Build makes guest n, as package making says.
func (h *Host) Build(ctx context.Context, n guest.Name, spec *guest.Spec, src build.Source, o BuildOptions) error {
	return fault.New(string(n), "", making.Build(ctx, h.Dirs, n, spec, src, o))
}

// Clone makes guest n like guest from, or like a snapshot of it. change, when not nil, can
// alter the spec before it is used.
func (h *Host) Clone(ctx context.Context, from, n guest.Name, change func(*guest.Spec) error, o CloneOptions) error {
	return fault.New(string(n), "", files.HintFull(making.Clone(ctx, h.Dirs, from, n, change, o), h.Dirs.Data))
}

// FillRoot gives guest n, which has settings and no files yet, the files of another.
func FillRoot(ctx context.Context, h *Host, from, n guest.Name) error {
	return fault.New(string(n), "copy", files.HintFull(making.Fill(ctx, h.Dirs, from, n), h.Dirs.Data))
}

// Delete removes guest n: its spec, its files, its notes, the image that was made for
// it alone, and its number. It is guest.ErrRunning for a guest that runs, unless forced,
// and guest.ErrNotFound when there is none.
func (h *Host) Delete(ctx context.Context, n guest.Name, o DeleteOptions) error {
	return fault.New(string(n), "delete", making.Delete(ctx, h.Dirs, n, o))
}

// Rename gives guest old, which must be stopped, the name new.
func (h *Host) Rename(ctx context.Context, old, new guest.Name) error {
	return fault.New(string(old), "rename", making.Rename(ctx, h.Dirs, old, new))
}

// Config gives the spec of a guest: the text of its file for the key "", and else the
// value of the key with its default filled in, a single one bare, lists and sections
// as YAML.
func (h *Host) Config(n guest.Name, key string) (string, error) {
	text, err := config.Get(h.Dirs, n, key)
	return text, fault.New(string(n), "config", err)
}

// Set makes the changes "key=value", "key=" (back to the default), "key+=item" and
// "key-=item" in a guest's spec: all of them or, when the outcome is wrong or clashes
// with another guest, none. Comments stay.
func (h *Host) Set(n guest.Name, changes []string) (Change, error) {
	c, err := config.Set(h.Dirs, n, changes)
	err = errors.Join(err, balance.Now(h.Dirs))
	return c, fault.New(string(n), "set", err)
}

// Edit replaces the text of a guest's spec. It is refused as by Set, with the places
// of what is wrong in the new text. A spec that is broken can be mended so.
func (h *Host) Edit(n guest.Name, text []byte) (Change, error) {
	c, err := config.Edit(h.Dirs, n, text)
	err = errors.Join(err, balance.Now(h.Dirs))
	return c, fault.New(string(n), "edit", err)
}

// Usage says what the host itself uses, which comes first, and each running guest, by
// its xid.
func (h *Host) Usage() ([]Usage, error) { return usage.All(h.Dirs) }

// BriefUsage is that without memory that is counted, limits and network.
func BriefUsage(h *Host) ([]Usage, error) { return usage.Brief(h.Dirs) }

// Processes gives the processes of the named guests, or of all that run, by their
// numbers on the host.
func (h *Host) Processes(names ...guest.Name) ([]Process, error) {
	return usage.Processes(h.Dirs, names...)
}

// PackageVerbs are what Manage can be asked for.
func PackageVerbs() []string { return packages.Verbs() }

// RunPackager runs a package manager for a guest, running or not: the guest's own or, in
// the guest's context, the host's, and gives its exit code. The error is
// guest.ErrUnsupported when neither has it.
func RunPackager(ctx context.Context, h *Host, n guest.Name, program string, args []string, c Command) (int, error) {
	code, err := packages.Run(ctx, h.Dirs, n, program, args, c)
	return code, fault.New(string(n), program, err)
}

// Furnish makes a system of packages in a guest that has none. Package managers get c's
// files; what may fail is told to warn.
func Furnish(ctx context.Context, h *Host, n guest.Name, r Recipe, c Command, warn func(error)) error {
	return furnish.Run(ctx, h.Dirs, n, r, c, warn)
}

// RecipeDir is a directory of .distributions/DIST, "" when there is none.
func RecipeDir(h *Host, dist, name string) string { return furnish.Dir(h.Dirs, dist, name) }

// Manifest gives the packages that a manifest lists, below base unless they begin with '/'.
func Manifest(file, base string) ([]string, error) { return furnish.Manifest(file, base) }

// Manage installs, removes or updates packages of a guest, by whichever package manager is
// of its kind.
func Manage(ctx context.Context, h *Host, n guest.Name, verb string, args []string, c Command) (int, error) {
	code, err := packages.Manage(ctx, h.Dirs, n, verb, args, c)
	return code, fault.New(string(n), "pkg "+verb, err)
}

// The words of files that are copied, from the package that does it.
type (
	// CopyPlace is something to copy, or where to.
	CopyPlace = reach.Place
	// CopyOptions are the ways to copy files.
	CopyOptions = reach.Options
)

// CopyFiles copies files between the host and guests, running or not. All that is made is
// whole or not there.
func CopyFiles(ctx context.Context, h *Host, from []CopyPlace, to CopyPlace, o CopyOptions) error {
	return reach.Copy(ctx, h.Dirs, from, to, o)
}

// MountRoot mounts the root of a guest that does not run at a directory, to be written to
// or not.
func MountRoot(ctx context.Context, h *Host, n guest.Name, dir string, writable bool) error {
	return fault.New(string(n), "mount", reach.Mount(ctx, h.Dirs, n, dir, writable))
}

// UmountRoot takes that mount away; dir is where it is, or "".
func UmountRoot(h *Host, n guest.Name, dir string) error {
	return fault.New(string(n), "umount", reach.Umount(h.Dirs, n, dir))
}
