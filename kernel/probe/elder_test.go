package probe

import "testing"

func TestElders(t *testing.T) {
	for _, c := range []struct {
		filesystems, cmdline string
		ok                   bool
	}{
		{"nodev\tcgroup\nnodev\tcgroup2\n", "quiet", true},
		{"nodev\tcgroup2\n", "quiet", false},
		{"nodev\tcgroup\n", "quiet cgroup_no_v1=all", true},
		{"nodev\tcgroup\n", "cgroup_no_v1=all,named", false},
	} {
		if err := named(c.filesystems, c.cmdline); err == nil != c.ok {
			t.Errorf("%q, %q: %v", c.filesystems, c.cmdline, err)
		}
	}
	const page = "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n"
	if mapped("7ff-800 r-xp 0 00:00 0 [vdso]\n"+page) != nil || mapped("7ff-800 r-xp 0 00:00 0 [vdso]\n") == nil {
		t.Error("vsyscall")
	}
}
