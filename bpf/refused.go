package bpf

import (
	"slices"
	"strings"
	"syscall"

	"vserver/guest"
	"vserver/kernel/ebpf"
)

// Refusal is a function of the kernel's that says no where a ceiling is reached.
type Refusal struct {
	Function string
	// no goes on to "no" when what the function returned, in r0, says so.
	no func(*text)
	// argument is the place of the one that tells the ceiling, by an enumerator that begins
	// with Prefix; without that the function is there for One alone.
	argument int
	Prefix   string
	Names    []string // of the ceilings that are told apart so, as guest.Ceilings has them
	One      string
}

// Refusals are those functions. Few of them are ever called but where a ceiling is: those
// of rlimits by fork and by signals, where the look costs what a call of a function does.
func Refusals() []Refusal {
	null := func(t *text) { t.null(r0, "no") }
	errno := func(e syscall.Errno) func(*text) { return func(t *text) { t.is(r0, -int32(e), "no") } }
	most := func(t *text) { // LONG_MAX
		t.set(r1, -1)
		t.add(ebpf.ShiftRight(r1, 1), ebpf.JumpIfReg(r0, ebpf.Equal, r1, "no"))
	}
	var counted []string
	for _, name := range guest.CeilingNames() {
		if strings.HasSuffix(name, "_namespaces") || strings.HasPrefix(name, "inotify_") || strings.HasPrefix(name, "fanotify_") {
			counted = append(counted, name)
		}
	}
	return []Refusal{
		{Function: "inc_ucount", no: null, argument: 2, Prefix: "UCOUNT_", Names: counted},
		{Function: "inc_rlimit_ucounts", no: most, argument: 1, Prefix: "UCOUNT_RLIMIT_", Names: []string{"msgqueue", "memlock"}},
		{Function: "inc_rlimit_get_ucounts", no: null, argument: 1, Prefix: "UCOUNT_RLIMIT_", Names: []string{"sigpending"}},
		{Function: "devpts_new_index", no: errno(syscall.ENOSPC), One: "ptys"},
		{Function: "cgroup_mkdir", no: errno(syscall.EAGAIN), One: "cgroups"},
	}
}

// counted are the ceilings that it is there for.
func (r Refusal) counted() []string {
	if r.One != "" {
		return []string{r.One}
	}
	return r.Names
}

// ceilings are the places in the map of what Refused counts, by the order of
// guest.Ceilings, and some more for those to come.
const ceilings = 24

// refusedMap is the name of that map, and of the programs.
const refusedMap = "vserver_refused"

// refusedSize is the size of what that map holds of a group.
const refusedSize = 8 * ceilings

// Refused counts in the map refused, from the id of a group to a u64 for each ceiling, how
// often the function said no to a process in a group at Level. values are the enumerators of
// Names, in that order. It is called when the function returns:
//
//	if the result is not a no: return
//	place = that of the ceiling which the argument tells; none: return
//	id = the process's group at Level; none: return
//	refused[id][place]++
//
// A process of no guest's may be in a group there, too: nobody asks for its counts.
func (r Refusal) Refused(refused int, level int32, values []int32) []ebpf.Instruction {
	const zeros = stackID - refusedSize // on the stack
	t := &text{}
	t.mov(ctx, r1)
	t.stack(r2, stackID)
	t.call(ebpf.FuncRet)
	t.load8(r0, fp, stackID)
	r.no(t)
	t.jump("out")
	t.here("no")
	r.place(t, values)
	t.here("known")
	t.set(r1, level)
	t.call(ebpf.CurrentAncestorCgroupID)
	t.null(r0, "out")
	t.store8(fp, stackID, r0)
	t.lookup(refused, stackID)
	t.null(r0, "new")
	t.jump("there")
	t.here("new")
	for at := range ceilings {
		t.put8(fp, int16(zeros+8*at), 0)
	}
	t.add(ebpf.Map(r1, refused)...)
	t.stack(r2, stackID)
	t.stack(r3, zeros)
	t.set(r4, 1) // BPF_NOEXIST
	t.call(ebpf.MapUpdate)
	t.lookup(refused, stackID)
	t.null(r0, "out")
	t.here("there")
	t.add(ebpf.Add(r0, addr))
	t.set(r1, 1)
	t.add(ebpf.AtomicAdd(r0, 0, r1, ebpf.DWord))
	t.here("out")
	t.set(r0, 0)
	t.add(ebpf.Exit())
	return ebpf.Reached(t.code)
}

// place is addr = the offset of the ceiling's count; it goes on to known, or to out.
func (r Refusal) place(t *text, values []int32) {
	at := func(name string) int32 { return 8 * int32(slices.Index(guest.CeilingNames(), name)) }
	if r.One != "" {
		t.set(addr, at(r.One))
		return
	}
	t.load8(r1, ctx, int16(8*r.argument))
	for i, name := range r.Names {
		t.set(addr, at(name))
		t.is(r1, values[i], "known")
	}
	t.jump("out")
}
