package guest

import (
	"errors"
	"testing"
)

func TestCount(t *testing.T) {
	for text, want := range map[string]string{"500k": "500k", "500000": "500k", "1.5M": "1500k", "2G": "2G", "7": "7", "1K": "1k", "0": "0"} {
		var c Count
		if err := c.UnmarshalText([]byte(text)); err != nil || c.String() != want {
			t.Errorf("%s: %v %v, want %s", text, c, err, want)
		}
	}
	for _, text := range []string{"", "-1", "k", "1e30", "NaN", "0x1p4", "1_0", "5 apples"} {
		var c Count
		if err := c.UnmarshalText([]byte(text)); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestProject(t *testing.T) {
	if low, high := MinXID.Project(), MaxXID.Project(); low == 0 || high <= low || high >= 1<<31 {
		t.Errorf("projects from %d to %d", low, high)
	}
	if x, ok := OfProject(XID(8).Project()); x != 8 || !ok {
		t.Errorf("project of 8 is of %d %v", x, ok)
	}
	for _, id := range []uint32{0, 8, projectBase, projectBase + 65535} {
		if x, ok := OfProject(id); ok {
			t.Errorf("project %d is of %d", id, x)
		}
	}
}
