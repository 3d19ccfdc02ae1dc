package guest

import "testing"

func TestViews(t *testing.T) {
	all := VirtMem | VirtCPU | VirtLoad | VirtUptime
	for _, c := range []struct {
		flags  []string
		limits Limits
		want   ViewFlags
		bad    bool
	}{
		{want: 0},
		{limits: Limits{Memory: 1 << 30}, want: all},
		{limits: Limits{CPUs: 1.5}, flags: []string{"!virt_load"}, want: all &^ VirtLoad},
		{limits: Limits{CPUSet: "0-1"}, flags: []string{"virt_mem", "hide_mount"}, want: all},
		{flags: []string{"VIRT_MEM", "virt_cpu"}, want: VirtMem | VirtCPU},
		{flags: []string{"!virt_uptime"}, want: HostTime},
		{limits: Limits{Memory: 1 << 30}, flags: []string{"VXF_VIRT_MEM", "~virt_load"}, want: all &^ VirtLoad},
		{flags: []string{"virt_time"}, bad: true},
		{flags: []string{"!hide_mount"}, bad: true},
	} {
		s := Spec{View: View{Flags: c.flags}, Limits: c.limits}
		got, err := s.Views()
		v := &validator{}
		v.view(&s)
		if (err != nil) != c.bad || (len(v.problems) > 0) != c.bad || !c.bad && got != c.want {
			t.Errorf("%v %v: %b, %v, %v; want %b", c.flags, c.limits, got, err, v.problems, c.want)
		}
	}
}
