package reach

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"vserver/guest"
	"vserver/kernel/file"
)

// in copies what is read, and out what a path leads to.
func (c *copying) in(r io.Reader, into *file.Dir, as string) error {
	draft, err := c.draft(into)
	if err != nil {
		return err
	}
	defer draft.Discard()
	if err := c.pass(draft, c.follow(r), as); err != nil {
		return err
	}
	e, err := file.EntryOf(draft.File)
	if err != nil {
		return err
	}
	defer e.Close()
	const usual = 0o644
	if err := c.plainly(e, usual); err != nil {
		return err
	}
	return c.place(draft, as)
}

func (c *copying) out(f Place) error {
	v := c.views[f.Guest]
	e, err := v.root.Entry(f.Path)
	if err != nil {
		return about(f.Guest, err)
	}
	defer e.Close()
	st, err := e.Stat()
	if err == nil && st.Type() != file.TypeFile {
		err = fmt.Errorf("%s: is %s, no file: %w", f, kindOf(st), guest.ErrInvalid)
	}
	if err == nil {
		err = v.check(f.Path, st, mayRead)
	}
	if err != nil {
		return about(f.Guest, err)
	}
	in, err := e.Open()
	if err != nil {
		return about(f.Guest, err)
	}
	defer in.Close()
	// A guest that writes on and on does not keep us for ever.
	return c.pass(c.to.Out, io.LimitReader(in, cmp.Or(st.Size, sizeless)), f.Path)
}

// sizeless is how much is read of a file that does not know its size, as those of /proc.
const sizeless = 64 << 20

// pass copies in pieces, until the context ends.
func (c *copying) pass(w io.Writer, r io.Reader, name string) error {
	const piece = 1 << 20
	for buf := make([]byte, piece); ; {
		n, err := r.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
			if err := c.tell(name, int64(n)); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// follow reads from r as long as the context lasts: what comes from a terminal or pipe may
// never end.
func (c *copying) follow(r io.Reader) io.Reader {
	f := &following{ctx: c.ctx, parts: make(chan []byte), more: make(chan struct{})}
	go func() {
		defer close(f.parts)
		const piece = 64 << 10
		for buf := make([]byte, piece); ; {
			n, err := r.Read(buf)
			select {
			case f.parts <- buf[:n]:
			case <-c.ctx.Done():
				return
			}
			select {
			case <-f.more:
			case <-c.ctx.Done():
				return
			}
			if err != nil {
				f.err = err
				return
			}
		}
	}()
	return f
}

type following struct {
	ctx   context.Context
	parts chan []byte
	more  chan struct{} // the part before has been taken
	err   error         // of the end
}

// Read takes the next part.
func (f *following) Read(p []byte) (int, error) {
	select {
	case part, ok := <-f.parts:
		if !ok {
			return 0, cmp.Or(f.err, io.ErrUnexpectedEOF)
		}
		n := copy(p, part) // p is the larger: see pass
		f.more <- struct{}{}
		return n, nil
	case <-f.ctx.Done():
		return 0, f.ctx.Err()
	}
}
