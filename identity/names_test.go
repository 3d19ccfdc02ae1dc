package identity

import (
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	const own = "127.0.0.1 localhost\n192.0.2.10 web1\n"
	one, two := []string{"192.0.2.10\tweb1 web1.vs"}, []string{"192.0.2.10\tweb1 web1.vs", "192.0.2.11\tdb db.vs"}
	text := names(own, one)
	if want := own + namesBegin + "\n" + one[0] + "\n" + namesEnd + "\n"; text != want {
		t.Errorf("%q, want %q", text, want)
	}
	if again := names(text, one); again != text {
		t.Errorf("again: %q", again)
	}
	if more := names(text+"10.0.0.1 mine\n", two); strings.Count(more, namesBegin) != 1 || !strings.Contains(more, "10.0.0.1 mine\n") || !strings.Contains(more, two[1]+"\n") {
		t.Errorf("more: %q", more)
	}
	if less := names(text, nil); less != own {
		t.Errorf("less: %q", less)
	}
	if off := names(namesOff+"\n", two); off != namesOff+"\n" {
		t.Errorf("off: %q", off)
	}
}

// TestApplyNames leaves a guest alone that has no hosts file, or a link in its place.
func TestApplyNames(t *testing.T) {
	r, _ := world(t, map[string]string{"etc/hosts": "127.0.0.1 localhost\n", "etc/passwd": ""})
	if err := ApplyNames(r, []string{"192.0.2.11\tdb db.vs"}); err != nil {
		t.Fatal(err)
	}
	if got := text(t, r, "etc/hosts"); !strings.Contains(got, "localhost") || !strings.Contains(got, "db db.vs") {
		t.Errorf("%q", got)
	}
	r, _ = world(t, map[string]string{"etc/passwd": ""})
	if err := ApplyNames(r, []string{"x"}); err != nil {
		t.Error(err)
	}
}

// A guest of another name is not told of those that ran beside the one that it is like.
func TestNamesOfAnother(t *testing.T) {
	r, _ := world(t, map[string]string{"etc/hosts": "127.0.0.1\tlocalhost\n::1\tlocalhost\n", "etc/hostname": "one\n"})
	if err := ApplyNames(r, []string{"192.0.2.11\tone one.vs", "192.0.2.12\tdb db.vs"}); err != nil {
		t.Fatal(err)
	}
	if err := (Identity{Hostname: "two"}).ApplyName(r); err != nil {
		t.Fatal(err)
	}
	if got, want := text(t, r, "etc/hosts"), "127.0.0.1\tlocalhost\n::1\tlocalhost\n127.0.1.1\ttwo\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// FuzzNames: what is not ours stays, whatever a guest has written around it, unless it
// stands between our own marks.
func FuzzNames(f *testing.F) {
	f.Add("127.0.0.1 localhost\n" + namesBegin + "\nx\n" + namesEnd + "\n")
	f.Add(namesBegin)
	f.Fuzz(func(t *testing.T, was string) {
		lines := []string{"192.0.2.11\tdb"}
		once := names(was, lines)
		if twice := names(once, lines); twice != once {
			t.Errorf("%q: %q, then %q", was, once, twice)
		}
	})
}
