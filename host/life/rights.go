package life

import (
	"context"

	"vserver/guest"
	"vserver/step"
	"vserver/sysctl"
	"vserver/vcontext"
)

// rightsSteps are what a guest's rights want done before its first process goes on; a
// guest that wants nothing has none. Their undoing is the end of the group and of the
// namespaces.
func (r *Run) rightsSteps() (list []step.Step) {
	if vcontext.Guarded(&r.spec) {
		list = append(list, step.Step{Name: "keep the guest to its devices", Do: func(context.Context) error {
			return vcontext.Guard(r.group, &r.spec)
		}})
	}
	if len(r.spec.Rights.Sysctls) > 0 {
		list = append(list, step.Step{Name: "set the guest's own kernel settings", Do: r.setSysctls})
	}
	return list
}

func (r *Run) setSysctls(context.Context) error {
	pidfd, err := r.child.Pidfd()
	if err != nil {
		return err
	}
	_, err = sysctl.Give(pidfd, r.plan.Base, r.spec.Rights.Sysctls, ownNet(&r.spec))
	return err
}

// ownNet tells whether the settings of its network are the guest's.
func ownNet(s *guest.Spec) bool { return s.Network.OwnNet() && !s.Network.Hidden() }
