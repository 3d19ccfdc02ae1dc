// Dump writes the reaper's file for the machine it was built for.
package main

import (
	"os"

	"vserver/reaper"
)

func main() { os.Stdout.Write(reaper.ELF()) }
