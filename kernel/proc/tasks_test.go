package proc

import (
	"os"
	"runtime"
	"testing"
)

// A program's own threads are all counted, and one of them runs: who asks.
func TestTasks(t *testing.T) {
	d, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	done := make(chan bool)
	for range 3 {
		go func() {
			runtime.LockOSThread() // until its end: each has a thread
			<-done
		}()
	}
	defer close(done)
	runtime.Gosched()
	got, err := d.Tasks([]int{os.Getpid(), 1 << 30})
	if err != nil || got.All < 2 || got.Running < 1 || got.Running+got.Blocked > got.All {
		t.Errorf("%+v, %v", got, err)
	}
}
