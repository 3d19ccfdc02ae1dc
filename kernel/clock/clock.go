// Package clock is the kernel's clocks that a time namespace can shift.
package clock

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// ZeroOffsets is the text for /proc/PID/timens_offsets that makes both clocks begin
// near 0 now (time_namespaces(7), 5.6).
func ZeroOffsets() string {
	return fmt.Sprintf("monotonic -%d 0\nboottime -%d 0\n", seconds(unix.CLOCK_MONOTONIC), seconds(unix.CLOCK_BOOTTIME))
}

// Boot is the time since the boot, that in which the machine slept included, as the
// caller's time namespace has it; 0 when the kernel does not tell.
func Boot() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

func seconds(clock int32) int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(clock, &ts); err != nil {
		return 0
	}
	return int64(ts.Sec)
}
