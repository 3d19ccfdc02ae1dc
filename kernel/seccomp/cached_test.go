package seccomp

import (
	"testing"

	"golang.org/x/sys/unix"
)

// constant tells whether the kernel finds out by itself that a call is allowed whatever
// its arguments, and so does not run the program for it: seccomp_is_const_allow of
// kernel/seccomp.c, which follows loads of number and architecture, and jumps and masks
// by constants. (It reads the program as cBPF.)
func constant(prog []unix.SockFilter, d data) bool {
	var acc uint32
	for pc := 0; pc < len(prog); pc++ {
		i := prog[pc]
		yes := false
		switch i.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			switch i.K {
			case offNr:
				acc = d.nr
			case offArch:
				acc = d.arch
			default:
				return false
			}
			continue
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			acc &= i.K
			continue
		case unix.BPF_RET | unix.BPF_K:
			return i.K == permit
		case unix.BPF_JMP | unix.BPF_JA:
			pc += int(i.K)
			continue
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			yes = acc == i.K
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			yes = acc >= i.K
		case unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K:
			yes = acc&i.K != 0
		default:
			return false
		}
		if yes {
			pc += int(i.Jt)
		} else {
			pc += int(i.Jf)
		}
	}
	return false
}

// What is allowed without a look at arguments costs a bit of the kernel's, not a run of
// the program, under every policy.
func TestConstant(t *testing.T) {
	for name, p := range map[string]Policy{
		"private": {Private: true, Capped: true},
		"hidden":  {Private: true, Capped: true, Notify: true},
		"nesting": {Private: true, Nesting: true},
		"bits32":  {Private: true, Capped: true, Extra: []string{Bits32}},
		"narrow":  {Private: true, Capped: true, Narrow: Narrow{FixNice: true, AskedNodes: true, NoRemount: true}},
		"none":    {},
	} {
		prog, err := Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		a, n := native(), 0
		special := p.specials(a, true)
		for _, b := range a.blocks {
			for i := range len(b.verdicts) {
				nr := b.first + uint32(i)
				if settled(special, nr, p.settle(verdict(b.verdicts[i]))) != allow {
					continue
				}
				n++
				if !constant(prog, data{nr: nr, arch: a.arch}) {
					t.Errorf("%s: the program is run for call %d", name, nr)
				}
			}
		}
		if n < 250 {
			t.Errorf("%s: %d calls", name, n)
		}
	}
}
