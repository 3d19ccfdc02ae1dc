package compat

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"vserver/guest"
	"vserver/ncontext/lone"
	"vserver/vcontext/alone"
)

// apiVersion is that of the last kernels of Linux-VServer, for scripts that compare it.
const apiVersion = "0x00020308"

// oldVersion is that of the tools whose words these are.
const oldVersion = "0.30.216"

// infoTags are the words that vserver-info answers to, in the order of -l.
func infoTags() []string {
	return []string{"CONTEXT", "ID", "RUNNING", "VDIR", "NAME", "CFGDIR", "APPDIR", "INITPID", "INITPID_PID", "XID", "APIVER",
		"UTS", "SYSINFO", "FEATURE", "PXID", "CANONIFY", "VERIFYCAP", "VERIFYPROC", "XIDTYPE", "NID", "TAG", "VIRTUAL"}
}

func newInfo(c *call) run {
	quiet := c.flags.BoolP("quiet", "q", false, "no complaints")
	list := c.flags.BoolP("list", "l", false, "list the words")
	return func(words []string) error {
		if *list {
			_, err := fmt.Fprintln(c.out, "Valid tags are: "+strings.Join(infoTags(), ", "))
			return err
		}
		if len(words) < 2 {
			if len(words) == 0 {
				defer fmt.Fprint(c.err, "\nAssumed 'SYSINFO' as no other option given; try '--help' for more information.\n")
			}
			return c.sysinfo()
		}
		if !slices.Contains(infoTags(), words[1]) {
			if *quiet {
				return code(c.failed)
			}
			return usagef("unknown tag '%s'; -l lists them", words[1])
		}
		answer, err := c.answer(words[0], words[1], words[2:])
		switch {
		case errors.Is(err, errNo), err != nil && *quiet:
			return code(c.failed)
		case err != nil:
			return err
		case answer != "":
			_, err = fmt.Fprintln(c.out, answer)
		}
		return err
	}
}

// errNo is the answer no, which is told by the exit code alone.
var errNo = errors.New("no")

// answer gives what a tag asks about who.
func (c *call) answer(who, tag string, args []string) (string, error) {
	switch tag {
	case "APIVER":
		return apiVersion, nil
	case "SYSINFO":
		return "", c.sysinfo()
	case "VIRTUAL":
		return "", c.writeVirtual(args)
	case "FEATURE":
		if len(args) > 0 && slices.Contains(features(), strings.ToLower(args[0])) {
			return "", nil
		}
		return "", errNo
	case "CANONIFY":
		return canonical(who), nil
	case "VERIFYCAP", "VERIFYPROC":
		return "", nil // a guest has capabilities and a /proc of its own, always
	case "XIDTYPE":
		return kindOf(who, args)
	case "XID", "NID", "TAG", "INITPID_PID":
		return c.ofProcess(who, tag)
	case "PXID":
		return "", errNo
	}
	s, err := c.subject(who)
	if err != nil {
		return "", err
	}
	defer s.close()
	return c.ofContext(s, tag, args)
}

// ofContext answers what is asked about a guest or context.
func (c *call) ofContext(s subject, tag string, args []string) (string, error) {
	switch tag {
	case "UTS":
		var values []string
		if len(args) == 0 {
			args = utsNames()
		}
		for _, name := range args {
			value, err := c.uts(s, name)
			if err != nil {
				value = "???"
			}
			values = append(values, value)
		}
		return strings.Join(values, " "), nil
	case "INITPID":
		pid, err := c.first(s)
		return strconv.Itoa(pid), err
	}
	if s.guest == "" {
		if tag == "RUNNING" {
			return "1", nil
		}
		return "", errNo
	}
	st, err := c.host.Status(s.guest)
	if err != nil {
		return "", err
	}
	runs := st.InitPID != 0
	dir := filepath.Join(c.host.Dirs.Config, string(s.guest))
	switch {
	case tag == "NAME", tag == "ID":
		return string(s.guest), nil
	case tag == "CFGDIR":
		return dir, nil
	case tag == "APPDIR":
		return filepath.Join(append([]string{dir, "apps"}, args...)...), nil
	case tag == "RUNNING" && runs:
		return "1", nil
	case tag == "CONTEXT" && (runs || len(args) == 0 || truth(args[0])):
		return strconv.Itoa(int(s.xid)), nil
	case tag == "VDIR":
		return c.vdir(s.guest, st)
	}
	return "", errNo
}

