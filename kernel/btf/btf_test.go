package btf

import (
	"encoding/binary"
	"errors"
	"os"
	"syscall"
	"testing"
)

// made is a description built by hand: an int, struct inner, an unnamed union and
// struct outer with all of these.
func made() []byte {
	var strings, types []byte
	name := func(s string) uint32 {
		at := len(strings)
		strings = append(append(strings, s...), 0)
		return uint32(at)
	}
	put := func(words ...uint32) {
		for _, w := range words {
			types = binary.NativeEndian.AppendUint32(types, w)
		}
	}
	none := name("")
	a, b, c, deep := name("a"), name("b"), name("c"), name("deep")
	put(name("int"), kindInt<<24, 4, 32)                                              // 1
	put(none, kindStruct<<24|2, 8, b, 1, 0, deep, 1, 32)                              // 2
	put(none, kindUnion<<24|2, 8, c, 1, 0, none, 2, 0)                                // 3
	put(name("outer"), kindStruct<<24|2|kindFlag, 16, a, 1, 8<<24, none, 3, 8<<24|64) // 4
	put(name("empty"), kindStruct<<24, 1)                                             // 5
	put(none, kindEnum<<24|2, 4, a, 1, b, 2)                                          // 6
	head := []byte{0, 0, 1, 0}
	binary.NativeEndian.PutUint16(head, 0xeb9f)
	for _, w := range []int{headerSize, 0, len(types), len(types), len(strings)} {
		head = binary.NativeEndian.AppendUint32(head, uint32(w))
	}
	return append(append(head, types...), strings...)
}

func TestFields(t *testing.T) {
	types, err := Parse(made())
	if err != nil {
		t.Fatal(err)
	}
	for field, want := range map[string]int32{"a": 0, "b": 8, "c": 8, "deep": 12} {
		if got, err := types.Field("outer", field); got != want || err != nil {
			t.Errorf("outer.%s at %d, %v; want %d", field, got, err, want)
		}
	}
	for _, no := range [][2]string{{"outer", "d"}, {"int", "a"}, {"empty", "a"}, {"none", "a"}, {"oute", "a"}} {
		if at, err := types.Field(no[0], no[1]); !errors.Is(err, syscall.ENOENT) {
			t.Errorf("%s.%s at %d, %v", no[0], no[1], at, err)
		}
	}
	if n, err := types.Size("outer"); n != 16 || err != nil {
		t.Errorf("outer has %d bytes, %v", n, err)
	}
	if n, err := types.Enumerator("b"); n != 2 || err != nil {
		t.Errorf("b is %d, %v", n, err)
	}
	if _, err := types.Enumerator("deep"); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("a field as an enumerator: %v", err)
	}
	if _, err := types.Size("none"); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("size of nothing: %v", err)
	}
}

func TestKernel(t *testing.T) {
	types, err := Kernel()
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("need btf: this kernel has none")
	}
	if err != nil {
		t.Fatal(err)
	}
	// What cannot change: the beginning of a list's head.
	for field, want := range map[string]int32{"next": 0, "prev": 8} {
		if got, err := types.Field("list_head", field); err != nil || got != want && field == "next" {
			t.Errorf("list_head.%s at %d, %v", field, got, err)
		}
	}
	if len(types.at) < 10000 {
		t.Errorf("%d types", len(types.at))
	}
}

func FuzzParse(f *testing.F) {
	f.Add(made())
	f.Add(made()[:60])
	f.Fuzz(func(t *testing.T, in []byte) {
		types, err := Parse(in)
		if err != nil {
			return
		}
		types.Field("outer", "deep")
		types.Field("", "a")
		types.Size("outer")
		types.Enumerator("b")
	})
}

func BenchmarkKernel(b *testing.B) {
	for b.Loop() {
		types, err := Kernel()
		if err != nil {
			b.Skip(err)
		}
		types.Field("task_struct", "exit_code")
	}
}
