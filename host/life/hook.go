package life

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"time"

	"vserver/guest"
)

// hookTime bounds a hook: one that hangs would hang the guest's lock with it.
const hookTime = 5 * time.Minute

// runHook runs one program of the host for a point of a guest's life, with the
// point's name and the guest's name as arguments.
func runHook(ctx context.Context, program, point string, n guest.Name, output io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, hookTime)
	defer cancel()
	c := exec.CommandContext(ctx, program, point, string(n))
	c.Stdout, c.Stderr = output, output
	c.WaitDelay = time.Second // for what the hook left running with its output open
	if err := c.Run(); err != nil {
		return fmt.Errorf("hook %s %s: %w", point, program, err)
	}
	return nil
}
