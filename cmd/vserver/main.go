// Vserver turns a Linux host into many virtual private servers.
//
// It is one program with several names: vserver, the old tools vserver-stat, vps,
// vtop, vkill and vwait, and vserverd, the host's supervisor.
package main

import (
	"os"

	"vserver/cli"
)

func main() { os.Exit(cli.Main(os.Args)) }
