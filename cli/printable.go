package cli

import "unicode/utf8"

// printable takes out of a guest's text what a terminal would act upon: control
// characters and escape sequences, but for tabs and, where asked, colours. Without
// it a guest could retitle, recolour or answer for the terminal of the host's
// administrator. The line's end goes as well.
func printable(text []byte, colours bool) []byte {
	out := make([]byte, 0, len(text))
	for len(text) > 0 {
		if text[0] == 0x1b {
			n, colour := escapeLength(text)
			if colour && colours {
				out = append(out, text[:n]...)
			}
			text = text[n:]
			continue
		}
		r, n := utf8.DecodeRune(text)
		switch {
		case r == utf8.RuneError && n == 1:
			out = append(out, '?')
		case r == '\t' || r >= ' ' && r < 0x7f || r >= 0xa0:
			out = append(out, text[:n]...)
		}
		text = text[n:]
	}
	return out
}

// escapeLength is the length of the escape sequence (ECMA-48) that text begins
// with, and whether it only sets colours.
func escapeLength(text []byte) (n int, colour bool) {
	if len(text) < 2 {
		return len(text), false
	}
	switch text[1] {
	case '[': // CSI: up to a final byte
		for i := 2; i < len(text); i++ {
			if text[i] >= 0x40 && text[i] <= 0x7e {
				return i + 1, text[i] == 'm' && plain(text[2:i])
			}
			if text[i] < 0x20 {
				return i, false
			}
		}
		return len(text), false
	case ']', 'P', 'X', '^', '_': // OSC, DCS, ...: up to BEL or ESC \
		for i := 2; i < len(text); i++ {
			switch {
			case text[i] == 0x07:
				return i + 1, false
			case text[i] == 0x1b && i+1 < len(text) && text[i+1] == '\\':
				return i + 2, false
			}
		}
		return len(text), false
	}
	return 2, false
}

// plain says whether the parameters of a sequence are numbers and nothing else.
func plain(parameters []byte) bool {
	for _, c := range parameters {
		if (c < '0' || c > '9') && c != ';' && c != ':' {
			return false
		}
	}
	return true
}
