package proc

import (
	"bytes"
	"strconv"
)

// Status is what /proc/PID/status says of a process, as far as it is of use here
// (proc_pid_status(5)).
type Status struct {
	Name  string // as in Stat, with newline and backslash escaped
	State byte
	PID   int
	PPID  int
	UID   int // effective, on the host
	GID   int
	// NSPIDs are its numbers in the pid namespaces that it is in, the reader's first
	// and the innermost last.
	NSPIDs  []int
	Threads int
	VSize   int64 // bytes; 0 for a kernel thread or zombie
	RSS     int64 // bytes
	// Bounding are the capabilities that it and what it executes can ever have, bit by
	// number.
	Bounding uint64
}

// ParseStatus reads the text of /proc/PID/status. What is missing stays zero.
func ParseStatus(text []byte) Status {
	var st Status
	for line := range bytes.Lines(text) {
		key, rest, ok := bytes.Cut(bytes.TrimRight(line, "\n"), []byte(":\t"))
		if !ok {
			continue
		}
		words := bytes.Fields(rest)
		switch string(key) {
		case "Name":
			st.Name = string(rest)
		case "State":
			if len(words) > 0 {
				st.State = words[0][0]
			}
		case "Pid":
			st.PID = number(words, 0)
		case "PPid":
			st.PPID = number(words, 0)
		case "Uid":
			st.UID = number(words, 1)
		case "Gid":
			st.GID = number(words, 1)
		case "NSpid":
			for i := range words {
				st.NSPIDs = append(st.NSPIDs, number(words, i))
			}
		case "Threads":
			st.Threads = number(words, 0)
		case "VmSize":
			st.VSize = int64(number(words, 0)) << 10
		case "CapBnd":
			st.Bounding, _ = strconv.ParseUint(string(rest), 16, 64)
		case "VmRSS":
			st.RSS = int64(number(words, 0)) << 10
		}
	}
	return st
}

// number gives the word at index i as a number; 0 when it is none.
func number(words [][]byte, i int) int {
	if i >= len(words) {
		return 0
	}
	n, err := strconv.Atoi(string(words[i]))
	if err != nil || n < 0 {
		return 0
	}
	return n
}
