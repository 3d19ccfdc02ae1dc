package fault

import (
	"errors"
	"fmt"
	"io"
	"testing"
)

func TestError(t *testing.T) {
	cause := errors.New("mount /proc: permission denied")
	for _, c := range []struct {
		err  error
		want string
	}{
		{New("web1", "start", cause), "web1: start: mount /proc: permission denied"},
		{New("web1", "start", New("web1", "start", cause)), "web1: start: mount /proc: permission denied"},
		{New("web1", "restart", New("web1", "start", cause)), "web1: restart: start: mount /proc: permission denied"},
		{New("web1", "start", errors.Join(New("web1", "start", cause), nil)), "web1: start: mount /proc: permission denied"},
		{New("web1", "start", New("", "", cause)), "web1: start: mount /proc: permission denied"},
		{New("web1", "start", New("db1", "start", cause)), "web1: start: db1: start: mount /proc: permission denied"},
		{New("", "check", cause), "check: mount /proc: permission denied"},
		{New("web1", "start", Hint(cause, "try")), "web1: start: mount /proc: permission denied"},
	} {
		if c.err.Error() != c.want {
			t.Errorf("got %q, want %q", c.err, c.want)
		}
		if !errors.Is(c.err, cause) {
			t.Errorf("%q has lost its cause", c.err)
		}
	}
	if New("web1", "start", nil) != nil || Hint(nil, "x") != nil {
		t.Error("an error out of nothing")
	}
}

func TestHint(t *testing.T) {
	inner := Hint(io.EOF, "the first way out")
	for _, err := range []error{inner, New("web1", "start", inner), fmt.Errorf("reading: %w", inner),
		Hint(New("web1", "start", inner), "another"), errors.Join(io.ErrNoProgress, inner)} {
		if got := HintOf(err); got != "the first way out" {
			t.Errorf("%v: hint %q", err, got)
		}
	}
	joined := errors.Join(New("web1", "export", io.EOF))
	if got := New("web1", "export", Hint(joined, "a way out")).Error(); got != "web1: export: EOF" {
		t.Errorf("%q", got)
	}
	if got := HintOf(New("web1", "start", io.EOF)); got != "" {
		t.Errorf("hint %q out of nothing", got)
	}
}
