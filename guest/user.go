package guest

import "strings"

// user judges who the command runs as. An init that is to bring up a system is root.
func (v *validator) user(i *Init) {
	if i.User == "" {
		return
	}
	if i.Style != InitCommand && i.User != "root" && i.User != "0" {
		v.bad("init.user", "has no meaning without style: command")
	}
	user, group, both := strings.Cut(i.User, ":")
	if user == "" || both && group == "" || strings.ContainsAny(i.User, " \t\r\n\x00/") || strings.Contains(group, ":") {
		v.bad("init.user", "%q: want a name, a number, or user:group", i.User)
	}
}
