package cli

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"vserver/fault"
	"vserver/guest"
)

// What stood in front of a name is taken or left out, and nothing else.
func TestOfOld(t *testing.T) {
	for line, want := range map[string]string{
		"web1 start": "web1 start", "-s -v --silent web1 start": "web1 start", "--silent web1 delete": "--silent web1 delete",
		"--silent delete web1": "--silent delete web1", "----insecure web1 exec -v": "--stopped web1 exec -v", "--json --debug web1 info": "--json web1 info",
		"-v": "-v", "": "", "-- web1 start": "web1 start", "hashify -v web1": "hashify -v web1",
	} {
		if got, err := ofOld(strings.Fields(line)); err != nil || strings.Join(got, " ") != want {
			t.Errorf("%q: %q, %v", line, got, err)
		}
	}
}

func TestArrange(t *testing.T) {
	for _, tt := range []struct {
		line          string
		verb, subject string
		words         string
	}{
		{"start web1", "start", "", "web1"},
		{"web1 start", "start", "web1", ""},
		{"start web1 web2 -n", "start", "", "web1 web2 -n"},
		{"--json web1 status", "status", "web1", "--json"},
		{"web1 --json status", "status", "web1", "--json"},
		{"web1 exec -t ls -l", "exec", "web1", "-t ls -l"},
		{"web1 exec -- start", "exec", "web1", "-- start"},
		{"web1 rename web2", "rename", "web1", "web2"},
		{"", "help", "", ""},
		{"--help", "help", "", ""},
		{"--json -h", "help", "", "--json"},
		{"help start", "help", "", "start"},
	} {
		verb, subject, words, err := arrange(strings.Fields(tt.line), nobody)
		if err != nil || verb != tt.verb || subject != tt.subject || strings.Join(words, " ") != tt.words {
			t.Errorf("%q: got %q %q %q, %v", tt.line, verb, subject, words, err)
		}
	}
}

// nobody is a host without guests.
func nobody(string) bool { return false }

func TestArrangeComplains(t *testing.T) {
	for line, want := range map[string]string{
		"strat web1":      "no such command: strat; start is one",
		"web1 strat":      "no such command: strat; start is one",
		"rm web1":         "no such command: rm; delete is one",
		"web1 shell":      "no such command: shell; enter is one",
		"ls":              "no such command: ls; list is one",
		"web1":            "web1: what about it? a verb is missing",
		"web1 web2 start": "several guests stand behind the verb",
		"web1 frobnicate": "no such command: frobnicate",
		"gone frobnicate": "neither gone nor frobnicate is a command",
	} {
		_, _, _, err := arrange(strings.Fields(line), func(name string) bool { return name == "web1" })
		if err == nil || !strings.Contains(err.Error(), want) || exitCode(err) != exitUsage || fault.HintOf(err) == "" {
			t.Errorf("%q: got %v, code %d, hint %q", line, err, exitCode(err), fault.HintOf(err))
		}
	}
}

func FuzzArrange(f *testing.F) {
	f.Add("web1 exec -t -- ls")
	f.Add("-x --json start")
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.Fields(line)
		given := slices.Clone(args)
		verb, subject, words, err := arrange(args, nobody)
		if !slices.Equal(args, given) {
			t.Errorf("%q: the arguments were changed to %q", given, args)
		}
		if err != nil {
			return
		}
		n := len(words) + 1
		if subject != "" {
			n++
		}
		if n != len(given) && len(given) > 0 && verb != "help" {
			t.Errorf("%q: words were lost: %q %q %q", given, verb, subject, words)
		}
	})
}

func TestCircle(t *testing.T) {
	names := []guest.Name{"a", "b", "c"}
	if err := circle(names, map[guest.Name][]guest.Name{"a": {"b", "c"}, "b": {"c"}}); err != nil {
		t.Error(err)
	}
	if err := circle(names, map[guest.Name][]guest.Name{"a": {"b"}, "b": {"c"}, "c": {"a"}}); err == nil {
		t.Error("a circle was not found")
	}
}

func TestExitCodes(t *testing.T) {
	about := func(err error) error { return fault.New("web1", "start", err) }
	for _, tt := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("x"), 1},
		{usagef("x"), 2},
		{usageHint("vserver help", "x"), 2},
		{about(guest.ErrStopped), 3},
		{about(guest.ErrNotFound), 5},
		{about(guest.ErrBusy), 6},
		{about(guest.ErrUnsupported), 7},
		{about(context.Canceled), 130},
		{code(42), 42},
		{many{about(guest.ErrNotFound), errors.New("x")}, 5},
		{many{code(3), code(3)}, 3},
		{join(nil, nil), 0},
		{join(many{guest.ErrBusy}, nil, errors.New("x")), 6},
	} {
		if got := exitCode(tt.err); got != tt.want {
			t.Errorf("%v: got %d, want %d", tt.err, got, tt.want)
		}
	}
}
