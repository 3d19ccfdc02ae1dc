// Command tell says what it was begun with, and what is left of that.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"vserver/kernel/solo"
)

func main() {
	solo.Settle()
	fmt.Print(runtime.GOMAXPROCS(0))
	solo.Over()
	fmt.Println("", runtime.GOMAXPROCS(0), runtime.NumCPU())
	fmt.Println(strings.Join(os.Args[1:], " "))
	fmt.Println(strings.Join(os.Environ(), " "))
}
