package proc

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"time"
)

// Stat is what /proc/PID/stat says of a process, as far as it is of use here
// (proc_pid_stat(5)).
type Stat struct {
	PID     int
	Comm    string // its name, chosen by itself: at most 15 bytes, any but zero
	State   byte   // R S D Z T t I
	PPID    int
	User    time.Duration // processor time in user mode, of all its threads
	System  time.Duration // and in the kernel
	Threads int
	Start   time.Duration // after boot
	VSize   int64         // bytes of address space
	RSS     int64         // bytes in memory
}

// errStat is the one error of the parser.
var errStat = errors.New("is no process status")

// The fields of stat behind the name, counted from 0 at the state.
const (
	fieldPPID    = 1
	fieldUTime   = 11
	fieldSTime   = 12
	fieldThreads = 17
	fieldStart   = 19
	fieldVSize   = 20
	fieldRSS     = 21
)

// ParseStat reads the text of /proc/PID/stat. The name stands in parentheses and may
// hold parentheses, blanks and newlines itself: it ends at the last closing one.
func ParseStat(text []byte) (Stat, error) {
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 2 || end < open {
		return Stat{}, errStat
	}
	pid, err := strconv.Atoi(string(text[:open-1]))
	if err != nil || pid <= 0 || text[open-1] != ' ' {
		return Stat{}, errStat
	}
	st := Stat{PID: pid, Comm: string(text[open+1 : end])}
	field := 0
	for word := range bytes.FieldsSeq(text[end+1:]) {
		if field == 0 {
			st.State = word[0]
		} else if !st.take(field, word) {
			return Stat{}, errStat
		}
		if field == fieldRSS {
			return st, nil
		}
		field++
	}
	return Stat{}, errStat
}

// take puts a field where it belongs.
func (st *Stat) take(field int, word []byte) bool {
	switch field {
	case fieldPPID, fieldUTime, fieldSTime, fieldThreads, fieldStart, fieldVSize, fieldRSS:
	default:
		return true
	}
	n, err := strconv.ParseInt(string(word), 10, 64)
	if err != nil || n < 0 {
		return false
	}
	switch field {
	case fieldPPID:
		st.PPID = int(n)
	case fieldUTime:
		st.User = ticks(n)
	case fieldSTime:
		st.System = ticks(n)
	case fieldThreads:
		st.Threads = int(n)
	case fieldStart:
		st.Start = ticks(n)
	case fieldVSize:
		st.VSize = n
	case fieldRSS:
		st.RSS = n * int64(os.Getpagesize())
	}
	return true
}

func ticks(n int64) time.Duration { return time.Duration(n) * (time.Second / Hertz) }
