package hook

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"vserver/guest"
)

// event is a way in which a guest ends by itself, as Linux-VServer's kernel told its helper.
type event struct {
	name string
	cmd  uint32 // of reboot(2)
}

// events are those that an end can be, the likelier first: a halt and a power-off cannot be
// told apart.
func events(why guest.Reason) []event {
	switch why {
	case guest.Rebooted:
		return []event{{"restart", syscall.LINUX_REBOOT_CMD_RESTART}}
	case guest.Halted:
		return []event{{"halt", syscall.LINUX_REBOOT_CMD_HALT}, {"poweroff", syscall.LINUX_REBOOT_CMD_POWER_OFF}}
	}
	return []event{{"shutdown", 0}}
}

// helper finds the program that util-vserver's vshelper executed for an event, in its order;
// "" when it did what is done without one: start a guest again that reboots.
func (r Runner) helper(name string) string {
	defaults := filepath.Join(r.Dirs.Config, ".defaults/apps")
	if p := filepath.Join(defaults, "vshelper-delegate", name); isFile(p) {
		return p
	}
	own := filepath.Join(r.Dirs.Config, string(r.Name), "apps/vshelper")
	for _, dir := range []string{own, filepath.Join(r.Dirs.Config, ".migrated", string(r.Name), "apps/vshelper"), filepath.Join(defaults, "vshelper")} {
		if p := filepath.Join(dir, name); isFile(p) {
			return p
		}
		action, ok := firstLine(filepath.Join(dir, "action"))
		if !ok {
			continue
		}
		if slices.Contains([]string{"", "restart", "sync", "async"}, action) || action != filepath.Base(action) {
			return ""
		}
		return filepath.Join(defaults, "vshelper-methods", action)
	}
	return ""
}

// Helped tells whether there is such a program for the end of a guest.
func (r Runner) Helped(why guest.Reason) bool {
	return slices.ContainsFunc(events(why), func(e event) bool { return r.helper(e.name) != "" })
}

// Help runs it, in the place of all else that would be done about the guest: with the
// event and the guest's number as arguments.
func (r Runner) Help(ctx context.Context, why guest.Reason) error {
	for _, e := range events(why) {
		program := r.helper(e.name)
		if program == "" {
			continue
		}
		info, err := os.Stat(program)
		if err == nil {
			err = foreign(info)
		}
		if err == nil {
			ctx, cancel := context.WithTimeout(ctx, longest)
			defer cancel()
			c := r.command(ctx, "vshelper", program, e.name, fmt.Sprint(r.Spec.XID))
			c.Dir = "/"
			c.Env = append(c.Env, fmt.Sprintf("VS_CMD=%08X", e.cmd), "VS_UID=0", "VS_PID=1")
			err = c.Run()
		}
		if err != nil {
			return fmt.Errorf("vshelper %s %s: %w", e.name, program, err)
		}
		return nil
	}
	return nil
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// firstLine reads a setting; ok is whether there is one.
func firstLine(path string) (line string, ok bool) {
	f, err := os.Open(path)
	if err != nil {
		return "", false
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	s.Scan()
	return strings.TrimSpace(s.Text()), true
}
