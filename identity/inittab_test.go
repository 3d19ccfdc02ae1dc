package identity

import "testing"

func TestAtConsole(t *testing.T) {
	for _, c := range []struct{ what, text, want string }{
		{"sysvinit",
			"# getty: 1:2:respawn:/sbin/getty 38400 tty1\nid:2:initdefault:\n1:2345:respawn:/sbin/getty --noclear 38400 tty1\n2:23:respawn:/sbin/getty 38400 tty2\n#T0:23:respawn:/sbin/getty -L ttyS0 9600 vt100\n",
			"# getty: 1:2:respawn:/sbin/getty 38400 tty1\nid:2:initdefault:\n1:2345:respawn:/sbin/getty --noclear 38400 console\n#2:23:respawn:/sbin/getty 38400 tty2\n#T0:23:respawn:/sbin/getty -L ttyS0 9600 vt100\n"},
		{"busybox",
			"::sysinit:/sbin/openrc sysinit\ntty1::respawn:/sbin/getty 38400 tty1\ntty2::respawn:/sbin/getty 38400 tty2\nttyS0::respawn:/sbin/getty -L ttyS0 115200 vt100",
			"::sysinit:/sbin/openrc sysinit\nconsole::respawn:/sbin/getty 38400 console\n#tty2::respawn:/sbin/getty 38400 tty2\n#ttyS0::respawn:/sbin/getty -L ttyS0 115200 vt100"},
		{"done already",
			"1:2:respawn:/sbin/agetty 38400 console linux\n2:2:respawn:/sbin/agetty 38400 tty2 linux\n",
			"1:2:respawn:/sbin/agetty 38400 console linux\n#2:2:respawn:/sbin/agetty 38400 tty2 linux\n"},
		{"no logins", "s:2:respawn:/bin/sh tty1\n:::\n1:2:once:/sbin/getty tty1\n2:2:respawn:\n", "s:2:respawn:/bin/sh tty1\n:::\n1:2:once:/sbin/getty tty1\n2:2:respawn:\n"},
	} {
		if got := atConsole(c.text); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.what, got, c.want)
		}
		if got := atConsole(c.want); got != c.want {
			t.Errorf("%s: not the same when done twice:\n%s", c.what, got)
		}
	}
}

func FuzzAtConsole(f *testing.F) {
	f.Add("1:2345:respawn:/sbin/getty --noclear 38400 tty1\n")
	f.Fuzz(func(t *testing.T, text string) {
		if once := atConsole(text); atConsole(once) != once {
			t.Errorf("%q: not the same when done twice", text)
		}
	})
}
