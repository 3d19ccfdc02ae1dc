// Package early is for code that runs before Go's runtime has begun: system calls, and the
// words and the environment as the kernel left them on the stack. Such code may not allocate,
// grow a stack, panic or call what is not nosplit.
package early

import (
	"syscall"
	"unsafe"
)

const (
	// WordSize is that of a pointer.
	WordSize = unsafe.Sizeof(uintptr(0))
	// FDCWD is AT_FDCWD, -100.
	FDCWD = ^uintptr(99)
)

// Call makes a system call.
//
//go:nosplit
//go:norace
//go:nocheckptr
func Call(nr, a, b, c, d, e, f uintptr) (uintptr, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(nr, a, b, c, d, e, f)
	return n, errno
}

// Empty is the path of a descriptor itself.
//
//go:nosplit
//go:norace
//go:nocheckptr
func Empty() unsafe.Pointer { return unsafe.Pointer(unsafe.StringData("\x00")) }

// Word is the text that entry i of a list points to.
//
//go:nosplit
//go:norace
//go:nocheckptr
func Word(list unsafe.Pointer, i int) unsafe.Pointer {
	return *(*unsafe.Pointer)(unsafe.Add(list, uintptr(i)*WordSize))
}

// Char is byte i of a text.
//
//go:nosplit
//go:norace
//go:nocheckptr
func Char(text unsafe.Pointer, i int) byte { return *(*byte)(unsafe.Add(text, i)) }

// Behind is what follows begin in a text; nil when it begins otherwise.
//
//go:nosplit
//go:norace
//go:nocheckptr
func Behind(text unsafe.Pointer, begin string) unsafe.Pointer {
	for i := 0; i < len(begin); i++ {
		if Char(text, i) != begin[i] {
			return nil
		}
	}
	return unsafe.Add(text, len(begin))
}

// Is tells whether a text is what, to its end.
//
//go:nosplit
//go:norace
//go:nocheckptr
func Is(text unsafe.Pointer, what string) bool {
	rest := Behind(text, what)
	return rest != nil && Char(rest, 0) == 0
}

// Last is what stands behind the last slash of a path.
//
//go:nosplit
//go:norace
//go:nocheckptr
func Last(path unsafe.Pointer) unsafe.Pointer {
	for p := path; Char(p, 0) != 0; p = unsafe.Add(p, 1) {
		if Char(p, 0) == '/' {
			path = unsafe.Add(p, 1)
		}
	}
	return path
}

// Environ is the list of the environment's texts, behind that of the words.
//
//go:nosplit
//go:norace
//go:nocheckptr
func Environ(stack unsafe.Pointer) unsafe.Pointer {
	return unsafe.Add(stack, uintptr(2+*(*int)(stack))*WordSize)
}

// Put writes a text of ours and one of the kernel's at a place of a room, with a 0 behind
// them, and gives the place of that; less than 0 when there is no room.
//
//go:nosplit
//go:norace
//go:nocheckptr
func Put(room []byte, at int, text string, more unsafe.Pointer) int {
	if at < 0 {
		return at
	}
	for i := 0; i < len(text); i++ {
		if at >= len(room)-1 {
			return -1
		}
		room[at] = text[i]
		at++
	}
	for i := 0; more != nil && Char(more, i) != 0; i++ {
		if at >= len(room)-1 {
			return -1
		}
		room[at] = Char(more, i)
		at++
	}
	room[at] = 0
	return at
}
