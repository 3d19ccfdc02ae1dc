package threats_test

// row is what must come of an attempt; of several rows that fit, the first counts.
type row struct {
	number  int    // in the list of threats that the tests follow
	pattern string // of the attempts' names, as path.Match takes it
	want    string // words of the answer that are right, with a "|" between
	hidden  string // with hide_netif, if that is another
	why     string
}

// older is what is right before Linux 6.7 without hide_netif, by patterns of the table: then no
// program can tell whose abstract socket one is.
func older() map[string]string {
	return map[string]string{"abstract connect *": "ok", "abstract sendto": "ok"}
}

// table is the list. "closed under hide_netif" is said of what no stock kernel can hide
// in a shared network: whoever wants it hidden sets that flag.
func table() []row {
	const foreign = "EADDRNOTAVAIL"
	return []row{
		{1, "bind ???4 near lback", "ok 127.0.0.1", "", "all of 127.0.0.0/8 is the guest's own loopback"},
		{1, "bind ???4 loopback 53", "ok 127.0.0.53", "", "a stub resolver of the guest's own"},
		{1, "bind ???4 loopback far", "ok 127.0.0.1", "", "as above"},
		{2, "bind ???6 mapped *", foreign, "", "bind6 decodes what is mapped"},
		{1, "bind ???[46] *", foreign, "", "membership in the bind hook"},
		{1, "bind ??? unspec any", "EAFNOSUPPORT|ok 0.0.0.0", "", "AF_UNSPEC is the wildcard only while it is one"},
		{1, "bind ??? unspec host", foreign, "", ""},
		{9, "freebind *", foreign, "", "the hook asks whether it is the guest's, not whether it is local"},
		{9, "transparent *", "EPERM", "", "asks for a capability over the host's network"},
		{10, "noport *", foreign, "", ""},
		{29, "own port of host *", "ok", "", "a host's service on all addresses is not in the way"},
		{30, "share host *", foreign, "", ""},
		{30, "share *", "ok", "", "its own address alone; the uids are not those of the host"},
		{12, "ping? own", "ok", "", ""},
		{12, "ping? none", "ok", "", "the source is the guest's though it asked for none"},
		{12, "ping? host's", "ok", "", "as above"},
		{12, "ping? itself", "ok", "", ""},
		{12, "ping? loopback", "ok", "", "the kernel answers, no process: 127.0.0.1 of the host's knows nothing of it"},
		{12, "ping? out", foreign, "", "not an address of this machine"},
		{12, "ping? nobody", foreign, "", ""},
		{12, "ping? cmsg host", "ok", "", "the source becomes the guest's; the matrix sees to it"},
		{12, "ping? *", "EPERM|EAGAIN|EADDRNOTAVAIL|EINVAL", "", "bind of such a socket has no hook; what it sends is dropped"},
		{4, "send udp6 mapped", "ok out OWN4", "", ""},
		{7, "send udp4", "ok out OWN4", "", "the hook chooses the source"},
		{7, "send udp6", "ok out OWN6", "", ""},
		{7, "dissolved udp4", "ok out OWN4", "", "a connection that was given up takes the source along"},
		{7, "dissolved udp6", "ok out OWN6", "", ""},
		{8, "cmsg link udp4", "ok out OWN4|EPERM", "", "a link may be named, the source stays"},
		{32, "cmsg mark udp4", "EPERM", "", ""},
		{32, "cmsg routing udp6", "EPERM|EINVAL", "", "whom a packet is for its header says, and that alone"},
		{8, "cmsg *", "EADDRNOTAVAIL|EINVAL", "", ""},
		{8, "cmsg4 *", foreign, "", ""},
		{8, "sticky udp6 *", "ok out OWN6|EADDRNOTAVAIL|EINVAL", "", "the source is the guest's whatever was asked for"},
		{27, "reach host only *", "ECONNREFUSED", "", "127.0.0.1, ::1 and the wildcard are the guest's own loopback"},
		{28, "reach host any by *", "ECONNREFUSED", "", "the guest's addresses lead to the guest"},
		{27, "reach host any 127.0.0.1 *", "ECONNREFUSED", "", ""},
		{27, "reach host any ::1 *", "ECONNREFUSED", "", ""},
		{27, "reach near only *", "ECONNREFUSED", "", ""},
		{27, "reach near any lback *", "ECONNREFUSED", "", ""},
		{6, "reach near any 4 *", "ok near OWN4", "", "a neighbour's service for all is one"},
		{6, "reach near any 6 tcp", "ok near OWN6", "", ""},
		{6, "reach near any 6 *", "ok near OWN6|ECONNREFUSED", "", "a wildcard of UDP is IPv4's until vserverd has entered it"},
		{6, "reach host any 4 *", "ok host OWN4", "", "so is the host's; network.firewall refuses it"},
		{6, "reach host any 6 udp", "ok host OWN6|EAGAIN", "", "the host may answer from the address it was asked by"},
		{6, "reach host any 6 *", "ok host OWN6", "", ""},
		{6, "connect tcp4", "ok out OWN4", "", ""},
		{6, "connect tcp6", "ok out OWN6", "", ""},
		{3, "connect tcp6 mapped", "ok out OWN4", "", ""},
		{11, "fastopen * host only", "ECONNREFUSED", "", "sending passes the hook of connecting"},
		{11, "fastopen *tcp4 out", "ok out OWN4", "", ""},
		{11, "fastopen *tcp6 out", "ok out OWN6", "", ""},
		{5, "listen tcp?", "ok", "", "reached by the guest's addresses alone: the matrix sees to it"},
		{5, "relisten tcp?", "ok", "", ""},
		{25, "option bindto*", "EPERM", "", ""},
		{25, "option *cast_if*", "EPERM", "", ""},
		{31, "option flow label", "EPERM", "", "a table that all share"},
		{32, "option debug", "EACCES|EPERM", "", ""},
		{32, "option header included", "ENOPROTOOPT", "", ""},
		{32, "option routing header", "EINVAL|EPERM", "", ""},
		{32, "option udp encapsulation", "EPERM|ENOPROTOOPT", "", "packets would go to the host's IPsec"},
		{32, "option *", "EPERM", "", ""},
		{26, "group send *", "EACCES|EPERM|ENETUNREACH", "", ""},
		{26, "group *", "EPERM", "", ""},
		{16, "socket? raw*", "EPERM", "EPROTONOSUPPORT", "asks for a capability over the host's network"},
		{13, "socket? udplite", "EPROTONOSUPPORT|ESOCKTNOSUPPORT", "", "connecting it has no hook"},
		{14, "socket? mptcp", "EPROTONOSUPPORT|ESOCKTNOSUPPORT", "", "its further flows are the kernel's own sockets"},
		{15, "socket? *", "EPROTONOSUPPORT|ESOCKTNOSUPPORT", "", "a list of what is let in"},
		{17, "family 40", "EAFNOSUPPORT", "", "AF_VSOCK: its peer is the hypervisor, and it has no hook"},
		{18, "family *", "EAFNOSUPPORT", "", "likewise; 16 is AF_PACKET with the others"},
		{33, "io_uring", "EPERM", "", ""},
		{15, "socketpair inet", "ENOTSUP", "", ""},
		{35, "bpf", "EPERM", "", ""},
		{20, "netlink send *", "EPERM", "", "to processes and groups of the host's"},
		{15, "netlink *", "EPROTONOSUPPORT", "", ""},
		{19, "abstract own", "ok", "", ""},
		{19, "abstract connect *", "ECONNREFUSED", "", "names of no file lead to the guest's own sockets, from Linux 6.7 on"},
		{19, "abstract sendto", "ECONNREFUSED", "", "as above"},
		{19, "abstract bind *", "EADDRINUSE", "ok", "such names belong to the network: a guest sees that one is taken, and can take one"},
		{20, "dump neighbours", "ok the host's|ok nothing", "ok nothing|ok own", "closed under hide_netif"},
		{20, "dump *", "ok the host's", "ok own", "closed under hide_netif"},
		{21, "sock_diag destroy", "EPERM", "EPERM|ENOENT", "asks for a capability over the host's network"},
		{22, "sock_diag *", "ok the host's|ok nothing", "ok nothing|ok own", "closed under hide_netif"},
		{22, "read /*/arp", "ok own|ok the host's", "ok nothing|ok own", ""},
		{24, "read /sys/class/net", "ok own|ok the host's", "ok own", "sysfs shows the network that it was mounted in"},
		{22, "read /*", "ok the host's", "ok nothing|ok own", "closed under hide_netif"},
		{23, "siocgif*", "ok the host's", "ok own", "closed under hide_netif"},
		{21, "change *", "EPERM", "", "asks for a capability over the host's network"},
		{21, "ioctl *", "EPERM", "", ""},
		{24, "sysctl *", "EROFS|EACCES", "EROFS|EACCES|ENOENT", "some are not there in an older kernel's namespace"},
		{34, "escape descriptors", "ok 0 sockets", "", "no socket of the host's comes with exec"},
		{36, "escape setns", "EPERM|EADDRNOTAVAIL", "", "the same network already"},
		{35, "escape cgroup", "EADDRNOTAVAIL|EACCES", "", "the programs are at the group above all guests"},
		{35, "escape cgroup above", "EACCES|ENOENT|EROFS", "", ""},
		{37, "escape new user", "EPERM|ENOSPC", "", ""},
		{37, "escape new net", "EPERM|unshare *", "", "no cable out of a network of its own"},
	}
}
