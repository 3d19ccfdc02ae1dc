package step

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// journal is a table of n steps that write down what is done.
func journal(n, failing int) (steps []Step, log *[]string) {
	log = new([]string)
	for i := range n {
		steps = append(steps, Step{Name: fmt.Sprint("step ", i),
			Do: func(context.Context) error {
				*log = append(*log, fmt.Sprint("do ", i))
				if i == failing {
					return errors.New("no")
				}
				return nil
			},
			Undo: func() error {
				*log = append(*log, fmt.Sprint("undo ", i))
				return nil
			}})
	}
	return steps, log
}

func TestRun(t *testing.T) {
	steps, log := journal(3, -1)
	if err := Run(t.Context(), "start", steps); err != nil {
		t.Error(err)
	}
	if want := []string{"do 0", "do 1", "do 2"}; !slices.Equal(*log, want) {
		t.Errorf("%v, want %v", *log, want)
	}
}

// What failed is undone as well: half of it may have been done.
func TestRunFails(t *testing.T) {
	steps, log := journal(4, 2)
	steps[1].Undo = nil
	if err := Run(t.Context(), "start", steps); err == nil || err.Error() != "no" {
		t.Error(err)
	}
	if want := []string{"do 0", "do 1", "do 2", "undo 2", "undo 0"}; !slices.Equal(*log, want) {
		t.Errorf("%v, want %v", *log, want)
	}
}

func TestRunEnds(t *testing.T) {
	steps, log := journal(3, -1)
	ctx, cancel := context.WithCancel(t.Context())
	steps[1].Do = func(context.Context) error { cancel(); return nil }
	if err := Run(ctx, "start", steps); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if want := []string{"do 0", "undo 2", "undo 1", "undo 0"}; !slices.Equal(*log, want) {
		t.Errorf("%v, want %v", *log, want)
	}
}

// An undoing that fails keeps none of the others from being done, and is told.
func TestUndoFails(t *testing.T) {
	steps, log := journal(3, 2)
	bad := errors.New("busy")
	steps[1].Undo = func() error { return bad }
	err := Run(t.Context(), "start", steps)
	if !errors.Is(err, bad) || !strings.Contains(err.Error(), "no (undo: step 1: busy)") {
		t.Error(err)
	}
	if want := "undo 0"; !slices.Contains(*log, want) {
		t.Errorf("%v has no %q", *log, want)
	}
}

// The crash tests' way of dying works, for the table it names and for no other.
func TestDie(t *testing.T) {
	if os.Getenv("STEP_CHILD") != "" {
		steps, _ := journal(3, -1)
		Run(t.Context(), "stop", steps)
		Run(t.Context(), "start", steps)
		return
	}
	c := exec.Command(os.Args[0], "-test.run=^TestDie$")
	c.Env = append(os.Environ(), "STEP_CHILD=1", DieVar+"=start:1")
	err := c.Run()
	if ws := c.ProcessState.Sys().(syscall.WaitStatus); err == nil || ws.Signal() != syscall.SIGKILL {
		t.Errorf("ended with %v", err)
	}
}