// vdir is where a guest's root is to be seen: the directory that it is, or that of the
// running init, since an overlay is mounted for the guest alone.
func (c *call) vdir(n guest.Name, st guest.Status) (string, error) {
	spec, err := c.host.Load(n)
	switch {
	case err != nil:
		return "", err
	case spec.Root.Kind == guest.RootDir:
		return spec.Root.Tree(c.host.Dirs.Guest(n)), nil
	case st.InitPID != 0:
		return fmt.Sprintf("/proc/%d/root", st.InitPID), nil
	}
	return "", errNo
}

// truth reads yes and no as the old tool did.
func truth(word string) bool {
	n, _ := strconv.Atoi(word)
	return n != 0 || word != "" && strings.ContainsRune("yYtT", rune(word[0]))
}

// ofProcess answers what is asked about a process, ours for 0.
func (c *call) ofProcess(word, tag string) (string, error) {
	pid, err := strconv.Atoi(word)
	if err != nil || pid < 0 {
		return "", usagef("%s: want the number of a process", word)
	}
	if pid == 0 {
		pid = os.Getpid()
	}
	x, n, err := c.whose(pid, tag == "NID")
	if err != nil {
		return "", err
	}
	switch tag {
	case "INITPID_PID":
		if x == 0 {
			return "", errNo
		}
		s, err := c.subject(strconv.Itoa(int(x)))
		if err != nil {
			return "", err
		}
		defer s.close()
		first, err := c.first(s)
		return strconv.Itoa(first), err
	case "TAG":
		if n == "" {
			return "0", nil
		}
	}
	return strconv.Itoa(int(x)), nil
}

// whose tells the number of the context that a process is in, 0 for the host, and the
// guest, if it is one; with net the network context.
func (c *call) whose(pid int, net bool) (guest.XID, guest.Name, error) {
	all, err := c.host.Processes()
	if err != nil {
		return 0, "", err
	}
	for _, p := range all {
		if p.PID == pid && p.Name != "" {
			return p.XID, p.Name, nil
		}
	}
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return 0, "", err
	}
	if net {
		x, _ := lone.Of(c.host.Dirs, string(groups))
		return x, "", nil
	}
	return alone.Of(c.host.Dirs, string(groups)), "", nil
}

// kindOf tells the kind of a number; with kinds only if it is one of them.
func kindOf(word string, kinds []string) (string, error) {
	n, err := strconv.ParseUint(word, 10, 16)
	kind := "static"
	switch {
	case err != nil:
		kind = "invalid"
	case n == 0:
		kind = "main"
	case n == 1:
		kind = "watch"
	case n >= uint64(guest.DynamicXID):
		kind = "dynamic"
	}
	if len(kinds) > 0 && !slices.ContainsFunc(kinds, func(k string) bool { return strings.EqualFold(k, kind) }) {
		return "", errNo
	}
	return kind, nil
}

// canonical takes from a name what could do harm in a file's name.
func canonical(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return -1
	}, name)
}

// features are the words of FEATURE for which there is the same effect.
func features() []string {
	return []string{"vkill", "rlimit", "migrate", "namespace", "sched", "vinfo", "vhi", "vshelper0", "vshelper", "vwait", "vnet",
		"vstat", "pidspace", "spaces", "pivot_root", "memcg", "dynamic"}
}
