package guest

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Bytes is a size. It is written as a number of bytes, or with K, M, G or T for
// powers of 1024 ("512M"; a trailing "B" or "iB" is allowed).
type Bytes int64

var byteUnits = []struct {
	letter string
	factor int64
}{{"T", 1 << 40}, {"G", 1 << 30}, {"M", 1 << 20}, {"K", 1 << 10}}

// UnmarshalText reads "1.5G".
func (b *Bytes) UnmarshalText(text []byte) error {
	s := strings.ToUpper(strings.TrimSpace(string(text)))
	s = strings.TrimSuffix(strings.TrimSuffix(s, "B"), "I")
	factor := int64(1)
	for _, u := range byteUnits {
		if n, ok := strings.CutSuffix(s, u.letter); ok {
			s, factor = n, u.factor
			break
		}
	}
	f, err := decimal(s)
	if err != nil || f < 0 || math.IsNaN(f) || f*float64(factor) >= math.MaxInt64 {
		return fmt.Errorf("size %q: want a number with K, M, G or T: %w", text, ErrInvalid)
	}
	*b = Bytes(f * float64(factor))
	return nil
}

// String gives the size in the largest unit that divides it.
func (b Bytes) String() string {
	for _, u := range byteUnits {
		if b != 0 && int64(b)%u.factor == 0 {
			return strconv.FormatInt(int64(b)/u.factor, 10) + u.letter
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// MarshalText writes the size as String does.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// Duration is a time span in Go's notation ("90s", "1h30m"); a bare number is
// seconds.
type Duration time.Duration

// UnmarshalText reads "90s" or "90".
func (d *Duration) UnmarshalText(text []byte) error {
	s := string(text)
	if n, err := decimal(s); err == nil {
		s = strconv.FormatFloat(n, 'f', -1, 64) + "s"
	}
	v, err := time.ParseDuration(s)
	if err != nil || v < 0 {
		return fmt.Errorf("duration %q: want seconds, or a number with ms, s, m or h: %w", text, ErrInvalid)
	}
	*d = Duration(v)
	return nil
}

// String gives Go's notation.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText writes the span as String does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// decimal reads a number as people write one: 0x1p4 and Inf are none.
func decimal(s string) (float64, error) {
	if strings.Trim(s, "0123456789.eE+-") != "" {
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseFloat(s, 64)
}
