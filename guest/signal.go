package guest

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
)

// Signal is a signal by its name or number; SIGRTMIN+3 is understood. 0 is none.
type Signal syscall.Signal

// sigrtmin is SIGRTMIN as programs see it: the C library keeps 32 and 33.
const sigrtmin = 34

// signals are the signals with a name of their own, without "SIG".
func signals() []struct {
	name   string
	number syscall.Signal
} {
	return []struct {
		name   string
		number syscall.Signal
	}{
		{"HUP", syscall.SIGHUP}, {"INT", syscall.SIGINT}, {"QUIT", syscall.SIGQUIT},
		{"ILL", syscall.SIGILL}, {"TRAP", syscall.SIGTRAP}, {"ABRT", syscall.SIGABRT},
		{"BUS", syscall.SIGBUS}, {"FPE", syscall.SIGFPE}, {"KILL", syscall.SIGKILL},
		{"USR1", syscall.SIGUSR1}, {"SEGV", syscall.SIGSEGV}, {"USR2", syscall.SIGUSR2},
		{"PIPE", syscall.SIGPIPE}, {"ALRM", syscall.SIGALRM}, {"TERM", syscall.SIGTERM},
		{"CHLD", syscall.SIGCHLD}, {"CONT", syscall.SIGCONT}, {"STOP", syscall.SIGSTOP},
		{"TSTP", syscall.SIGTSTP}, {"TTIN", syscall.SIGTTIN}, {"TTOU", syscall.SIGTTOU},
		{"URG", syscall.SIGURG}, {"XCPU", syscall.SIGXCPU}, {"XFSZ", syscall.SIGXFSZ},
		{"VTALRM", syscall.SIGVTALRM}, {"PROF", syscall.SIGPROF}, {"WINCH", syscall.SIGWINCH},
		{"IO", syscall.SIGIO}, {"PWR", syscall.SIGPWR}, {"SYS", syscall.SIGSYS},
	}
}

// UnmarshalText reads "SIGTERM", "term", "15" or "SIGRTMIN+3".
func (s *Signal) UnmarshalText(b []byte) error {
	word := strings.TrimPrefix(strings.ToUpper(string(b)), "SIG")
	if n, err := strconv.Atoi(word); err == nil && n > 0 && n <= 64 {
		*s = Signal(n)
		return nil
	}
	if off, ok := strings.CutPrefix(word, "RTMIN"); ok {
		n, err := strconv.Atoi(strings.TrimPrefix("0"+off, "0+"))
		if err == nil && n >= 0 && sigrtmin+n <= 64 {
			*s = Signal(sigrtmin + n)
			return nil
		}
	}
	for _, known := range signals() {
		if known.name == word {
			*s = Signal(known.number)
			return nil
		}
	}
	return fmt.Errorf("signal %q: want a name or a number from 1 to 64: %w", b, ErrInvalid)
}

// String gives the name, as SIGTERM or SIGRTMIN+3.
func (s Signal) String() string {
	for _, known := range signals() {
		if Signal(known.number) == s {
			return "SIG" + known.name
		}
	}
	if s >= sigrtmin {
		return "SIGRTMIN+" + strconv.Itoa(int(s)-sigrtmin)
	}
	return strconv.Itoa(int(s))
}

// MarshalText writes the name.
func (s Signal) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Rlimit is a soft and a hard limit of a process, written "SOFT:HARD" or one
// number for both, with K, M, G or T as sizes have them; "unlimited" has no end.
type Rlimit struct{ Soft, Hard uint64 }

// Unlimited is RLIM_INFINITY of setrlimit(2).
const Unlimited = ^uint64(0)

// UnmarshalText reads "1024:4096".
func (r *Rlimit) UnmarshalText(b []byte) error {
	soft, hard, two := strings.Cut(string(b), ":")
	if !two {
		hard = soft
	}
	for _, p := range []struct {
		text string
		to   *uint64
	}{{soft, &r.Soft}, {hard, &r.Hard}} {
		if p.text == "unlimited" || p.text == "inf" {
			*p.to = Unlimited
			continue
		}
		var err error
		if *p.to, err = strconv.ParseUint(p.text, 10, 64); err == nil {
			continue
		}
		var size Bytes
		if size.UnmarshalText([]byte(p.text)) != nil {
			return fmt.Errorf("rlimit %q: want SOFT:HARD, each a number, a size as 64M, or unlimited: %w", b, ErrInvalid)
		}
		*p.to = uint64(size)
	}
	if r.Soft > r.Hard {
		return fmt.Errorf("rlimit %q: soft limit above the hard one: %w", b, ErrInvalid)
	}
	return nil
}

// MarshalText writes "SOFT:HARD".
func (r Rlimit) MarshalText() ([]byte, error) {
	one := func(n uint64) string {
		if n == Unlimited {
			return "unlimited"
		}
		return strconv.FormatUint(n, 10)
	}
	return []byte(one(r.Soft) + ":" + one(r.Hard)), nil
}
