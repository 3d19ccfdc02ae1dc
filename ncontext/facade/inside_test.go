package facade

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// inside is what happens in a guest.
func inside(what string, args []string) {
	switch what {
	case "elf": // for a look at what another architecture runs
		os.Stdout.Write(elf())
	case "probe":
		probe(args[0])
	case "wait":
		fmt.Println("begin")
		s, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
		fmt.Println(s, err)
	case "bench":
		n, _ := strconv.Atoi(args[0])
		bench(n)
	case "loop":
		n, _ := strconv.Atoi(args[0])
		loop(n)
	}
}

// bench prints what socket(2) takes, in nanoseconds: the median and the 90th percentile.
func bench(n int) {
	took := make([]time.Duration, n)
	for i := range took {
		begin := time.Now()
		s, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		took[i] = time.Since(begin)
		if err != nil {
			fmt.Println(err)
			return
		}
		syscall.Close(s)
	}
	slices.Sort(took)
	fmt.Println(took[n/2].Nanoseconds(), took[n*9/10].Nanoseconds())
}

// loop makes n sockets and prints what was wrong with any.
func loop(n int) {
	fmt.Println("begin")
	for i := range n {
		s, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		if err != nil || s < 3 {
			fmt.Println("socket", i, s, err)
			continue
		}
		if kind, err := syscall.GetsockoptInt(s, syscall.SOL_SOCKET, syscall.SO_TYPE); err != nil || kind != syscall.SOCK_STREAM {
			fmt.Println("type", i, kind, err)
		}
		syscall.Close(s)
	}
	s, _ := syscall.Open("/dev/null", syscall.O_RDONLY, 0)
	fmt.Println("end", s)
}

func report(name string, value any) { fmt.Printf("%s %v\n", name, value) }

// probe prints what each kind of socket is; listener is an address of the host's.
func probe(listener string) {
	c, err := net.Dial("tcp", listener)
	report("dial", err)
	if err == nil {
		c.Close()
	}
	s, err := syscall.Socket(syscall.AF_INET6, syscall.SOCK_DGRAM|syscall.SOCK_NONBLOCK, syscall.IPPROTO_UDP)
	report("udp6", err)
	fl, _ := unix.FcntlInt(uintptr(s), unix.F_GETFL, 0)
	fd, _ := unix.FcntlInt(uintptr(s), unix.F_GETFD, 0)
	report("flags", fl&unix.O_NONBLOCK != 0 && fd == 0)
	s, _ = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	fl, _ = unix.FcntlInt(uintptr(s), unix.F_GETFL, 0)
	fd, _ = unix.FcntlInt(uintptr(s), unix.F_GETFD, 0)
	report("cloexec", fl&unix.O_NONBLOCK == 0 && fd == unix.FD_CLOEXEC)
	report("owner", owner(s))
	_, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 262)
	report("mptcp", err)
	_, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, syscall.IPPROTO_UDP)
	report("mixed", err)
	var lim syscall.Rlimit
	syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim)
	syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: uint64(s), Max: lim.Max})
	_, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	report("full", err)
	syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lim)

	ask(s)
	u, _ := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_DGRAM, 0)
	report("unix cookie differs", cookie(u) != cookie(s))
	report("lo by unix", nameOf(u, 1))
	report("lo by inet", nameOf(s, 1))
	report("second by inet", nameOf(s, 2))
	_, _, e := syscall.Syscall(syscall.SYS_IOCTL, 77, unix.SIOCGIFNAME, uintptr(unsafe.Pointer(&ifreq{})))
	report("no file", e)
	_, _, e = syscall.Syscall(syscall.SYS_IOCTL, 0, unix.SIOCGIFNAME, uintptr(unsafe.Pointer(&ifreq{})))
	report("no socket", e)
	_, _, e = syscall.Syscall(syscall.SYS_IOCTL, uintptr(s), unix.SIOCGIFNAME, 8)
	report("no memory", e)
	_, _, e = syscall.Syscall(syscall.SYS_IOCTL, uintptr(s), unix.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&ifreq{})))
	report("setting", e)
	uid := make(chan int)
	go func() {
		// A thread with another file system user, which ends with this.
		runtime.LockOSThread()
		syscall.RawSyscall(unix.SYS_SETFSUID, 1000, 0, 0)
		s, _ := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		uid <- owner(s)
	}()
	report("other owner", <-uid)
	s, _ = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	report("own again", owner(s))
}

type ifreq struct {
	name [16]byte
	rest [24]byte
}

func nameOf(s, index int) string {
	r := ifreq{}
	r.rest[0] = byte(index)
	if _, _, e := syscall.Syscall(syscall.SYS_IOCTL, uintptr(s), unix.SIOCGIFNAME, uintptr(unsafe.Pointer(&r))); e != 0 {
		return e.Error()
	}
	return unix.ByteSliceToString(r.name[:])
}

// ask asks for all addresses by SIOCGIFCONF, in room for one more than there are, for
// one and for none.
func ask(s int) {
	for _, room := range []int{4, 1, 0, -1} {
		list := make([]ifreq, 4)
		conf := struct {
			size int32
			at   *ifreq
		}{int32(40 * room), &list[0]}
		if room < 0 {
			conf.at = nil
		}
		_, _, e := syscall.Syscall(syscall.SYS_IOCTL, uintptr(s), unix.SIOCGIFCONF, uintptr(unsafe.Pointer(&conf)))
		text := fmt.Sprint(conf.size)
		if conf.size >= 40 && room > 0 {
			text += fmt.Sprint(" ", unix.ByteSliceToString(list[0].name[:]), " ", net.IP(list[0].rest[4:8]))
		}
		report(fmt.Sprint("conf ", room), fmt.Sprint(text, " ", int(e)))
	}
}

// owner is the user that a socket belongs to.
func owner(s int) int {
	var st syscall.Stat_t
	if err := syscall.Fstat(s, &st); err != nil {
		return -1
	}
	return int(st.Uid)
}

func cookie(s int) uint64 {
	n, _ := unix.GetsockoptUint64(s, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	return n
}
