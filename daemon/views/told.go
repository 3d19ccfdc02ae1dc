package views

import "vserver/view"

// The slot remembers what the kernel was told last of files, in a ring: who waits for an
// answer when a server is killed was told a size just before.
//
//	0  the turn, one more than that of the one before; 0 for none
//	8  id of the connection
//	16 the node
//	24 since when it says so
//	32 length of the text
//	40 the text
const (
	toldText = 40
	toldSize = 8 << 10 // a longer text is not kept
	maxTold  = 64
)

// toldOf is a slot as the memory of one connection.
type toldOf struct {
	slot *slot
	id   uint64
}

// toldAt gives the i-th entry.
func (s *slot) toldAt(i uint64) []byte { return s.mem[slotTold+i*toldSize:][:toldSize] }

// lastTurn finds the turn of what was told last.
func (s *slot) lastTurn() (turn uint64) {
	for i := range uint64(maxTold) {
		turn = max(turn, enc.Uint64(s.toldAt(i)))
	}
	return turn
}

// Tell keeps what a file says. The oldest entry gives its place, so that what was told
// before of the file stands until this is whole.
func (t toldOf) Tell(n view.Node, text []byte, since int64) {
	if len(text) > toldSize-toldText {
		return
	}
	t.slot.turn++
	e := t.slot.toldAt(t.slot.turn % maxTold)
	enc.PutUint64(e, 0)
	enc.PutUint64(e[8:], t.id)
	enc.PutUint64(e[16:], uint64(n))
	enc.PutUint64(e[24:], uint64(since))
	enc.PutUint64(e[32:], uint64(len(text)))
	copy(e[toldText:], text)
	enc.PutUint64(e, t.slot.turn)
}

// Told gives what Tell kept last of a file; since is 0 when it was forgotten.
func (t toldOf) Told(n view.Node) (text []byte, since int64) {
	var newest uint64
	for i := range uint64(maxTold) {
		e := t.slot.toldAt(i)
		turn, size := enc.Uint64(e), enc.Uint64(e[32:])
		if turn <= newest || enc.Uint64(e[8:]) != t.id || view.Node(enc.Uint64(e[16:])) != n || size > toldSize-toldText {
			continue
		}
		newest = turn
		text, since = append([]byte(nil), e[toldText:toldText+size]...), int64(enc.Uint64(e[24:]))
	}
	return text, since
}
