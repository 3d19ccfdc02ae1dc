package spawn

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"vserver/internal/need"
)

// The maker of a user namespace can be another than root, without root losing
// anything.
func TestOwner(t *testing.T) {
	need.Root(t)
	const id = 3000000000 // above all ranges in use
	table := &Table{}
	table.Await("the map")
	table.Exec([]string{"/bin/true"}, []string{"true"}, nil)
	c, err := Start(table, Options{Flags: unix.CLONE_NEWUSER, Cgroup: -1, Owner: id, Share: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	defer c.Kill()
	if os.Geteuid() != 0 {
		t.Errorf("effective uid is %d afterwards", os.Geteuid())
	}
	ns, err := os.Open("/proc/" + strconv.Itoa(c.First()) + "/ns/user")
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	var owner uint32
	if _, _, e := syscall.Syscall(syscall.SYS_IOCTL, ns.Fd(), unix.NS_GET_OWNER_UID, uintptr(unsafe.Pointer(&owner))); e != 0 {
		t.Fatal(e)
	}
	if owner != id {
		t.Errorf("owner is %d", owner)
	}
}

// Children that share our memory, made at once, do not take each other's right to
// their files in /proc.
func TestOwnersAtOnce(t *testing.T) {
	need.Root(t)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 25 {
				if err := mapped(3000000000 + uint32(i)*65536); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

// mapped starts a process in a user namespace within another, as guests have it.
func mapped(id uint32) error {
	procfs, err := os.Open("/proc")
	if err != nil {
		return err
	}
	defer procfs.Close()
	table := &Table{}
	table.Await("the outer map")
	table.Show()
	table.Fork("fork", unix.CLONE_NEWUSER, func(pid Reg) {
		table.WriteOf(int(procfs.Fd()), pid, "uid_map", "0 0 65536")
		table.WriteOf(int(procfs.Fd()), pid, "gid_map", "0 0 65536")
	})
	table.Await("the word")
	table.Become(0, 0, nil)
	table.Exec([]string{"/bin/true"}, []string{"true"}, nil)
	c, err := Start(table, Options{Flags: unix.CLONE_NEWUSER, Cgroup: -1, Owner: id, Share: true})
	if err != nil {
		return err
	}
	defer c.Close()
	for _, file := range []string{"uid_map", "gid_map"} {
		text := fmt.Sprintf("0 %d 65536", id)
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/%s", c.First(), file), []byte(text), 0); err != nil {
			c.Kill()
			return err
		}
	}
	if err := c.Open(); err != nil {
		c.Kill()
		return err
	}
	if _, err := c.Forked(); err != nil {
		c.Kill()
		return err
	}
	if err := c.Open(); err != nil {
		c.Kill()
		return err
	}
	if err := c.Finish(); err != nil {
		c.Kill()
		return err
	}
	_, err = c.Wait()
	return err
}
