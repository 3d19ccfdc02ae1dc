package quota

import (
	"errors"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"vserver/guest"
)

func lockThread() { runtime.LockOSThread() }

func TestParseReserve(t *testing.T) {
	for text, want := range map[string]guest.Bytes{"10%": 100, "10 %\n": 100, "0": 0, "1K": 1024, "2.5%": 25, "100%": 1000} {
		if got, err := ParseReserve(text, 1000); err != nil || got != want {
			t.Errorf("%q = %v %v", text, got, err)
		}
	}
	for _, text := range []string{"", "-1", "101%", "%", "NaN%", "much"} {
		if _, err := ParseReserve(text, 1000); !errors.Is(err, guest.ErrInvalid) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzParseReserve(f *testing.F) {
	f.Add("10%")
	f.Add("20G")
	f.Fuzz(func(t *testing.T, text string) {
		if got, err := ParseReserve(text, 1<<40); err == nil && got < 0 {
			t.Errorf("%q = %d", text, got)
		}
	})
}

func TestFits(t *testing.T) {
	room := Room{Total: 1000, Free: 500}
	me := Claim{"web1", 200, 50}
	for _, c := range []struct {
		reserve guest.Bytes
		who     Claim
		running []Claim
		want    error
	}{
		{100, me, nil, nil},
		{350, me, nil, nil},
		{351, me, nil, syscall.ENOSPC},
		{100, me, []Claim{{"a", 300, 50}}, nil},
		{100, me, []Claim{{"a", 300, 49}}, syscall.ENOSPC},
		{100, me, []Claim{{"a", 100, 300}}, nil}, // over its limit: takes no more
		{100, me, []Claim{{"a", 0, 0}}, guest.ErrInvalid},
		{100, Claim{"web1", 0, 0}, nil, guest.ErrInvalid},
		{900, Claim{"web1", 1, 1}, nil, syscall.ENOSPC},
	} {
		if err := Fits(room, c.reserve, c.who, c.running); !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if err := Fits(room, 13527658700, Claim{"web1", 0, 0}, nil); err == nil || !strings.Contains(err.Error(), "and 12901M of") {
		t.Errorf("a part of the disk: %v", err)
	}
}
