package usage

import (
	"vserver/guest"
	"vserver/kernel/proc"
)

// Held says how many files processes have open, one that several share counted for each, and
// how many locks on files they hold or wait for. Nothing limits these but other limits:
// doc/isolation.md says which. Nil when they cannot be counted.
func Held(pids []int) []guest.Pool {
	d, err := proc.Open()
	if err != nil {
		return nil
	}
	defer d.Close()
	locks, err := d.Locks()
	if err != nil {
		return nil
	}
	held := []guest.Pool{{Name: "files"}, {Name: "locks"}}
	for _, pid := range pids {
		n, _ := d.Files(pid) // none of one that has ended
		held[0].Used += int64(n)
		held[1].Used += int64(locks[pid])
	}
	return held
}
