package early

import (
	"testing"
	"unsafe"

	"vserver/internal/need"
)

func TestMain(m *testing.M) { need.Main(m) }

// text is a text as the kernel leaves it.
func text(s string) unsafe.Pointer { return unsafe.Pointer(&append([]byte(s), 0)[0]) }

func TestWords(t *testing.T) {
	// One word, 0, two of the environment, 0.
	stack := []unsafe.Pointer{nil, text("/usr/sbin/vserver"), nil, text("A=1"), text("B="), nil}
	*(*int)(unsafe.Pointer(&stack[0])) = 1
	argv := unsafe.Pointer(&stack[1])
	if !Is(Last(Word(argv, 0)), "vserver") || Is(Word(argv, 0), "vserver") || Is(Last(Word(argv, 0)), "vserve") {
		t.Error("the program's name")
	}
	env := Environ(unsafe.Pointer(&stack[0]))
	if value := Behind(Word(env, 0), "A="); value == nil || Char(value, 0) != '1' {
		t.Error("the first of the environment")
	}
	if value := Behind(Word(env, 1), "B="); value == nil || !Is(value, "") || Behind(Word(env, 1), "BB") != nil {
		t.Error("the second of the environment")
	}
	if Word(env, 2) != nil {
		t.Error("the end of the environment")
	}
}

func TestPut(t *testing.T) {
	room := make([]byte, 8)
	if end := Put(room, Put(room, 0, "/", nil), "ab", text("cd")); end != 5 || string(room[:6]) != "/abcd\x00" {
		t.Errorf("%d, %q", end, room)
	}
	if end := Put(room, 5, "ef", nil); end != 7 || string(room) != "/abcdef\x00" {
		t.Errorf("%d, %q", end, room)
	}
	for _, end := range []int{Put(room, 7, "g", nil), Put(room, 7, "", text("g")), Put(room, -1, "", nil)} {
		if end >= 0 {
			t.Errorf("beyond the room: %d", end)
		}
	}
}
