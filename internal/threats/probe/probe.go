// Package probe tries, as root of a guest, every way out of the host's network stack
// that is known, and says what the kernel answered. It knows nothing of what should
// come out: that is the table of package threats, which runs a copy of its own test
// binary in a guest for it.
//
// Each line it prints is a name, a tab, and "ok" with what else there is to say, or an errno.
//
//house:allow one list of ways out, each some lines
package probe

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/sys/unix"

	"vserver/internal/threats/probe/answer"
)

// Name is what the program, a copy of a test binary, is called in a guest.
const Name = "threat-probe"

// Ground is what the guest is told of the addresses around it.
type Ground struct {
	Own4, Own6         string // the guest's, the primary ones
	Also4, Also6       string // further ones of the guest's; "" for none
	Lback              string // what 127.0.0.1 is to it
	Host4, Host6       string // the host's, on the same links
	Near4, Near6       string // a neighbour's
	NearLback          string // what 127.0.0.1 is to that
	Out4, Out6         string // a machine on the link
	HostPort, NearPort int    // where the host and the neighbour serve on all their addresses
	HostOnly, NearOnly int    // where they serve on 127.0.0.1 and ::1 alone
	OutPort            int    // where the machine tells everybody their address
	Shared             int    // where the host has a listener that shares its port
	Socket             string // an abstract socket of the host's
	Link               string // of the host's, which no guest has to do with
}

// place is an address with a word for whose it is.
type place struct{ whose, addr string }

// foreign are addresses that are not the guest's: of the host, of a neighbour, of a
// machine on the link, of nobody.
func (g *Ground) foreign(family int) []place {
	return []place{
		{"host", pick(family, g.Host4, g.Host6)}, {"near", pick(family, g.Near4, g.Near6)},
		{"out", pick(family, g.Out4, g.Out6)}, {"nobody", pick(family, "203.0.113.9", "2001:db8:ffff::9")},
	}
}

// prober tries.
type prober struct {
	Ground
	out io.Writer
	fds []int // of the attempt under way
}

// Main runs a part of the program ("rows", "matrix", "pings" or "serve") with a [Ground] as
// JSON, and gives the exit code.
func Main(args []string, in io.Reader, out io.Writer) int {
	p := &prober{out: out}
	if len(args) != 2 || json.Unmarshal([]byte(args[1]), &p.Ground) != nil {
		fmt.Fprintln(out, "usage: "+Name+" rows|matrix|pings|serve GROUND")
		return 2
	}
	switch args[0] {
	case "rows":
		p.rows()
	case "matrix":
		p.matrix(in)
	case "pings":
		p.pings()
	case "serve":
		return p.serve(in)
	}
	return 0
}

func (p *prober) rows() {
	p.bindRows()
	p.sendRows()
	p.connectRows()
	p.optionRows()
	p.groupRows()
	p.familyRows()
	p.unixRows()
	p.seeRows()
	p.changeRows()
	p.escapeRows()
}

// try reports one attempt.
func (p *prober) try(name string, attempt func() (string, error)) {
	said, err := attempt()
	for errors.Is(err, unix.EINTR) { // Go wakes its threads by signals
		said, err = attempt()
	}
	fmt.Fprintf(p.out, "%s\t%s\n", name, outcome(said, err))
	p.close()
}

// close forgets the sockets of an attempt.
func (p *prober) close() {
	for _, fd := range p.fds {
		unix.Close(fd)
	}
	p.fds = nil
}

// outcome is what came of an attempt, in words.
func outcome(said string, err error) string {
	var errno unix.Errno
	switch {
	case err == nil:
		return strings.TrimSpace("ok " + said)
	case errors.As(err, &errno):
		if name := unix.ErrnoName(errno); name != "" {
			return name
		}
	}
	return err.Error()
}

// socket makes one that lasts for the attempt.
func (p *prober) socket(family, kind, protocol int) (int, error) {
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, protocol)
	if err == nil {
		p.fds = append(p.fds, fd)
	}
	return fd, err
}

// serve is the neighbour: it answers on its ports until in ends.
func (p *prober) serve(in io.Reader) int {
	s, err := answer.Serve("near", p.NearPort, p.NearOnly)
	if err != nil {
		fmt.Fprintln(p.out, err)
		return 1
	}
	defer s.Close()
	fmt.Fprintln(p.out, "ready")
	io.Copy(io.Discard, in)
	return 0
}
