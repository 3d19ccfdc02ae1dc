package image

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"

	"vserver/archive"
)

// Zip packs by kind, "zstd" or "gzip", at a level of their tools, 0 for the usual one, what
// fill writes, and writes it to w. It runs as nobody.
func Zip(ctx context.Context, tool Tool, kind string, level int, w io.Writer, fill func(io.Writer) error) error {
	in, feed, err := os.Pipe()
	if err != nil {
		return err
	}
	c, err := start(ctx, tool, in, nobody, "zip", kind, strconv.Itoa(level))
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

// Unzipped is the unpacked stream of another.
type Unzipped struct {
	io.Reader
	c      *child
	packed atomic.Int64
	in     *counting
}

// Unzip unpacks a stream of any compression, as nobody.
func Unzip(ctx context.Context, tool Tool, r io.Reader) (*Unzipped, error) {
	u := &Unzipped{}
	u.in = &counting{r: r, n: &u.packed}
	c, err := start(ctx, tool, u.in, nobody, "unzip")
	if err != nil {
		return nil, err
	}
	u.c, u.Reader = c, bufio.NewReaderSize(c, 1<<18)
	return u, nil
}

// Packed is how many bytes of the packed stream were read so far.
func (u *Unzipped) Packed() int64 { return u.packed.Load() }

// End reads what is left, which must be nothing, and tells whether the stream was whole.
// With err, what its reader says, that is of no interest any more.
func (u *Unzipped) End(err error) error {
	if u.c == nil {
		return err
	}
	if err == nil {
		var n int64
		if n, err = io.Copy(io.Discard, io.LimitReader(u.Reader, 1)); err == nil && n > 0 {
			err = fmt.Errorf("archive: data behind its end: %w", archive.ErrHostile)
		}
	}
	said := u.c.end(err)
	u.c = nil
	if failed := u.in.failed.Load(); failed != nil {
		return *failed // of which the program knows nothing
	}
	if said != nil && !errors.Is(said, err) {
		return fmt.Errorf("the stream is broken: %w", said)
	}
	return said
}
