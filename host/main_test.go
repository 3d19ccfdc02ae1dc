package host_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"vserver/daemon"
	"vserver/daemon/proto"
	"vserver/guest"
	"vserver/internal/need"
)

// attributes is the name of the test's own program in a guest, where it sets attributes of
// files.
const attributes = "/usr/bin/attributes"

// instances is that name where it makes instances of inotify.
const instances = "/usr/bin/instances"

// TestMain makes the test's own program vserverd as well: a start launches it from
// /proc/self/exe.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == proto.Program {
		os.Exit(daemon.Main(os.Args, guest.Dirs{}, nil))
	}
	if len(os.Args) == 2 && os.Args[1] == "processors" { // in a guest, see TestViewPrograms
		fmt.Println(runtime.GOMAXPROCS(0), runtime.NumCPU())
		os.Exit(0)
	}
	if os.Args[0] == attributes { // in a guest, see TestDisk
		if err := need.SetAttributes(os.Args[1]); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if os.Args[0] == instances && (os.Args[1] == "huge" || os.Args[1] == "promised") { // in a guest, see TestHugePagesWork
		mapHuge(os.Args[2], os.Args[1] == "huge")
		os.Exit(0)
	}
	if os.Args[0] == instances && os.Args[1] == "queue" { // in a guest, see TestSocketMemory
		queue()
	}
	if os.Args[0] == instances && os.Args[1] == "reads" { // in a guest, see TestDiskWeightWorks
		readsFor(os.Args[2])
	}
	if os.Args[0] == instances && os.Args[1] == "exhaust" {
		exhaust(os.Args[2])
	}
	if os.Args[0] == instances && os.Args[1] == "locks" {
		takeLocks(os.Args[2])
	}
	if os.Args[0] == instances { // in a guest, see TestCeilingsOfRunningGuest
		n, _ := strconv.Atoi(os.Args[1])
		for range n {
			if _, err := syscall.InotifyInit1(syscall.IN_CLOEXEC); err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
		}
		os.Exit(0)
	}
	need.Main(m)
}

// mapHuge maps so many huge pages of 2 MiB, and uses them when it should.
func mapHuge(count string, touch bool) {
	const page, hugetlb = 2 << 20, 0x40000 // MAP_HUGETLB
	n, _ := strconv.Atoi(count)
	m, err := syscall.Mmap(-1, 0, n*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON|hugetlb)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for i := range n {
		if touch {
			m[i*page] = 1
		}
	}
}

// readsFor reads a file's blocks past the cache, here and there, without an end: eight
// at once, so that the disk always has something to choose from.
func readsFor(path string) {
	const block, blocks = 4096, 4096
	for i := range 8 {
		go func() {
			fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_DIRECT, 0)
			b, _ := syscall.Mmap(-1, 0, block, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
			for n := i; err == nil; n = (n*1103515245 + 12345) & (blocks - 1) {
				_, err = syscall.Pread(fd, b, int64(n)*block)
			}
			fmt.Println(err)
			os.Exit(1)
		}()
	}
	time.Sleep(time.Hour)
}

// queue sends to connections of its own on which nobody reads, and prints how much the
// kernel took of that, in MiB.
func queue() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	sum, mebi := 0, make([]byte, 1<<20)
	for n := 0; err == nil && n < 150; n++ {
		var c net.Conn
		if c, err = net.DialTimeout("tcp", l.Addr().String(), time.Second); err != nil {
			break
		}
		for {
			c.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
			n, err := c.Write(mebi)
			if sum += n; err != nil {
				break // full
			}
		}
	}
	fmt.Println(sum>>20, err)
	os.Exit(0)
}
