package seccomp

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// data is struct seccomp_data.
type data struct {
	nr, arch uint32
	args     [6]uint64
}

func (d data) bytes() []byte {
	b := binary.LittleEndian.AppendUint32(nil, d.nr)
	b = binary.LittleEndian.AppendUint32(b, d.arch)
	b = binary.LittleEndian.AppendUint64(b, 0) // instruction pointer
	for _, a := range d.args {
		b = binary.LittleEndian.AppendUint64(b, a)
	}
	return b
}

// run interprets a program as the kernel does; it fails on what the kernel refuses.
func run(t testing.TB, prog []unix.SockFilter, d data) (result uint32, steps int) {
	t.Helper()
	in := d.bytes()
	var acc uint32
	for pc := 0; ; pc++ {
		if pc >= len(prog) {
			t.Fatalf("program of %d instructions left at its end", len(prog))
		}
		i := prog[pc]
		steps++
		skip := func(yes bool) {
			if yes {
				pc += int(i.Jt)
			} else {
				pc += int(i.Jf)
			}
		}
		switch i.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			if i.K%4 != 0 || int(i.K)+4 > len(in) {
				t.Fatalf("%d: load at %d", pc, i.K)
			}
			acc = binary.LittleEndian.Uint32(in[i.K:])
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			acc &= i.K
		case unix.BPF_JMP | unix.BPF_JA:
			pc += int(i.K)
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			skip(acc == i.K)
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			skip(acc >= i.K)
		case unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K:
			skip(acc&i.K != 0)
		case unix.BPF_RET | unix.BPF_K:
			return i.K, steps
		default:
			t.Fatalf("%d: instruction %#x", pc, i.Code)
		}
	}
}

// listing writes a program for a reader.
func listing(prog []unix.SockFilter) string {
	var b strings.Builder
	for pc, i := range prog {
		yes, no := pc+1+int(i.Jt), pc+1+int(i.Jf)
		fmt.Fprintf(&b, "%3d ", pc)
		switch i.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			fmt.Fprintf(&b, "ld %d\n", i.K)
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			fmt.Fprintf(&b, "and %#x\n", i.K)
		case unix.BPF_JMP | unix.BPF_JA:
			fmt.Fprintf(&b, "ja %d\n", pc+1+int(i.K))
		case unix.BPF_RET | unix.BPF_K:
			fmt.Fprintf(&b, "ret %s\n", said(i.K))
		default:
			word := map[uint16]string{unix.BPF_JEQ: "jeq", unix.BPF_JGE: "jge", unix.BPF_JSET: "jset"}[i.Code&0xf0]
			fmt.Fprintf(&b, "%s %#x %d %d\n", word, i.K, yes, no)
		}
	}
	return b.String()
}

// said names the result of a program.
func said(ret uint32) string {
	if ret == unix.SECCOMP_RET_ALLOW {
		return "allow"
	}
	if ret == unix.SECCOMP_RET_USER_NOTIF {
		return "notify"
	}
	if ret&unix.SECCOMP_RET_ACTION_FULL == unix.SECCOMP_RET_ERRNO {
		return unix.ErrnoName(unix.Errno(ret & unix.SECCOMP_RET_DATA))
	}
	return fmt.Sprintf("%#x", ret)
}
