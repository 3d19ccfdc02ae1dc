package guest

import "strings"

// The enumerated words of a spec. Each type lists its own values, so that the
// reader of specs, the schema, validation and the completion of the command line
// name the same ones. The first is the default, where there is one.

// Values are the words of the type.
func (Userns) Values() []string { return words(UsernsPrivate, UsernsNone) }

// Values are the words of the type.
func (RootKind) Values() []string { return words(RootOverlay, RootDir) }

// Values are the words of the type.
func (InitStyle) Values() []string { return words(InitPlain, InitSysv, InitCommand) }

// Values are the words of the type.
func (NetMode) Values() []string { return words(NetShared, NetPrivate, NetHost, NetNone) }

// Values are the words of the type.
func (Seccomp) Values() []string { return words(SeccompDefault, SeccompNone) }

// Values are the words of the type.
func (ConsoleType) Values() []string { return words(ConsoleTTY, ConsoleLog, ConsoleNone) }

// Values are the words of the type.

// Values are the words of the type.
func (Restart) Values() []string { return words(RestartNever, RestartOnFailure, RestartAlways) }

func words[T ~string](values ...T) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = string(v)
	}
	return out
}

// Nearest gives the word of the list that was most likely meant by the one that is
// not in it, for "did you mean"; "" when none is near.
func Nearest(word string, list []string) string {
	best, near := len(word)/3+1, ""
	for _, w := range list {
		if d := distance(strings.ToLower(word), strings.ToLower(w), best); d < best {
			best, near = d, w
		}
	}
	return near
}

// distance is the number of bytes that must be put in, left out, replaced or
// exchanged with their neighbour to turn a into b; max when it is not below.
func distance(a, b string, max int) int {
	if len(a)-len(b) >= max || len(b)-len(a) >= max {
		return max
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
