package private

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"vserver/guest"
	"vserver/kernel/file"
)

// patience bounds the wait for what is held for some milliseconds.
const patience = 30 * time.Second

// lock keeps others from making and removing bridges and published ports: what is
// there for several guests and goes with the last.
func lock(dirs guest.Dirs) (unlock func(), err error) {
	if err := os.MkdirAll(dirs.Run, 0o700); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	l, err := file.WaitLock(ctx, filepath.Join(dirs.Run, "network.lock"))
	if err != nil {
		return nil, err
	}
	return func() { l.Unlock() }, nil
}
