// Teller is a start of two guests as vserverd is told of it: two shells that count,
// one on a terminal, one into a pipe. A test runs it inside a guest with systemd, where
// no guest of our own can be.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"vserver/daemon/proto"
	"vserver/guest"
	"vserver/kernel/pty"
)

func main() {
	for _, kind := range []guest.ConsoleType{guest.ConsoleTTY, guest.ConsoleLog} {
		if err := tell(kind); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

func tell(kind guest.ConsoleType) error {
	dirs := guest.DefaultDirs("")
	if err := os.MkdirAll(dirs.State(guest.Name(kind)), 0o700); err != nil { // as a start does
		return err
	}
	pidfd := -1
	c := exec.Command("sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.001; done")
	c.SysProcAttr = &syscall.SysProcAttr{PidFD: &pidfd, Setsid: true}
	var console *os.File
	if kind == guest.ConsoleTTY {
		p, err := pty.Open(24, 80)
		if err != nil {
			return err
		}
		c.Stdout, console = p.Slave, p.Master
	} else {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		c.Stdout, console = w, r
	}
	if err := c.Start(); err != nil {
		return err
	}
	told, err := proto.Tell(dirs, proto.Start{
		Name: guest.Name(kind), InitPID: c.Process.Pid, Console: kind, LogSize: 1 << 20, Restart: guest.RestartNever,
	}, pidfd, int(console.Fd()))
	if err != nil {
		return err
	}
	return told.Confirm()
}
