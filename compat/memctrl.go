package compat

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"vserver/kernel/ns"
)

// newVmemctrl shows or sets how soon processes are killed for want of memory. The old
// kernel had a number of the context, which it added to that of each process; here it is
// oom_score_adj of proc(5), which processes hand on to their children.
func newVmemctrl(c *call) run {
	set := c.flags.Bool("set", false, "set the badness")
	get := c.flags.Bool("get", false, "print it, that of the first process")
	xid := c.flags.String("xid", "", "context `X`: its number, the name of a guest, or self, as without it")
	badness := c.flags.Int("badness", 0, "`N` from -1000, never killed, to 1000")
	return func(words []string) error {
		if *set == *get || *set && !c.flags.Changed("badness") {
			return usagef("want --get, or --set with --badness N")
		}
		s, err := c.subject(*xid)
		if err != nil {
			return err
		}
		defer s.close()
		if *get {
			if err := c.badness(s); err != nil {
				return err
			}
			return become(words)
		}
		pids := []int{os.Getpid()}
		if !s.self && s.xid != 0 {
			if pids, err = c.members(s); err != nil {
				return err
			}
		}
		for _, pid := range pids {
			err := ns.Write(pid, "oom_score_adj", strconv.Itoa(*badness))
			if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.ESRCH) { // it may have ended
				return err
			}
		}
		return become(words)
	}
}

// badness prints that of a subject.
func (c *call) badness(s subject) error {
	pid := os.Getpid()
	if !s.self && s.xid != 0 {
		var err error
		if pid, err = c.first(s); err != nil {
			return err
		}
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid))
	if err == nil {
		_, err = fmt.Fprintln(c.out, strings.TrimSpace(string(text)))
	}
	return err
}

// members are the processes of a context or guest.
func (c *call) members(s subject) ([]int, error) {
	cg, path, err := c.group(s)
	if err != nil {
		return nil, err
	}
	g, err := cg.Open(path)
	if err != nil {
		return nil, err
	}
	defer g.Close()
	return g.Procs()
}
