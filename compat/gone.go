package compat

import (
	"slices"
)

// gone makes a tool that a stock kernel has no part for: whatever its options, it says
// what to do instead.
func gone(what, instead string) func(*call) run {
	return func(c *call) run {
		return func([]string) error { return lacking(what, instead) }
	}
}

// newUnhide has nothing to do: each guest has a /proc of its own.
func newUnhide(*call) run { return func([]string) error { return nil } }

// newTag runs the command of `vtag --silent ... -- COMMAND`, as the old tool did on a
// kernel without tags, and otherwise says what there is.
func newTag(*call) run {
	return func(args []string) error {
		n := slices.Index(args, "--")
		if n < 0 || !slices.Contains(args[:n], "--silent") || n+1 == len(args) {
			return lacking("no tags of processes on a stock kernel", "a guest's files get its project by limits.disk, and others by `chxid -c N FILE`")
		}
		return become(args[n+1:])
	}
}
