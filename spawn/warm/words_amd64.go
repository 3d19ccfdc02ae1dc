package warm

import (
	"unsafe"

	"vserver/kernel/early"
)

// plain tells whether the words are `vserver VERB NAME...`, or `vserver NAME VERB...`, with a verb
// that is served, names that are no places, and no options but those that it is served with.
//
//go:nosplit
//go:norace
//go:nocheckptr
func plain(stack unsafe.Pointer) bool {
	count, argv := *(*int)(stack), unsafe.Add(stack, early.WordSize)
	if count < 3 || count >= maxWords || !early.Is(early.Last(early.Word(argv, 0)), "vserver") {
		return false
	}
	verb, at := early.Word(argv, 1), 2
	names := most(verb)
	if names == 0 {
		verb, at = early.Word(argv, 2), 3
		if names = most(verb) - 1; names < 0 || !named(early.Word(argv, 1)) {
			return false
		}
	}
	enough := !makes(verb) && !early.Is(verb, remove) // is said
	for ; at < count; at++ {
		word := early.Word(argv, at)
		switch {
		case early.Is(verb, start) && early.Is(word, "--wait"):
		case early.Is(verb, remove) && (early.Is(word, "--force") || early.Is(word, "--yes")):
			enough = true // nobody is asked
		case makes(verb) && harmless(word):
			enough = enough || early.Is(word, "--image") // that is as quick as a clone
			at++                                         // its value
		case names == 0 || !named(word) || early.Is(verb, snapshot) && looks(word):
			return false
		default:
			names--
		}
	}
	return enough && at == count
}

// makes tells whether a verb makes a guest anew.
//
//go:nosplit
//go:norace
//go:nocheckptr
func makes(verb unsafe.Pointer) bool { return early.Is(verb, build) || early.Is(verb, create) }

// most is how many names, and words like them, a verb that is served may have; 0 for others.
//
//go:nosplit
//go:norace
//go:nocheckptr
func most(verb unsafe.Pointer) int {
	switch {
	case early.Is(verb, start), early.Is(verb, stop), early.Is(verb, restart), early.Is(verb, remove), makes(verb):
		return 1
	case early.Is(verb, clone), early.Is(verb, rollback):
		return 2
	case early.Is(verb, snapshot): // what is done with one, the guest's and its own name
		return 3
	}
	return 0
}

// looks tells whether a word is for what only looks at snapshots, and tells times as the caller's.
//
//go:nosplit
//go:norace
//go:nocheckptr
func looks(word unsafe.Pointer) bool { return early.Is(word, "list") || early.Is(word, "diff") }

// named tells whether a word can be a name, and not a place.
//
//go:nosplit
//go:norace
//go:nocheckptr
func named(word unsafe.Pointer) bool {
	if early.Char(word, 0) == '-' || early.Char(word, 0) == '.' {
		return false
	}
	for i := 0; early.Char(word, i) != 0; i++ {
		if early.Char(word, i) == '/' || i > 255 {
			return false
		}
	}
	return true
}

// harmless tells whether a word is an option for a new guest, with a value behind it, that has
// nothing to do with who gives it: with files of his, or with his terminal.
//
//go:nosplit
//go:norace
//go:nocheckptr
func harmless(word unsafe.Pointer) bool {
	return early.Is(word, "--image") || early.Is(word, "--network") || early.Is(word, "--ip") || early.Is(word, "--init") || early.Is(word, "--command") ||
		early.Is(word, "--memory") || early.Is(word, "--cpus") || early.Is(word, "--pids") || early.Is(word, "--xid")
}
