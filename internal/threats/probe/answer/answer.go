// Package answer is a server that tells everybody who asks who it is and whom it sees.
package answer

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
)

// Server answers everybody who asks with its name and the address that it saw.
type Server struct {
	who    string
	opened []io.Closer
}

// Serve answers on a port of all addresses and on one of 127.0.0.1 and ::1 alone, by
// TCP and UDP; a port of 0 is none. It stays in the network namespace of the caller.
func Serve(who string, any, only int) (*Server, error) {
	s := &Server{who: who}
	for _, c := range []struct {
		host string
		port int
	}{{"", any}, {"127.0.0.1", only}, {"::1", only}} {
		if c.port == 0 {
			continue
		}
		at := net.JoinHostPort(c.host, strconv.Itoa(c.port))
		l, err := net.Listen("tcp", at)
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		s.opened = append(s.opened, l)
		u, err := net.ListenPacket("udp", at)
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		s.opened = append(s.opened, u)
		go s.streams(l)
		go s.datagrams(u)
	}
	return s, nil
}

// Close ends the server.
func (s *Server) Close() error {
	var errs []error
	for _, o := range s.opened {
		errs = append(errs, o.Close())
	}
	return errors.Join(errs...)
}

func (s *Server) streams(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		fmt.Fprint(c, s.who, " ", seen(c.RemoteAddr()))
		c.Close()
	}
}

func (s *Server) datagrams(u net.PacketConn) {
	buf := make([]byte, 2000)
	for {
		_, from, err := u.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			u.WriteTo(fmt.Append(nil, s.who, " ", seen(from)), from)
		}
	}
}

// seen is an address without its port.
func seen(a net.Addr) netip.Addr {
	return netip.MustParseAddrPort(a.String()).Addr().Unmap()
}
