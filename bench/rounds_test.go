package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"vserver/internal/need"
)

func TestMain(m *testing.M) { need.Main(m) }

func TestQuantile(t *testing.T) {
	times := []time.Duration{5, 1, 4, 2, 3}
	for q, want := range map[float64]time.Duration{0: 1, 0.5: 3, 0.9: 5, 1: 5} {
		if got := quantile(times, q); got != want {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	if got := quantile(nil, 0.5); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
}

func TestInterleave(t *testing.T) {
	var out strings.Builder
	calls := ""
	interleave(&out, 2, []row{
		{"one", func() (time.Duration, error) { calls += "1"; return 2 * time.Millisecond, nil }},
		{"two", func() (time.Duration, error) { calls += "2"; return 3 * time.Millisecond, nil }},
		{"bad", func() (time.Duration, error) { calls += "x"; return 0, errors.New("will not") }},
	})
	if calls != "12x121212" {
		t.Errorf("called in the order %s", calls)
	}
	for _, want := range []string{"one  ", "2.00     2.00     2.00    1.00", "3.00     3.00     3.00    1.50", "will not"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, &out)
		}
	}
}

func TestLife(t *testing.T) {
	if d, err := life([]string{"/bin/sh", "-c", "sleep 0.05"}); err != nil || d < 50*time.Millisecond {
		t.Errorf("took %v, %v", d, err)
	}
	if _, err := life([]string{"/bin/sh", "-c", "echo why >&2; exit 3"}); err == nil || !strings.Contains(err.Error(), "status 0x300: why") {
		t.Errorf("a command that fails: %v", err)
	}
}
