package proc

import (
	"bytes"
	"errors"
	"io/fs"
	"strconv"
)

// Net counts sockets of a network namespace.
type Net struct {
	Sockets     int // of IP
	Connections int // of TCP, established or half closed
	Made        int // of TCP, ever
}

// Net gives the counts of the network namespace that a process is in.
func (d *Dir) Net(pid int) (Net, error) {
	var n Net
	for _, file := range []string{"net/sockstat", "net/sockstat6", "net/snmp"} {
		text, err := d.read(pid, file)
		if errors.Is(err, fs.ErrNotExist) && file == "net/sockstat6" {
			continue // a kernel without IPv6
		}
		if err != nil {
			return Net{}, err
		}
		n.Sockets += ParseSockets(text)
		if file == "net/snmp" {
			n.Connections, n.Made = ParseConnections(text)
		}
	}
	return n, nil
}

// ParseSockets adds up what a file like net/sockstat says to be in use:
//
//	TCP: inuse 4 orphan 0 tw 0 alloc 5 mem 1
func ParseSockets(text []byte) (sum int) {
	for line := range bytes.Lines(text) {
		words := bytes.Fields(line)
		if len(words) > 2 && string(words[1]) == "inuse" && !bytes.HasPrefix(words[0], []byte("FRAG")) {
			sum += number(words, 2)
		}
	}
	return sum
}

// ParseConnections reads how many connections there are and how many were ever made,
// from here and from elsewhere, from the two lines about TCP of net/snmp, one of names
// and one of numbers.
func ParseConnections(text []byte) (now, made int) {
	var names [][]byte
	for line := range bytes.Lines(text) {
		words := bytes.Fields(line)
		if len(words) == 0 || string(words[0]) != "Tcp:" {
			continue
		}
		if names == nil {
			names = words
			continue
		}
		for i, name := range names[:min(len(names), len(words))] {
			n, _ := strconv.Atoi(string(words[i]))
			switch string(name) {
			case "CurrEstab":
				now = n
			case "ActiveOpens", "PassiveOpens":
				made += n
			}
		}
	}
	return now, made
}
