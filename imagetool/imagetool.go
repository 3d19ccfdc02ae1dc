// Package imagetool is the program vserver-image.
package imagetool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"vserver/codec"
	"vserver/registry"
)

// memory is the address space in bytes that the program may have: a stream can ask a
// decoder for gigabytes. Go itself reserves about 1 GiB of it.
const memory = 4 << 30

// Run does what the arguments say.
func Run(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	if err := bound(); err != nil {
		return err
	}
	switch {
	case len(args) == 1 && args[0] == "unzip":
		r, err := codec.Reader(in)
		if err != nil {
			return err
		}
		_, err = io.Copy(out, r)
		return err
	case len(args) == 3 && (args[0] == "pull" || args[0] == "digest"):
		img, err := registry.Reference(ctx, args[1], args[2],
			os.Getenv("VSERVER_REGISTRY_USER"), os.Getenv("VSERVER_REGISTRY_PASSWORD"))
		if err != nil {
			return err
		}
		if args[0] == "pull" {
			return registry.Archive(out, img)
		}
		d, err := img.Digest()
		if err == nil {
			_, err = fmt.Fprintln(out, d)
		}
		return err
	}
	return errors.New("usage: vserver-image unzip | pull REF PLATFORM | digest REF PLATFORM")
}

// bound limits what this process can do to the machine: its memory, and no core files.
func bound() error {
	for _, l := range []struct {
		what int
		max  uint64
	}{{syscall.RLIMIT_AS, memory}, {syscall.RLIMIT_CORE, 0}} {
		var now syscall.Rlimit
		if err := syscall.Getrlimit(l.what, &now); err != nil {
			return err
		}
		now.Max = min(now.Max, l.max)
		now.Cur = now.Max
		if err := syscall.Setrlimit(l.what, &now); err != nil {
			return err
		}
	}
	return nil
}
