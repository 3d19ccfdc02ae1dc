package image

import (
	"fmt"
	"hash"
	"io"
	"slices"

	"vserver/archive"
	"vserver/archive/task"
)

// Stream is a stream of which more is read ahead than is taken in the end.
type Stream struct {
	r    io.Reader
	sum  hash.Hash // of what was taken; nil for none
	back []byte    // read, and not taken
	sent []byte    // the last that next gave, not known to be taken

	given int64 // by next
}

// NewStream gives a Stream of r. sum, when not nil, gets all that is taken of it.
func NewStream(r io.Reader, sum hash.Hash) *Stream { return &Stream{r: r, sum: sum} }

// Read takes what comes next.
func (s *Stream) Read(b []byte) (int, error) {
	n, err := s.ahead(b)
	s.take(b[:n])
	return n, err
}

func (s *Stream) ahead(b []byte) (int, error) {
	if len(s.back) == 0 {
		return s.r.Read(b)
	}
	n := copy(b, s.back)
	s.back = s.back[n:]
	return n, nil
}

func (s *Stream) take(b []byte) {
	if s.sum != nil {
		s.sum.Write(b)
	}
}

// behind bounds in bytes what another process has not taken of what it was sent: what a pipe
// holds, 16 pages of at most 64 KiB (pipe(7)), and what it reads ahead itself.
const behind = 1<<20 + task.Ahead

// next reads ahead for a pipe. What it gave before is in the pipe or beyond it.
func (s *Stream) next(b []byte) (int, error) {
	if sure := len(s.sent) - behind; sure > 0 {
		s.take(s.sent[:sure])
		s.sent = append(s.sent[:0], s.sent[sure:]...)
	}
	n, err := s.ahead(b)
	s.sent, s.given = append(s.sent, b[:n]...), s.given+int64(n)
	return n, err
}

// took ends a reading ahead, of which n bytes were taken.
func (s *Stream) took(n int64) error {
	left := s.given - n
	if left < 0 || left > int64(len(s.sent)) {
		return fmt.Errorf("%d of %d bytes were taken: %w", n, s.given, archive.ErrHostile)
	}
	at := len(s.sent) - int(left)
	s.take(s.sent[:at])
	s.back = slices.Concat(s.sent[at:], s.back)
	s.sent, s.given = s.sent[:0], 0
	return nil
}
