package proto

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"vserver/guest"
	"vserver/kernel/seqpacket"
)

// Events is a client's end of what happens to guests.
type Events struct{ file *os.File }

// Watch has vserverd tell what happens to guests from now on. It is started when it is not
// there, unless again is true: who was told by one that is gone does not want another.
func Watch(dirs guest.Dirs, again bool) (*Events, error) {
	connect := func() (int, error) { return dial(dirs) }
	if again {
		connect = func() (int, error) { return seqpacket.Dial(dirs.Socket(), Patience) }
	}
	fd, err := ask(connect, VerbEvents, true, answer)
	if err != nil {
		return nil, err
	}
	if err := syscall.SetNonblock(fd, true); err != nil {
		syscall.Close(fd)
		return nil, err
	}
	return &Events{os.NewFile(uintptr(fd), "events")}, nil
}

// Next waits for the next event, until ctx is done. io.EOF says that vserverd has ended, or
// that events came faster than they were taken.
func (e *Events) Next(ctx context.Context) (guest.Event, error) {
	stop := context.AfterFunc(ctx, func() { e.file.Close() })
	defer stop()
	buf := make([]byte, MaxMessage)
	n, err := e.file.Read(buf)
	switch {
	case ctx.Err() != nil:
		return guest.Event{}, ctx.Err()
	case errors.Is(err, syscall.ECONNRESET):
		return guest.Event{}, io.EOF
	case err != nil:
		return guest.Event{}, err
	}
	var event guest.Event
	if err := json.Unmarshal(buf[:n], &event); err != nil {
		return event, fmt.Errorf("vserverd: event %q: %w", buf[:n], guest.ErrInvalid)
	}
	return event, nil
}

// Close ends the connection.
func (e *Events) Close() error { return e.file.Close() }
