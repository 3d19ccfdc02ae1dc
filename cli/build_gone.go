package cli

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/spf13/pflag"

	"vserver/fault"
)

// goneBuild are Linux-VServer's options of build that nothing here can honour, each with
// what to do instead.
func goneBuild() map[string]string {
	return map[string]string{
		"rootdir":          "guests' files are in one place: a link or mount at /var/lib/vservers moves them",
		"pkgbase":          "packages are noted in the guest: `vserver NAME apt-get` and `vserver NAME pkg` need nothing outside",
		"confdir":          "specs are in one place: VSERVER_ROOT=DIRECTORY has another installation",
		"i-know-its-there": "files that are there already: `vserver NAME build -m rsync -- --source DIRECTORY`",
	}
}

// goneMethod is what to do instead of a method that is not there, or "".
func goneMethod(name string) string {
	return map[string]string{
		"legacy":  "-m host shares the host's own files",
		"apt-rpm": "-m template with the distribution's own image",
		"urpmi":   "-m template with the distribution's own image",
		"poldek":  "-m template with the distribution's own image",
		"fai":     "`fai dirinstall DIRECTORY`, then -m rsync -- --source DIRECTORY",
	}[name]
}

// goneFlags adds those options, hidden; the name of the guest may stand once more behind -n.
func goneFlags(fl *pflag.FlagSet) {
	fl.StringP("guest", "n", "", "")
	fl.Lookup("guest").Hidden = true
	for name := range goneBuild() {
		if name == "i-know-its-there" {
			fl.Bool(name, false, "")
		} else {
			fl.String(name, "", "")
		}
		fl.Lookup(name).Hidden = true
	}
}

// refuseGone says what to do instead of an option or a method that is not there.
func refuseGone(fl *pflag.FlagSet, guest, method string) (err error) {
	if o := fl.Lookup("guest"); o.Changed && o.Value.String() != guest {
		return usagef("-n %s: the guest is called %s", o.Value, guest)
	}
	instead := goneBuild()
	fl.Visit(func(o *pflag.Flag) {
		if hint := instead[o.Name]; hint != "" && err == nil {
			err = coded{fault.Hint(errors.New("build: --"+o.Name+": is not there any more"), hint), exitUnsupported}
		}
	})
	if hint := goneMethod(method); hint != "" && err == nil {
		err = coded{fault.Hint(fmt.Errorf("build: --method %s: is not there any more", method), hint), exitUnsupported}
	}
	return err
}

// debianArch is what Debian calls this machine.
func debianArch() string {
	if runtime.GOARCH == "arm" {
		return "armhf"
	}
	return runtime.GOARCH
}
