// Command hello says hello: what a start of Go's runtime takes, beside floor.c.
package main

import "os"

func main() { os.Stdout.WriteString("hello\n") }
