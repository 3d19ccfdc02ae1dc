package lone

import (
	"fmt"
	"net/netip"
	"os"
	"strings"

	"vserver/guest"
	"vserver/kernel/file"
)

// write puts the configuration down: a line for each word, flags and capabilities by
// their names.
func (c *Config) write(path string) error {
	var b strings.Builder
	for _, f := range c.Flags.Names() {
		fmt.Fprintln(&b, "flag", f)
	}
	for _, n := range c.Caps.Names() {
		fmt.Fprintln(&b, "ncap", n)
	}
	if c.Lback.IsValid() {
		fmt.Fprintln(&b, "lback", c.Lback)
	}
	for _, a := range c.Addresses {
		fmt.Fprintln(&b, "ip", a)
	}
	return file.Replace(path, []byte(b.String()), 0o600)
}

func read(path string) (c Config, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return c, err
	}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch key {
		case "flag":
			c.Flags, err = c.Flags.Change([]string{value})
		case "ncap":
			c.Caps, err = c.Caps.Change([]string{value})
		case "lback":
			c.Lback, err = netip.ParseAddr(value)
		case "ip":
			var p netip.Prefix
			p, err = netip.ParsePrefix(value)
			c.Addresses = append(c.Addresses, p)
		default:
			err = fmt.Errorf("%q: %w", key, guest.ErrInvalid)
		}
		if err != nil {
			return c, fmt.Errorf("%s: %w", path, err)
		}
	}
	return c, nil
}
