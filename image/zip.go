package image

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// Zip packs by kind, "zstd" or "gzip", what fill writes, and writes it to w. tool is the
// program vserver-image, "" the one beside our own; it runs as nobody.
func Zip(ctx context.Context, tool, kind string, w io.Writer, fill func(io.Writer) error) error {
	in, feed, err := os.Pipe()
	if err != nil {
		return err
	}
	c, err := start(ctx, tool, in, nobody, "zip", kind)
	in.Close()
	if err != nil {
		feed.Close()
		return err
	}
	filled := make(chan error, 1)
	go func() {
		b := bufio.NewWriterSize(feed, 1<<18) // one switch of processes for many entries
		ferr := fill(b)
		filled <- errors.Join(ferr, b.Flush(), feed.Close())
	}()
	_, werr := io.Copy(w, c)
	if werr != nil {
		c.cmd.Process.Kill() // else it waits for its reader, and fill for it
	}
	ferr := <-filled
	if errors.Is(ferr, syscall.EPIPE) {
		ferr = nil // why it ended is what it says itself
	}
	err = errors.Join(werr, ferr)
	if cerr := c.end(err); cerr != nil {
		return cerr
	}
	if err = ctx.Err(); err != nil {
		return fmt.Errorf("zip: %w", err)
	}
	return nil
}
