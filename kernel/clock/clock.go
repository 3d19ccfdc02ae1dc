// Package clock is the kernel's clocks that a time namespace can shift.
package clock

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// ZeroOffsets is the text for /proc/PID/timens_offsets that makes both clocks begin
// near 0 now (time_namespaces(7), 5.6).
func ZeroOffsets() string {
	return fmt.Sprintf("monotonic -%d 0\nboottime -%d 0\n", seconds(unix.CLOCK_MONOTONIC), seconds(unix.CLOCK_BOOTTIME))
}

func seconds(clock int32) int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(clock, &ts); err != nil {
		return 0
	}
	return int64(ts.Sec)
}
