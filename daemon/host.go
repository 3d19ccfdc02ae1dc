package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"vserver/bpf"
	"vserver/daemon/console"
	"vserver/daemon/proto"
	"vserver/guest"
	"vserver/host"
	"vserver/host/balance"
	"vserver/host/config"
	"vserver/host/disk"
	"vserver/host/hoard"
	"vserver/host/life"
	"vserver/host/network"
	"vserver/host/reclaim"
	"vserver/host/state"
	"vserver/host/usage"
	"vserver/kernel/cgroup"
	"vserver/ncontext"
	"vserver/quota"
)

// hostActs are the acts of vserverd on this host.
func hostActs(dirs guest.Dirs) acts {
	h, rounds := host.Open(dirs), reclaim.New(dirs)
	return acts{
		Ended:   func(n guest.Name, exit guest.Exit) error { return ended(dirs, n, exit) },
		Start:   func(n guest.Name) error { return startAside(dirs, n) },
		Planned: func(n guest.Name, at time.Time) error { return state.PlanAgain(dirs, n, at) },
		Dropped: func(n guest.Name) error { return state.ForgetAgain(dirs, n) },
		OOM:     func(names ...guest.Name) []int { return kills(dirs, names) },
		Running: func(known func(guest.Name) bool) []proto.Start { return running(h, known) },
		Limits:  func() (map[guest.Name][]guest.Pool, error) { return usage.Limits(dirs) },
		Reclaim: func(list []guest.Name) error { return rounds.Round(list, time.Now()) },
		Hoard:   func(list []guest.Name) ([]hoard.Ended, bool, error) { return hoard.Look(dirs, list, hoard.Most) },
		Reopen:  console.Reopen,
		Notes:   bpf.WatchEnds,
		Prune:   func() error { return life.Prune(dirs) },
		Makes:   config.Makes(dirs),
		Views:   func(n guest.Name) guest.ViewFlags { return viewFlags(dirs, n) },
		Area:    func(n guest.Name) (*quota.Area, uint32, error) { return disk.Area(dirs, n) },
		Named:   func() error { return network.Named(dirs) },
		Steer:   func(ctx context.Context) error { return ncontext.Steer(ctx, dirs) },
		Mend:    func(ctx context.Context, say func(string, ...any)) error { return network.Mend(ctx, dirs, say) },
		Attend: func(s proto.Start, say func(string, ...any), moved func()) func() {
			return network.Attend(dirs, s.Name, s.InitPID, say, moved)
		},
	}
}

// kills counts for each guest the processes that the kernel killed for want of memory.
func kills(dirs guest.Dirs, names []guest.Name) []int {
	groups := make([]string, len(names))
	for i, n := range names {
		groups[i] = dirs.Group(n)
	}
	return cgroup.OOMKills(groups...)
}

// viewFlags gives the flags of the view with which a guest was started; none when it does
// not run.
func viewFlags(dirs guest.Dirs, n guest.Name) guest.ViewFlags {
	note, err := state.ReadNote(dirs, n)
	if err != nil || note == nil {
		return 0
	}
	return note.Views
}

// ended takes down a guest that ended by itself; what it had the others share. Then
// programs of the host's run that its spec names for its end.
func ended(dirs guest.Dirs, n guest.Name, exit guest.Exit) error {
	visit := state.Visited(dirs, n)
	err := life.Ended(dirs, n, exit)
	if hooked, helped := life.Hooked(dirs, n, exit.Reason); err == nil && visit == nil && hooked {
		if _, failed := aside(dirs, "--after", n, string(exit.Reason)); failed != nil {
			err = fmt.Errorf("%s: after its end: %w", n, failed)
		} else if helped {
			err = guest.ErrStopped
		}
	}
	return errors.Join(err, balance.Now(dirs))
}

// running gives the guests with notes that run. A guest's restart policy and log
// size are those of its spec by now.
func running(h *host.Host, known func(guest.Name) bool) []proto.Start {
	notes, _ := filepath.Glob(filepath.Join(h.Dirs.State("*"), "running"))
	var all []proto.Start
	for _, path := range notes {
		n, err := guest.ParseName(filepath.Base(filepath.Dir(path)))
		if err != nil || known(n) {
			continue
		}
		st, err := h.Status(n)
		if err != nil || st.InitPID == 0 {
			continue
		}
		s := proto.Start{Name: n, InitPID: st.InitPID, Console: guest.ConsoleNone, Restart: guest.RestartNever}
		if spec, err := h.Load(n); err == nil {
			s.Console, s.LogSize, s.Restart = spec.Console.Type, spec.Console.LogSize, spec.Restart
		}
		all = append(all, s)
	}
	return all
}

// Exit codes of a vserverd that starts a guest, beside 0 and 1.
const (
	exitRunning  = 3
	exitNotFound = 5
)

// startAside runs `vserverd --start NAME`: a start that dies takes nothing else with
// it, and its memory goes with it.
func startAside(dirs guest.Dirs, n guest.Name) error {
	state, err := aside(dirs, "--start", n)
	switch {
	case err != nil:
		return err
	case state.ExitCode() == exitRunning:
		return guest.ErrRunning
	case state.ExitCode() == exitNotFound:
		return guest.ErrNotFound
	case !state.Success():
		return fmt.Errorf("%s: start: %v", n, state)
	}
	return nil
}

// aside runs vserverd in a role about a guest, and waits for its end.
func aside(dirs guest.Dirs, role string, n guest.Name, words ...string) (*os.ProcessState, error) {
	args := slices.Concat(proto.Args(dirs, role), []string{string(n)}, words)
	p, err := os.StartProcess(program(), args, &os.ProcAttr{
		Dir: "/", Env: proto.Environ(), Files: []*os.File{nil, os.Stderr, os.Stderr},
	})
	if err != nil {
		return nil, err
	}
	return p.Wait()
}

// unprotect gives up vserverd's protection from the OOM killer, which is not for what it
// starts.
func unprotect() { os.WriteFile("/proc/self/oom_score_adj", []byte("0"), 0) }

// afterHere is the process that runs what is to run after a guest's end. What went wrong
// is told, and no more.
func afterHere(dirs guest.Dirs, n guest.Name, why guest.Reason, say func(string, ...any)) int {
	unprotect()
	if err := life.After(context.Background(), dirs, n, why, os.Stderr); err != nil {
		say("%s: %v", n, err)
		return 1
	}
	return 0
}

// startHere is that process.
func startHere(dirs guest.Dirs, n guest.Name, say func(string, ...any)) int {
	unprotect()
	_, err := host.Open(dirs).Start(context.Background(), n, host.StartOptions{Output: os.Stderr, Again: true})
	if err != nil {
		say("%v", err)
	}
	switch {
	case err == nil:
		return 0
	case errors.Is(err, guest.ErrRunning):
		return exitRunning
	case errors.Is(err, guest.ErrNotFound), errors.Is(err, guest.ErrStopped):
		return exitNotFound // nobody wants it to run
	}
	return 1
}
