package probe

import "golang.org/x/sys/unix"

// connectRows are tries to reach what others serve for themselves, and to leave with
// their address: rows 3, 4, 5, 6, 11, 27, 28 and 40 of the list.
func (p *prober) connectRows() {
	for _, c := range p.destinations() {
		p.reach("reach "+c.what, c.family, c.addr, c.port)
	}
	for _, f := range families() {
		out := at(f, pick(f, p.Out4, p.Out6), p.OutPort)
		p.stream("connect tcp"+version(f), f, func(fd int) (string, error) {
			if err := unix.Connect(fd, out); err != nil {
				return "", err
			}
			return hears(fd)
		})
		p.fastOpen(f, out)
		p.listen(f)
	}
	p.stream("connect tcp6 mapped", unix.AF_INET6, func(fd int) (string, error) {
		if err := unix.Connect(fd, at(unix.AF_INET6, "::ffff:"+p.Out4, p.OutPort)); err != nil {
			return "", err
		}
		return hears(fd)
	})
}

// destination is a service that is not the guest's.
type destination struct {
	what   string
	family int
	addr   string
	port   int
}

func (p *prober) destinations() []destination {
	const v4, v6 = unix.AF_INET, unix.AF_INET6
	return []destination{
		{"host only 127.0.0.1", v4, "127.0.0.1", p.HostOnly}, {"host only 0.0.0.0", v4, "0.0.0.0", p.HostOnly},
		{"host only 127.0.0.53", v4, "127.0.0.53", p.HostOnly}, {"host only 127.1.2.3", v4, "127.1.2.3", p.HostOnly},
		{"host only ::1", v6, "::1", p.HostOnly}, {"host only ::", v6, "::", p.HostOnly},
		{"host only ::ffff:127.0.0.1", v6, "::ffff:127.0.0.1", p.HostOnly}, {"host only ::ffff:0.0.0.0", v6, "::ffff:0.0.0.0", p.HostOnly},
		{"host any 127.0.0.1", v4, "127.0.0.1", p.HostPort}, {"host any ::1", v6, "::1", p.HostPort},
		{"host any by own4", v4, p.Own4, p.HostPort}, {"host any by own6", v6, p.Own6, p.HostPort},
		{"host any by lback", v4, p.Lback, p.HostPort},
		{"near only 127.0.0.1", v4, "127.0.0.1", p.NearOnly}, {"near only lback", v4, p.NearLback, p.NearOnly},
		{"near only mapped lback", v6, "::ffff:" + p.NearLback, p.NearOnly}, {"near only ::1", v6, "::1", p.NearOnly},
		{"near any lback", v4, p.NearLback, p.NearPort},
		{"near any 4", v4, p.Near4, p.NearPort}, {"near any 6", v6, p.Near6, p.NearPort},
		{"host any 4", v4, p.Host4, p.HostPort}, {"host any 6", v6, p.Host6, p.HostPort},
	}
}

// reach asks a service by TCP, by a connected datagram socket and by one that is not.
func (p *prober) reach(row string, family int, addr string, port int) {
	to := at(family, addr, port)
	p.stream(row+" tcp", family, func(fd int) (string, error) {
		if err := unix.Connect(fd, to); err != nil {
			return "", err
		}
		return hears(fd)
	})
	p.datagram(row+" udp", family, func(fd int) (string, error) {
		if err := unix.Connect(fd, to); err != nil {
			return "", err
		}
		return ask(fd, nil)
	})
	p.datagram(row+" sendto", family, func(fd int) (string, error) {
		option(fd, unix.IPPROTO_IP, unix.IP_RECVERR, 1) // to hear that nobody is there
		if family == unix.AF_INET6 {
			option(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1)
		}
		return ask(fd, to)
	})
}

// stream tries something with a TCP socket.
func (p *prober) stream(row string, family int, do func(fd int) (string, error)) {
	p.try(row, func() (string, error) {
		fd, err := p.socket(family, unix.SOCK_STREAM, 0)
		if err != nil {
			return "", err
		}
		impatient(fd)
		return do(fd)
	})
}

// fastOpen connects by sending: no connect(2) is called.
func (p *prober) fastOpen(family int, out unix.Sockaddr) {
	only := at(family, pick(family, "127.0.0.1", "::1"), p.HostOnly)
	for _, to := range []struct {
		whose string
		unix.Sockaddr
	}{{"out", out}, {"host only", only}} {
		p.stream("fastopen tcp"+version(family)+" "+to.whose, family, func(fd int) (string, error) {
			if err := unix.Sendto(fd, []byte("who am I"), unix.MSG_FASTOPEN, to.Sockaddr); err != nil {
				return "", err
			}
			return hears(fd)
		})
		p.stream("fastopen connect tcp"+version(family)+" "+to.whose, family, func(fd int) (string, error) {
			err := option(fd, unix.IPPROTO_TCP, unix.TCP_FASTOPEN_CONNECT, 1)
			if err == nil {
				err = unix.Connect(fd, to.Sockaddr)
			}
			if err == nil {
				_, err = unix.Write(fd, []byte("who am I"))
			}
			if err != nil {
				return "", err
			}
			return hears(fd)
		})
	}
}

// listen listens without bind(2), also after a connection that was given up. Whether
// somebody else can reach that is seen in the matrix.
func (p *prober) listen(family int) {
	p.stream("listen tcp"+version(family), family, func(fd int) (string, error) { return "", unix.Listen(fd, 1) })
	p.stream("relisten tcp"+version(family), family, func(fd int) (string, error) {
		if err := unix.Connect(fd, at(family, pick(family, p.Out4, p.Out6), p.OutPort)); err != nil {
			return "", err
		}
		if err := pass(unix.SYS_CONNECT, fd, make([]byte, 28)); err != nil {
			return "", err
		}
		return "", unix.Listen(fd, 1)
	})
}
