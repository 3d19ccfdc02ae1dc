package usage

import (
	"vserver/guest"
	"vserver/kernel/proc"
)

// Held says how many files processes have open, one that several share counted for each. Nothing
// limits these but other limits: doc/isolation.md says which. Nil when they cannot be counted.
func Held(pids []int) []guest.Pool {
	d, err := proc.Open()
	if err != nil {
		return nil
	}
	defer d.Close()
	files := guest.Pool{Name: "files"}
	for _, pid := range pids {
		n, _ := d.Files(pid) // none of one that has ended
		files.Used += int64(n)
	}
	return []guest.Pool{files}
}
