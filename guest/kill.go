package guest

import (
	"fmt"
	"strings"
	"time"
)

// Kill is a signal for all processes of a guest, and how long they are waited for then.
type Kill struct {
	Signal Signal
	Wait   Duration
}

// ParseKills reads init.kill_sequence: SIGNAL [WAIT SIGNAL]*, as Linux-VServer's killseq.
func ParseKills(words []string) (out []Kill, err error) {
	if len(words) == 0 {
		return nil, nil
	}
	if len(words)%2 == 0 {
		return nil, fmt.Errorf("%q: want a signal, and then seconds and a signal any number of times: %w", strings.Join(words, " "), ErrInvalid)
	}
	if len(words) > 20 {
		return nil, fmt.Errorf("%d words: want at most 20: %w", len(words), ErrInvalid)
	}
	for i := 0; i < len(words); i += 2 {
		var k Kill
		if err := k.Signal.UnmarshalText([]byte(words[i])); err != nil {
			return nil, err
		}
		if i+1 < len(words) {
			if err := k.Wait.UnmarshalText([]byte(words[i+1])); err != nil {
				return nil, err
			}
			if k.Wait > Duration(time.Hour) {
				return nil, fmt.Errorf("%v: want at most an hour: %w", k.Wait, ErrInvalid)
			}
		}
		out = append(out, k)
	}
	return out, nil
}

func (v *validator) runlevels(i *Init) {
	for _, l := range []struct{ key, value, levels, want string }{
		{"init.runlevel", i.Runlevel, "123456789Ss", "1 to 9 or S"},
		{"init.runlevel_stop", i.RunlevelStop, "0123456789", "0 to 9"},
	} {
		switch {
		case l.value == "":
		case len(l.value) != 1 || !strings.Contains(l.levels, l.value):
			v.bad(l.key, "%q: want one of %s", l.value, l.want)
		case i.Style != InitSysv:
			v.bad(l.key, "has no meaning without style: sysv")
		case l.key == "init.runlevel" && len(i.Command) > 0:
			v.bad(l.key, "has no meaning with a command of its own")
		}
	}
	if _, err := ParseKills(i.KillSequence); err != nil {
		v.fail("init.kill_sequence", err)
	}
}
