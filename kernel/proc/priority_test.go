package proc

import (
	"os/exec"
	"slices"
	"testing"
)

// What a process has is told, and changed.
func TestPriorities(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	pid := cmd.Process.Pid
	if tids, err := Threads(pid); err != nil || !slices.Equal(tids, []int{pid}) {
		t.Errorf("threads %v, %v", tids, err)
	}
	for name, of := range map[string]func(int, *int) (int, error){"niceness": Niceness, "priority": Priority, "badness": Badness} {
		was, err := of(pid, nil)
		to := map[string]int{"niceness": 7, "priority": 3 << 13, "badness": 500}[name]
		before, err2 := of(pid, &to)
		now, err3 := of(pid, nil)
		if err != nil || err2 != nil || err3 != nil || before != was || was == to || now != to {
			t.Errorf("%s: was %d, %d, is %d: %v, %v, %v", name, was, before, now, err, err2, err3)
		}
	}
}
