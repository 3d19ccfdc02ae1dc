package image

import (
	"hash"
	"io"
)

// Stream is a stream of which more is read ahead than is taken in the end.
type Stream struct {
	r    io.Reader
	sum  hash.Hash // of what was taken; nil for none
	back []byte    // read, and not taken
	sent []byte    // read by next, and not known to be taken
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

// piped bounds what a pipe holds in bytes: 16 pages of at most 64 KiB (pipe(7)).
const piped = 1 << 20

// next reads ahead for a pipe. What it gave before is in the pipe or was taken.
func (s *Stream) next(b []byte) (int, error) {
	if sure := len(s.sent) - piped; sure > 0 {
		s.take(s.sent[:sure])
		s.sent = append(s.sent[:0], s.sent[sure:]...)
	}
	n, err := s.ahead(b)
	s.sent = append(s.sent, b[:n]...)
	return n, err
}

// took ends a reading ahead, of which rest was not taken.
func (s *Stream) took(rest []byte) {
	s.take(s.sent[:len(s.sent)-len(rest)])
	s.sent = s.sent[:0]
	s.back = append(rest, s.back...)
}
