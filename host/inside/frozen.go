package inside

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"vserver/fault"
	"vserver/guest"
	"vserver/host/state"
)

// thaws waits for the end of a moment in which the guest stands still, as for a snapshot: who has
// it do so holds its lock. In a guest that somebody else has frozen a command would wait for
// ever, which is guest.ErrBusy.
func (in *Guest) thaws(ctx context.Context) error {
	const pause = 10 * time.Millisecond
	for {
		still, err := in.Group.Frozen()
		if err != nil || !still {
			return err
		}
		err = state.Locked(in.dirs, in.name, 0, func() error {
			still, err = in.Group.Frozen()
			return err
		})
		if !errors.Is(err, guest.ErrBusy) {
			if err != nil || !still {
				return err
			}
			return in.frozen()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// frozen names the group, the guest's or one above it, that somebody has frozen.
func (in *Guest) frozen() error {
	file := filepath.Join(in.Group.Path(), "cgroup.freeze")
	for at := file; ; at = filepath.Join(filepath.Dir(filepath.Dir(at)), "cgroup.freeze") {
		text, err := os.ReadFile(at)
		if err != nil { // the top has no such file
			break
		}
		if strings.TrimSpace(string(text)) == "1" {
			file = at
			break
		}
	}
	return fault.Hint(fmt.Errorf("it is frozen, and a command would stand still with it: %w", guest.ErrBusy),
		fmt.Sprintf("`echo 0 >%s` has it go on, `vserver %s stop` ends it", file, in.name))
}
