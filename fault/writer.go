package fault

import "io"

// Writer passes writes on. It keeps the first thing that went wrong with one, which a
// program has to say even when it does not look.
type Writer struct {
	To   io.Writer
	Lost error
}

// Write writes.
func (w *Writer) Write(p []byte) (int, error) {
	n, err := w.To.Write(p)
	if w.Lost == nil {
		w.Lost = err
	}
	return n, err
}

// WriteString writes a string.
func (w *Writer) WriteString(s string) (int, error) { return w.Write([]byte(s)) }
