package patch

import (
	"strconv"
	"strings"
)

// Quote gives s as a YAML scalar: bare when that cannot be read as anything else.
// str is set for values that must stay text and not become a number.
func Quote(s string, str bool) string {
	if plainScalar(s) && !(str && otherType(s)) {
		return s
	}
	// Go's escapes of a valid UTF-8 string are all YAML's as well.
	return strconv.Quote(s)
}

func plainScalar(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '/', c == '_', c == '.':
		case c == '-' && i+1 < len(s) && s[i+1] >= '0' && s[i+1] <= '9':
		case i > 0 && (c == '-' || c == '+' || c == '@' || c == '=' || c == '%'):
		case c == ':' && i > 0 && i+1 < len(s) && s[i+1] != ' ':
		case c == ' ' && i > 0 && i+1 < len(s) && s[i+1] != ' ' && s[i+1] != '#' && s[i-1] != ':':
		default:
			return false
		}
	}
	return s != "" && !strings.EqualFold(s, "null") && !strings.HasPrefix(s, "...")
}

// otherType tells whether YAML takes the word for a number, a truth or a date.
func otherType(s string) bool {
	switch strings.ToLower(s) {
	case "true", "false", "yes", "no", "on", "off", "y", "n", ".nan", ".inf":
		return true
	}
	return s[0] >= '0' && s[0] <= '9' || (s[0] == '-' || s[0] == '+' || s[0] == '.') && len(s) > 1 && s[1] >= '0' && s[1] <= '9'
}
