// Package step runs a table of steps forward and undoes it backward.
//
// Start, stop, build, delete and rename are such tables. A start walks its table
// forward; a failed start, a stop and the recovery after a killed tool walk the
// same table backward. So there is no second list of what must be taken down, and
// no flag that remembers what was done: Undo works from names alone, succeeds when
// there is nothing to undo, and may be called in a process that never called Do.
package step

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// Step is one reversible change to the machine.
type Step struct {
	// Name says what Do does, in the imperative, as --dry-run prints it.
	Name string
	// Do makes the change. It may leave half of it behind on failure: Run calls
	// Undo of the step that failed as well.
	Do func(context.Context) error
	// Undo takes the change back, wholly or what there is of it. nil when the step
	// changes nothing that outlives the process.
	Undo func() error
}

// String returns the step's name.
func (s Step) String() string { return s.Name }

// Run does the steps of the table called op in order. When one fails, or ctx ends,
// those done so far are undone backward and the error names the step; errors of the
// undoing are joined to it.
func Run(ctx context.Context, op string, steps []Step) error {
	die := dieAfter(op)
	for i, s := range steps {
		err := ctx.Err()
		if err == nil && s.Do != nil {
			err = s.Do(ctx)
		}
		if err != nil {
			if undo := Undo(steps[:i+1]); undo != nil {
				return fmt.Errorf("%w (undo: %w)", err, undo)
			}
			return err
		}
		die(i)
	}
	return nil
}

// Undo takes the steps back, last first, and goes on over failures.
func Undo(steps []Step) error {
	var errs []error
	for i := len(steps) - 1; i >= 0; i-- {
		if steps[i].Undo == nil {
			continue
		}
		if err := steps[i].Undo(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", steps[i].Name, err))
		}
	}
	return errors.Join(errs...)
}

// DieVar names the environment variable by which the crash tests have the tool
// killed: "start:3" kills it with SIGKILL right after step 3 (from 0) of the table
// start, as a power cut or an impatient administrator would.
const DieVar = "VSERVER_DIE_AFTER"

func dieAfter(op string) func(int) {
	at, ok := strings.CutPrefix(os.Getenv(DieVar), op+":")
	n, err := strconv.Atoi(at)
	if !ok || err != nil {
		return func(int) {}
	}
	return func(i int) {
		if i == n {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
	}
}
