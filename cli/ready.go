package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"vserver/fault"
	"vserver/guest"
	"vserver/host"
)

// readyPause is the time between two looks at a guest that is not ready yet.
const readyPause = 50 * time.Millisecond

// awaitReady comes back when the guest is ready for work: its systemd has started
// everything, and where asked, its sshd has answered. Any other init is ready as
// soon as it runs.
func (t *tool) awaitReady(ctx context.Context, n guest.Name, r readiness) error {
	err := t.untilBooted(ctx, n)
	if err == nil && r.ssh {
		err = t.untilSSH(ctx, n)
	}
	return err
}

// within bounds a wait for a guest's readiness, if that is wanted.
func (r readiness) within(ctx context.Context) (context.Context, context.CancelFunc) {
	if !r.ready {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, time.Duration(r.timeout))
}

// late says that the wait was too long, if that is what err says.
func (r readiness) late(n guest.Name, err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fault.New(string(n), "start", fault.Hint(fmt.Errorf("not ready after %s", r.timeout), "vserver logs "+string(n)))
	}
	return err
}

// untilBooted waits until the guest's systemd says that it is done starting.
// Degraded is done too: which unit failed is for the guest's owner to see.
func (t *tool) untilBooted(ctx context.Context, n guest.Name) error {
	for {
		s, err := t.look(n)
		switch {
		case err != nil:
			return err
		case s.State == guest.Stopped:
			return fault.Hint(guest.ErrStopped, "vserver status "+string(n)+" says why it ended")
		}
		exe, err := os.Readlink("/proc/" + strconv.Itoa(s.InitPID) + "/exe")
		if err == nil && filepath.Base(exe) != "systemd" {
			return nil
		}
		if state := t.systemdState(ctx, n); state == "running" || state == "degraded" {
			return nil
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// systemdState is what systemd in the guest says of itself, or "".
func (t *tool) systemdState(ctx context.Context, n guest.Name) string {
	r, w, err := os.Pipe()
	if err != nil {
		return ""
	}
	defer r.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		w.Close()
		return ""
	}
	defer null.Close()
	_, err = t.host.Exec(ctx, n, host.Command{
		Args:  []string{"systemctl", "is-system-running"},
		Stdin: null, Stdout: w, Stderr: null,
	})
	w.Close()
	if err != nil {
		return ""
	}
	line, _ := bufio.NewReader(r).ReadString('\n')
	return strings.TrimSpace(line)
}

// untilSSH waits until an sshd greets at the guest's first address.
func (t *tool) untilSSH(ctx context.Context, n guest.Name) error {
	s, err := t.look(n)
	if err != nil {
		return err
	}
	if len(s.Addresses) == 0 {
		return nil
	}
	to := netip.AddrPortFrom(s.Addresses[0].Addr(), 22).String()
	for {
		if greets(ctx, to) {
			return nil
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// greets says whether an sshd answers at the address.
func greets(ctx context.Context, to string) bool {
	d := net.Dialer{Timeout: time.Second}
	c, err := d.DialContext(ctx, "tcp", to)
	if err != nil {
		return false
	}
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprint(c, "SSH-2.0-vserver\r\n") // a visitor that says nothing is an error to its log
	line, _ := bufio.NewReader(c).ReadString('\n')
	return strings.HasPrefix(line, "SSH-")
}

// pause waits a moment, or until ctx ends.
func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(readyPause):
		return nil
	}
}
