package console

import (
	"bytes"
	"fmt"
	"time"

	"vserver/daemon/loop"
	"vserver/daemon/proto"
	"vserver/kernel/seqpacket"
)

// Viewer is a connection that is attached to a console.
type Viewer struct {
	con     *Console
	fd      int
	src     *loop.Source
	unread  []byte // typed, but the guest does not read
	skipped int    // bytes not shown because the viewer does not read
	gone    bool
}

// Attach joins a connection, which stays the caller's, to the console, beginning with
// the last lines of its log.
func (c *Console) Attach(fd int, src *loop.Source, lines int) *Viewer {
	v := &Viewer{con: c, fd: fd, src: src}
	v.Show(c.history(lines))
	c.viewers[v] = true
	return v
}

// Leave ends the attachment.
func (v *Viewer) Leave() {
	v.gone = true
	delete(v.con.viewers, v)
}

// Busy tells whether what was typed before is still to be taken by the guest; the
// connection is not to be read meanwhile.
func (v *Viewer) Busy() bool { return len(v.unread) > 0 }

// Show sends output. A viewer that does not read misses what does not fit its socket,
// and is told so.
func (v *Viewer) Show(data []byte) {
	for len(data) > 0 {
		piece := data[:min(len(data), proto.MaxMessage)]
		if v.skipped > 0 || seqpacket.Send(v.fd, piece) != nil {
			v.skipped += len(data)
			v.con.set.Loop.Want(v.src, v.src.Events()|loop.Writable)
			return
		}
		data = data[len(piece):]
	}
}

// Roomy is called when the connection takes output again.
func (v *Viewer) Roomy() {
	v.con.set.Loop.Want(v.src, v.src.Events()&^loop.Writable)
	if n := v.skipped; n > 0 {
		v.skipped = 0
		v.Show(fmt.Appendf(nil, "\r\n[%d bytes not shown]\r\n", n))
	}
}

// typePause is between two tries to type to a guest that does not read.
const typePause = 20 * time.Millisecond

// Type passes on what was typed. What the guest does not take is kept and tried again,
// and the connection is not waited for meanwhile.
func (v *Viewer) Type(data []byte) {
	n := v.con.typed(data)
	v.unread = append(v.unread[:0], data[n:]...)
	if len(v.unread) == 0 {
		v.con.set.Loop.Want(v.src, v.src.Events()|loop.Readable)
		return
	}
	v.con.set.Loop.Want(v.src, v.src.Events()&^loop.Readable)
	v.con.set.Loop.After(typePause, func() {
		if !v.gone {
			v.Type(bytes.Clone(v.unread))
		}
	})
}
