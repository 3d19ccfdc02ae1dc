// Package imagetool is the program vserver-image.
package imagetool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"syscall"

	"vserver/codec"
	"vserver/registry"
)

// memory is the address space in bytes that the program may have: a stream can ask a
// decoder for gigabytes. Go itself reserves about 1 GiB of it.
const memory = 4 << 30

// maxLogin is the longest login in bytes: tokens of the large registries take some 3,000.
const maxLogin = 64 << 10

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
	case len(args) == 1 && args[0] == "unpack":
		return unpack(ctx, in, out)
	case len(args) == 3 && args[0] == "zip":
		return zip(args[1], args[2], in, out)
	case len(args) == 2 && args[0] == "login":
		login, err := registry.Login(args[1])
		if err == nil {
			_, err = out.Write(login)
		}
		return err
	case len(args) == 3 && (args[0] == "pull" || args[0] == "digest"):
		login, err := io.ReadAll(io.LimitReader(in, maxLogin))
		if err != nil {
			return err
		}
		img, err := registry.Reference(ctx, args[1], args[2], login)
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
	return errors.New("usage: vserver-image unzip | unpack | zip zstd|gzip LEVEL | login REF | pull REF PLATFORM | digest REF PLATFORM")
}

// refused is the exit code for a registry that wants another login, or any: sysexits' noperm.
const refused = 77

// Code is the exit code for what Run gave.
func Code(err error) int {
	switch {
	case err == nil:
		return 0
	case registry.Refused(err):
		return refused
	}
	return 1
}

// zip packs a stream.
func zip(kind, level string, in io.Reader, out io.Writer) error {
	n, err := strconv.Atoi(level)
	if err != nil {
		return err
	}
	w, err := codec.Writer(out, kind, n)
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, in); err != nil {
		return err
	}
	return w.Close()
}

// bound limits what this process can do to the machine, its memory, and what others that
// run as nobody can do to it: they may not look into it.
func bound() error {
	if _, _, e := syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_SET_DUMPABLE, 0, 0); e != 0 {
		return e
	}
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
