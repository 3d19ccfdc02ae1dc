package life

import (
	"vserver/fault"
	"vserver/host/account"
	"vserver/host/files"
)

// becomeUser has the command run as the user of init.user, whom the guest's files name.
func (r *Run) becomeUser() error {
	root, err := files.Root(r.dirs, &r.spec, r.dirs.Guest(r.name))
	if err != nil {
		return err
	}
	defer root.Close()
	who, err := account.Find(root, r.spec.Init.User)
	if err != nil {
		return fault.Hint(err, "vserver set "+string(r.name)+" init.user=NAME")
	}
	r.plan.UID, r.plan.GID, r.plan.Groups = who.UID, who.GID, who.Groups
	r.plan.Init = program(&r.spec, map[string]string{"HOME": who.Home, "USER": who.Name, "LOGNAME": who.Name})
	return nil
}
