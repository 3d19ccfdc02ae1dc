package host

import (
	"errors"
	"fmt"
	"testing"

	"vserver/guest"
	"vserver/internal/need"
	"vserver/step"
)

// Who is killed at any step of a start or stop leaves no mount and no loop device.
func TestImageKilled(t *testing.T) {
	need.Swift(t)
	w := imaged(t)
	n := w.guest("web1", nil)
	w.set(n, "limits.disk=64M")
	steps, err := w.PlanStart(n)
	if err != nil {
		t.Fatal(err)
	}
	for k, s := range steps {
		if out, err := w.program(fmt.Sprintf("%s=start:%d", step.DieVar, k), string(n), "start"); err == nil {
			t.Fatalf("step %d (%s): was not killed: %s", k, s, out)
		}
		if k%2 == 0 {
			if out, err := w.program("", string(n), "start"); err != nil {
				t.Fatalf("start after a kill after %d (%s): %v: %s", k, s, err, out)
			}
		}
		if err := w.Stop(t.Context(), n, StopOptions{Kill: true}); err != nil && !errors.Is(err, guest.ErrStopped) {
			t.Fatalf("stop after a kill after %d (%s): %v", k, s, err)
		}
		w.devices()
	}
	if steps, err = w.PlanStop(n); err != nil {
		t.Fatal(err)
	}
	for k := range steps {
		w.start(n)
		w.program(fmt.Sprintf("%s=stop:%d", step.DieVar, k), string(n), "stop")
		if err := w.Stop(t.Context(), n, StopOptions{Kill: true}); err != nil && !errors.Is(err, guest.ErrStopped) {
			t.Fatal(err)
		}
		w.devices()
	}
}
