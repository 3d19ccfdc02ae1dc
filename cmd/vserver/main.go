// Vserver turns a Linux host into many virtual private servers.
//
// It is one program with several names: vserver, the old tools (vserver-stat, vps,
// vkill, chbind, chcontext, ...), and vserverd, the host's supervisor.
package main

import (
	"os"
	"path/filepath"
	"time"

	"vserver/cli"
	"vserver/compat"
	"vserver/daemon"
	"vserver/daemon/proto"
	"vserver/guest"
	"vserver/isolation/attack"
	"vserver/kernel/clock"
	"vserver/kernel/solo"
)

func main() {
	solo.Settle()
	switch filepath.Base(os.Args[0]) {
	case proto.Program:
		solo.Over()
		os.Exit(daemon.Main(os.Args, guest.DefaultDirs(os.Getenv(guest.RootVar)), cli.Run))
	case attack.Name: // in a guest of `vserver check --isolation`
		solo.Over()
		os.Exit(attack.Main(os.Args[1:], os.Stdin, os.Stdout))
	}
	if code, ok := compat.Main(filepath.Base(os.Args[0]), os.Args, guest.DefaultDirs(os.Getenv(guest.RootVar)), os.Stdout, os.Stderr); ok {
		os.Exit(code)
	}
	clock.Relax(time.Millisecond)
	os.Exit(cli.Main(os.Args))
}
