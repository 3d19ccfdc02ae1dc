package life

import (
	"fmt"
	"slices"

	"vserver/fault"
	"vserver/guest"
	"vserver/host/files"
	"vserver/vcontext/elder"
)

// elders refuses a guest whose own init would find no control groups that it knows, and
// stand still without a word, and tells of one whose programs this kernel ends.
func (r *Run) elders() error {
	i := &r.spec.Init
	own := i.Style == guest.InitPlain && slices.Equal(i.Command, []string{"/sbin/init"})
	if !own && i.Style != guest.InitSysv || r.rescue {
		return nil
	}
	root, err := files.Root(r.dirs, &r.spec, r.dirs.Guest(r.name))
	if err != nil {
		return nil // that is for its mount to say
	}
	defer root.Close()
	if version := elder.Library(root); version != "" {
		r.complain(fmt.Errorf("programs of its C library %s end by a segmentation fault on this kernel: boot option vsyscall=xonly", version))
	}
	if !own || r.spec.Rights.Cgroup1 {
		return nil
	}
	n, err := elder.Version(root)
	if err != nil || n == 0 {
		return err
	}
	return fault.Hint(fmt.Errorf("its init is systemd %d, which knows no cgroup v2: %w", n, guest.ErrUnsupported),
		fmt.Sprintf("`vserver %s set rights.cgroup1=true` gives it the v1 group that it wants; or init.style=sysv, or command", r.name))
}
