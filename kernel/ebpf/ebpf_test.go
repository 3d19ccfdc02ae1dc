package ebpf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"vserver/internal/need"
)

func TestMain(m *testing.M) { need.Main(m) }

func TestMap(t *testing.T) {
	need.Root(t)
	fd, err := NewMap(MapSpec{Name: "a_name_that_is_too_long", Kind: Hash, Key: 4, Value: 8, Entries: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	one, value := []byte{1, 0, 0, 0}, []byte("12345678")
	got := make([]byte, 8)
	if err := Get(fd, one, got); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("get from an empty map: %v", err)
	}
	if err := Insert(fd, one, value); err != nil {
		t.Error(err)
	}
	if err := Insert(fd, one, make([]byte, 8)); !errors.Is(err, os.ErrExist) {
		t.Errorf("insert twice: %v", err)
	}
	if err := Get(fd, one, got); err != nil || !bytes.Equal(got, value) {
		t.Errorf("get: %q, %v", got, err)
	}
	if err := Delete(fd, one); err != nil {
		t.Error(err)
	}
	if err := Delete(fd, one); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("delete twice: %v", err)
	}
	if err := Insert(-1, one, value); !errors.Is(err, syscall.EBADF) {
		t.Errorf("insert nowhere: %v", err)
	}
}

// A program that counts: note[0] += 1 when it is there.
func count(m int) []Instruction {
	p := []Instruction{StoreImm(FP, -4, 0, Word)}
	p = append(p, Map(R1, m)...)
	return append(p,
		Mov(R2, FP), AddImm(R2, -4), Call(MapLookup),
		JumpIfZero(R0, "out"),
		Load(R1, R0, 0, DWord), AddImm(R1, 1), Store(R0, 0, R1, DWord),
		Labelled("out", MovImm(R0, 0)), Exit())
}

func TestRun(t *testing.T) {
	need.Root(t)
	m, err := NewMap(MapSpec{Name: "test", Kind: Hash, Key: 4, Value: 8, Entries: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(m)
	prog, err := LoadRawTracepoint("test", count(m))
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(prog)
	link, err := AttachRawTracepoint("sched_process_exit", prog)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(link)
	zero, n := make([]byte, 4), make([]byte, 8)
	if err := Insert(m, zero, n); err != nil {
		t.Fatal(err)
	}
	exec.Command("true").Run()
	if err := Get(m, zero, n); err != nil || bytes.Equal(n, make([]byte, 8)) {
		t.Errorf("nothing counted: %v, %v", n, err)
	}
}

func TestRefused(t *testing.T) {
	need.Root(t)
	_, err := LoadRawTracepoint("bad", []Instruction{Load(R0, R1, -8, DWord), Exit()})
	if !errors.Is(err, syscall.EACCES) && !errors.Is(err, syscall.EINVAL) || !strings.Contains(err.Error(), "(") {
		t.Errorf("a bad program: %v", err)
	}
	if _, err := AttachRawTracepoint("no_such_thing", -1); err == nil {
		t.Error("attached nothing to nowhere")
	}
}

func TestAssemble(t *testing.T) {
	code, err := Assemble([]Instruction{JumpIfZero(R1, "x"), MovImm(R0, 7), Labelled("x", Exit())})
	if err != nil || len(code) != 24 || code[2] != 1 && code[3] != 1 {
		t.Errorf("code %x, %v", code, err)
	}
	for _, bad := range [][]Instruction{{JumpIfZero(R1, "x")}, {Labelled("x", Exit()), JumpIfZero(R1, "x")}} {
		if _, err := Assemble(bad); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%s: %v", Text(bad), err)
		}
	}
	for want, i := range map[string]Instruction{
		"r1 = *(u64 *)(fp -16)": Load(R1, FP, -16, DWord),
		"*(u32 *)(r7 +4) = r1":  Store(R7, 4, R1, Word),
		"*(u32 *)(fp -4) = 0":   StoreImm(FP, -4, 0, Word),
		"r0 >>= 32":             ShiftRight(R0, 32),
		"r1 *= 16":              MulImm(R1, 16),
		"r6 += r1":              Add(R6, R1),
		"if r0 == 0 goto out":   JumpIfZero(R0, "out"),
	} {
		if i.Text != want {
			t.Errorf("%q, want %q", i.Text, want)
		}
	}
	if Pointer(32).Bytes() != 4 || Pointer(64).Bytes() != 8 {
		t.Error("pointer sizes")
	}
}

// Many elements in a row are taken, though the kernel has no memory for them at hand.
func TestInsertMany(t *testing.T) {
	need.Root(t)
	const entries = 20000
	m, err := NewMap(MapSpec{Name: "many", Kind: PerCPUHash, Key: 8, Value: 96, Entries: entries})
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(m)
	value := make([]byte, 96*runtime.NumCPU())
	for i := range uint64(entries) {
		if err := Insert(m, binary.NativeEndian.AppendUint64(nil, i), value); err != nil {
			t.Fatalf("element %d: %v", i, err)
		}
	}
}
