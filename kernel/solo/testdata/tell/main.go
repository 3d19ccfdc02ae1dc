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
	if _, err := fmt.Print(runtime.GOMAXPROCS(0)); err != nil {
		fmt.Fprint(os.Stderr, err)
	}
	solo.Over()
	fmt.Println("", runtime.GOMAXPROCS(0), runtime.NumCPU())
	fmt.Println(strings.Join(os.Args[1:], " "))
	fmt.Println(strings.Join(os.Environ(), " "))
}
