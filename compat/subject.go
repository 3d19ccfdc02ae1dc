package compat

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"vserver/guest"
	"vserver/host"
	"vserver/kernel/cgroup"
	"vserver/vcontext/alone"
)

// subject is whom --xid means: a guest, a context without one, or the host.
type subject struct {
	xid   guest.XID
	guest guest.Name     // "" for others
	alone *alone.Context // nil for others
	self  bool           // we are in it
}

func (s subject) close() {
	if s.alone != nil {
		s.alone.Close()
	}
}

// subject finds whom a word means; "" and "self" are the context that we are in. close
// must follow.
func (c *call) subject(word string) (subject, error) {
	d := c.host.Dirs
	if word == "" || word == "self" {
		id := alone.Own(d)
		if id == 0 {
			return subject{}, nil
		}
		x, err := alone.Open(d, id)
		return subject{xid: id, alone: x, self: true}, err
	}
	if n, err := strconv.ParseUint(word, 10, 16); err == nil {
		if n == 0 {
			return subject{}, nil
		}
		x, err := alone.Open(d, guest.XID(n))
		if err == nil {
			return subject{xid: guest.XID(n), alone: x}, nil
		}
		if !errors.Is(err, guest.ErrNotFound) {
			return subject{}, err
		}
	}
	n, err := host.Find(c.host, word)
	if err != nil {
		return subject{}, usage{err}
	}
	spec, err := c.host.Load(n)
	if errors.Is(err, guest.ErrNotFound) {
		return subject{}, fmt.Errorf("context %s: %w", word, guest.NoSuch("context"))
	}
	if err != nil {
		return subject{}, err
	}
	return subject{xid: spec.XID, guest: n}, nil
}

// group is the place of the subject's control group.
func (c *call) group(s subject) (cgroup.Host, string, error) {
	cg, err := cgroup.Find()
	if err != nil {
		return cg, "", err
	}
	if s.alone != nil {
		path, err := s.alone.Path()
		return cg, path, err
	}
	if st, err := c.host.Status(s.guest); err != nil || st.InitPID == 0 {
		return cg, "", errors.Join(err, fmt.Errorf("%s: %w", s.guest, guest.ErrStopped))
	}
	return cg, c.host.Dirs.Group(s.guest), nil
}

// first is the pid of a process of the subject's: of its first one, or ours. A process
// in a context does not see who was first by the host's numbers.
func (c *call) first(s subject) (int, error) {
	if s.self {
		return os.Getpid(), nil
	}
	if s.alone != nil {
		return s.alone.First()
	}
	st, err := c.host.Status(s.guest)
	if err == nil && st.InitPID == 0 {
		err = fmt.Errorf("%s: %w", s.guest, guest.ErrStopped)
	}
	return st.InitPID, err
}

// words splits what an option says at its commas.
func words(values []string) (all []string) {
	for _, v := range values {
		for w := range strings.SplitSeq(v, ",") {
			if w = strings.TrimSpace(w); w != "" {
				all = append(all, w)
			}
		}
	}
	return all
}
