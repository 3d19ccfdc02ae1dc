// Vserver-image is what `vserver build -m template` runs as nobody to read what
// strangers made: it unpacks compressed streams and fetches images from registries.
//
//	vserver-image unzip                     stdin, of any compression, to stdout
//	vserver-image zip zstd|gzip LEVEL       stdin to stdout, packed; level 0 is the usual one
//	vserver-image digest REF PLATFORM       the image's digest
//	vserver-image pull REF PLATFORM         the image as an archive of the OCI layout
//
//	vserver-image login REF                 what docker or podman keep for its registry
//	vserver-image unpack                    a tar archive into a directory
//
// Unpack runs as root, which the ids of files take, in namespaces of its own, and gives up all else
// before it reads a byte of the archive: package imagetool.
//
// Login runs as the caller, whose configuration it reads, and hears nothing of
// strangers. What it prints is the standard input of digest and pull.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"vserver/imagetool"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err := imagetool.Run(ctx, os.Args[1:], os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(imagetool.Code(err))
}
