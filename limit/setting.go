package limit

import (
	"slices"
	"strings"

	"vserver/guest"
	"vserver/kernel/cgroup"
)

// setting is a limit in the words of the kernel.
type setting struct {
	name       string // in the spec, below limits
	controller string
	v2, v1     value
	optional   bool   // a kernel that lacks it has nothing to bound
	inherit    bool   // of v1: without a value of its own, a group needs that of the one above
	instead    string // what holds nearly as well where this is not to be had
	// ready is asked before the value is written to a v2 group, and held afterwards.
	ready, held func(*cgroup.Group) error
}

// value is what stands in a file of a group.
type value struct {
	file  string // "": this kind of hierarchy has no such thing
	text  string
	first *value // to be written before, when this is: it would not let it be
	// A file with a line for each device: the lines wanted, which begin with the device,
	// and what is written behind one that is not wanted.
	lines  []string
	clear  string
	byLine bool
}

// write is one write to a file, and the one that takes it back.
type write struct{ text, back string }

// writes gives what must be written to a file whose content is now.
func (v value) writes(now string) (list []write) {
	if !v.byLine {
		if v.text != now && !(v.text == "-1" && unbounded(now)) {
			list = append(list, write{v.text, now})
		}
		return list
	}
	there := map[string]string{}
	for line := range strings.Lines(now) {
		line = strings.TrimSpace(line)
		if device, _, ok := strings.Cut(line, " "); ok {
			there[device] = line
		}
	}
	for _, line := range v.lines {
		device, _, _ := strings.Cut(line, " ")
		back, ok := there[device]
		if !ok {
			back = device + " " + v.clear
		}
		if line != back {
			list = append(list, write{line, back})
		}
		delete(there, device)
	}
	for device, line := range there {
		if gone := device + " " + v.clear; gone != line {
			list = append(list, write{gone, line})
		}
	}
	slices.SortFunc(list, func(a, b write) int { return strings.Compare(a.text, b.text) })
	return list
}

// unbounded tells what v1 files show when -1 was written: the highest number of bytes in
// whole pages.
func unbounded(now string) bool { return len(now) == 19 && now[0] == '9' }

// lists are the settings of a guest: those that it asks for, and those that it does not
// ask for, with the values that mean nothing.
type lists struct{ set, lifted []setting }

func (l *lists) add(asked bool, s setting) {
	if asked {
		l.set = append(l.set, s)
	} else {
		l.lifted = append(l.lifted, s)
	}
}

// settings gives the settings of all limits. The error is guest.ErrInvalid for a device
// that is none, guest.ErrUnsupported for what no host can hold.
func settings(l guest.Limits) (lists, error) {
	var all lists
	all.cpu(&l)
	all.memory(&l)
	pids := numberOr(int64(l.Pids), "max")
	all.add(l.Pids > 0, setting{name: "pids", controller: "pids", v2: value{file: "pids.max", text: pids}, v1: value{file: "pids.max", text: pids}})
	return all, all.io(&l)
}
