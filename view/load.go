package view

import (
	"fmt"
	"time"

	"vserver/kernel/proc"
)

// Load is the three load averages in the kernel's fixed point: 11 bits behind the point
// (linux/sched/loadavg.h).
type Load [3]uint64

// LoadEvery is how often the kernel looks how many tasks there are.
const LoadEvery = 5 * time.Second

const (
	loadShift = 11
	loadOne   = 1 << loadShift
)

// Next is the load after another LoadEvery, in which active tasks were running or in
// uninterruptible sleep: the kernel's calc_load.
func (l Load) Next(active int) Load {
	// 1/exp(5s/1min), 1/exp(5s/5min), 1/exp(5s/15min)
	for i, exp := range [3]uint64{1884, 2014, 2037} {
		n := uint64(max(0, active)) * loadOne
		sum := l[i]*exp + n*(loadOne-exp)
		if n >= l[i] {
			sum += loadOne - 1
		}
		l[i] = sum / loadOne
	}
	return l
}

// Loadavg gives a guest's /proc/loadavg. The number of the last process is not told.
func Loadavg(l Load, tasks proc.Tasks) []byte {
	var out []byte
	for _, v := range l {
		v += loadOne / 200 // rounds
		out = fmt.Appendf(out, "%d.%02d ", v>>loadShift, (v&(loadOne-1))*100>>loadShift)
	}
	return fmt.Appendf(out, "%d/%d 1\n", max(1, tasks.Running), max(1, tasks.All))
}
