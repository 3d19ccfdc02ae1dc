package probe

import "golang.org/x/sys/unix"

// bindRows are tries to own an address that is another's: rows 1, 2, 9, 10, 12, 29, 30
// and 34 of the list.
func (p *prober) bindRows() {
	for _, f := range families() {
		for _, k := range kinds() {
			for _, to := range p.foreign(f) {
				p.bindForeign("bind "+transport(k)+version(f)+" "+to.whose, f, k, to.addr)
			}
		}
	}
	for _, k := range kinds() {
		for _, to := range append(p.foreign(unix.AF_INET), place{"broadcast", "255.255.255.255"}, place{"multicast", "224.0.0.251"}) {
			p.bindForeign("bind "+transport(k)+"6 mapped "+to.whose, unix.AF_INET6, k, "::ffff:"+to.addr)
		}
		p.bindForeign("bind "+transport(k)+"6 compat", unix.AF_INET6, k, "::"+p.Host4)
		p.bindForeign("bind "+transport(k)+"6 nat64", unix.AF_INET6, k, "64:ff9b::"+p.Host4)
		p.bindForeign("bind "+transport(k)+"6 link", unix.AF_INET6, k, "fe80::1")
		p.bindForeign("bind "+transport(k)+"4 near lback", unix.AF_INET, k, p.NearLback)
		p.bindForeign("bind "+transport(k)+"4 loopback 53", unix.AF_INET, k, "127.0.0.53")
		p.bindForeign("bind "+transport(k)+"4 loopback far", unix.AF_INET, k, "127.255.255.1")
		p.unspecified(k)
	}
	p.freebind()
	p.shareRows()
	p.ping()
}

func (p *prober) bindForeign(row string, family, kind int, addr string) {
	p.try(row, func() (string, error) {
		fd, err := p.socket(family, kind, 0)
		if err == nil {
			err = unix.Bind(fd, at(family, addr, 0))
		}
		if err != nil {
			return "", err
		}
		return name(fd)
	})
}

// unspecified binds with the family AF_UNSPEC, which stands for AF_INET with the
// wildcard.
func (p *prober) unspecified(kind int) {
	for _, to := range []place{{"any", "0.0.0.0"}, {"host", p.Host4}} {
		p.try("bind "+transport(kind)+" unspec "+to.whose, func() (string, error) {
			fd, err := p.socket(unix.AF_INET, kind, 0)
			if err == nil {
				err = pass(unix.SYS_BIND, fd, rawAddr(unix.AF_UNSPEC, to.addr, 0))
			}
			if err != nil {
				return "", err
			}
			return name(fd)
		})
	}
}

// freebind asks first for the right to bind what the host has not.
func (p *prober) freebind() {
	for _, f := range families() {
		level, free, transparent := unix.IPPROTO_IP, unix.IP_FREEBIND, unix.IP_TRANSPARENT
		if f == unix.AF_INET6 {
			level, free, transparent = unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, unix.IPV6_TRANSPARENT
		}
		for _, k := range kinds() {
			for _, o := range []struct {
				what       string
				level, opt int
			}{{"freebind", level, free}, {"transparent", level, transparent}, {"noport", unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT}} {
				for _, to := range p.foreign(f) {
					p.try(o.what+" "+transport(k)+version(f)+" "+to.whose, func() (string, error) {
						fd, err := p.socket(f, k, 0)
						if err == nil {
							err = option(fd, o.level, o.opt, 1)
						}
						if err == nil {
							err = unix.Bind(fd, at(f, to.addr, 0))
						}
						return "", err
					})
				}
			}
		}
	}
}

// shareRows try to take a port that the host has: rows 29 and 30.
func (p *prober) shareRows() {
	for _, c := range []struct {
		row, addr string
		port      int
	}{{"share own", p.Own4, p.Shared}, {"share any", "0.0.0.0", p.Shared}, {"share host", p.Host4, p.Shared}, {"own port of host", p.Own4, p.HostPort}} {
		for _, k := range kinds() {
			p.try(c.row+" "+transport(k), func() (string, error) {
				fd, err := p.socket(unix.AF_INET, k, 0)
				if err != nil {
					return "", err
				}
				option(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
				option(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
				if err := unix.Bind(fd, at(unix.AF_INET, c.addr, c.port)); err != nil || k == unix.SOCK_DGRAM {
					return "", err
				}
				return "", unix.Listen(fd, 1)
			})
		}
	}
}

// ping binds an ICMP socket, which passes no hook, and sends: row 12.
func (p *prober) ping() {
	for _, f := range families() {
		out := at(f, pick(f, p.Out4, p.Out6), 0)
		for _, from := range append(p.foreign(f), place{"own", pick(f, p.Own4, p.Own6)}) {
			p.echo("ping"+version(f)+" "+from.whose, f, func(fd int, echo []byte) error {
				if err := unix.Bind(fd, at(f, from.addr, 0)); err != nil {
					return err
				}
				return unix.Sendto(fd, echo, 0, out)
			})
		}
		p.echo("ping"+version(f)+" cmsg host", f, func(fd int, echo []byte) error {
			return unix.Sendmsg(fd, echo, pktinfo(f, pick(f, p.Host4, p.Host6)), out, 0)
		})
	}
	p.pings()
}

// pings does what ping(8) does: it sends unbound.
func (p *prober) pings() {
	for _, f := range families() {
		for _, to := range []place{{"none", pick(f, p.Out4, p.Out6)}, {"host's", pick(f, p.Host4, p.Host6)},
			{"loopback", pick(f, "127.0.0.1", "::1")}, {"itself", pick(f, p.Own4, p.Own6)}} {
			if to.addr == "" {
				continue
			}
			p.echo("ping"+version(f)+" "+to.whose, f, func(fd int, echo []byte) error {
				return unix.Sendto(fd, echo, 0, at(f, to.addr, 0))
			})
		}
	}
}

// echo tries to send a request for an echo, and waits for the answer.
func (p *prober) echo(name string, f int, send func(fd int, echo []byte) error) {
	protocol, echo := unix.IPPROTO_ICMP, []byte{8, 0, 0, 0, 0, 0, 0, 1}
	if f == unix.AF_INET6 {
		protocol, echo = unix.IPPROTO_ICMPV6, []byte{128, 0, 0, 0, 0, 0, 0, 1}
	}
	p.try(name, func() (string, error) {
		fd, err := p.socket(f, unix.SOCK_DGRAM, protocol)
		if err == nil {
			err = send(fd, echo)
		}
		if err == nil {
			_, err = hears(fd)
		}
		return "", err
	})
}
