package legacy

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"vserver/guest"
)

const initDir = "apps/init/"

// Gentoo's ways to start and stop without an init, the newest last.
const (
	openrcStart = `for p in /lib/rcscripts/sh/init-vserver.sh /lib/rc/sh/init-vserver.sh /sbin/openrc; do [ -x $p ] && exec $p "$0"; done; echo "no OpenRC"; exit 127`
	openrcStop  = `for p in /sbin/rc /sbin/openrc; do [ -x $p ] && exec env -i PATH="$PATH" TERM=linux RUNLEVEL=0 $p shutdown; done; exit 127`
)

// init reads how the guest is brought up and down.
func (r *reader) init() {
	style, ok := r.line(initDir + "style")
	if !ok {
		style = "sysv"
	}
	f := Finding{Key: initDir + "style", Value: style, To: "init.style"}
	if !ok {
		f.Key, f.Why = "apps/init", "the style without a word of it"
	}
	levels := r.runlevels()
	init, known := Style(style, levels["start"], levels["stop"])
	if style == "minit" {
		f.Fate, f.Why = Near, "minit is pid 1; the program that waits for it (start-sync) is not run"
	}
	if known {
		r.set(f, func(s *guest.Spec) { s.Init = init })
	} else {
		r.wrong(f, "unknown init style; want sysv, plain, minit, gentoo, openrc or arch")
	}
	r.commands(style)
	r.environment()
	r.boot()
	r.initRest()
}

// Style is what an init style of util-vserver's, with the runlevels to start and to stop by,
// is in a spec; known tells whether there was such a style.
func Style(style, start, stop string) (init guest.Init, known bool) {
	switch style {
	case "sysv", "":
		return guest.Init{Style: guest.InitSysv, Runlevel: or(start, "3"), RunlevelStop: or(stop, "6")}, true
	case "plain":
		init.Style = guest.InitPlain
		if start != "" {
			init.Command = []string{"/sbin/init", start}
		}
		return init, true
	case "minit":
		return guest.Init{Style: guest.InitPlain, Command: words("/sbin/minit-start", start), StopSignal: 2}, true // SIGINT
	case "gentoo", "openrc":
		return guest.Init{Style: guest.InitSysv, Command: []string{"/bin/sh", "-c", openrcStart, or(start, "default")},
			StopCommand: []string{"/bin/sh", "-c", openrcStop}}, true
	case "arch":
		return guest.Init{Style: guest.InitSysv, Command: []string{"/etc/rc.multi"}, StopCommand: []string{"/etc/rc.shutdown"}}, true
	}
	return init, false
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func words(list ...string) (out []string) {
	for _, w := range list {
		if w != "" {
			out = append(out, w)
		}
	}
	return out
}

// runlevels reads the levels to start with and to stop by.
func (r *reader) runlevels() map[string]string {
	levels := map[string]string{}
	for _, k := range []struct{ key, which string }{{"runlevel", "start"}, {"runlevel.start", "start"}, {"runlevel.stop", "stop"}} {
		if value, ok := r.line(initDir + k.key); ok {
			levels[k.which] = value
			to := "init.runlevel"
			if k.which == "stop" {
				to = "init.runlevel_stop"
			}
			r.tell(Finding{Key: initDir + k.key, Value: value, Fate: Same, To: to})
		}
	}
	return levels
}

// commands reads what is run in place of the style's own.
func (r *reader) commands(style string) {
	if argv, ok := r.argv("cmd.start"); ok {
		r.set(Finding{Key: initDir + "cmd.start", Value: strings.Join(argv, " "), To: "init.command"}, func(s *guest.Spec) {
			s.Init.Command = argv
			if style != "plain" && style != "minit" {
				s.Init.Style = guest.InitSysv
				s.Init.Runlevel = ""
			}
		})
	}
	if argv, ok := r.argv("cmd.stop"); ok {
		r.set(Finding{Key: initDir + "cmd.stop", Value: strings.Join(argv, " "), To: "init.stop_command"}, func(s *guest.Spec) {
			s.Init.StopCommand, s.Init.StopSignal, s.Init.RunlevelStop = argv, 0, ""
		})
	}
	r.hostCommand("cmd.prepare", "pre-start", true)
	r.hostCommand("cmd.start-sync", "post-start", r.has(initDir+"sync"))
	if argv, ok := r.argv("cmd.stop-sync"); ok {
		r.tell(Finding{Key: initDir + "cmd.stop-sync", Value: strings.Join(argv, " "), Fate: Passed,
			Why: "was run where the kernel did not tell of a guest's end; a stop waits for its last process"})
	}
}

// hostCommand reads a command that is run on the host, before the scripts of its point.
func (r *reader) hostCommand(name, point string, wanted bool) {
	key := initDir + name
	argv, ok := r.lines(key)
	f := Finding{Key: key, Value: strings.Join(argv, " "), To: "hooks." + point}
	switch {
	case !ok:
	case len(argv) == 0:
		r.tell(Finding{Key: key, Fate: Passed, Why: "is empty"})
	case !wanted:
		r.tell(Finding{Key: key, Value: f.Value, Fate: Passed, Why: "is run where there is apps/init/sync"})
	default:
		r.set(f, func(s *guest.Spec) {
			list := s.Hooks.At(point)
			*list = append(slices.Clone(*list), path.Join(r.base, r.dir, key))
		})
	}
}

// argv reads a command, a word in each line. One that is no path is looked for by env(1)
// in the guest.
func (r *reader) argv(name string) ([]string, bool) {
	list, ok := r.lines(initDir + name)
	if !ok {
		return nil, false
	}
	if len(list) == 0 {
		r.tell(Finding{Key: initDir + name, Fate: Passed, Why: "is empty"})
		return nil, false
	}
	if path.Clean(list[0]) != list[0] || !path.IsAbs(list[0]) {
		list = append([]string{"/usr/bin/env"}, list...)
	}
	return list, true
}

// environment reads the variables of the init.
func (r *reader) environment() {
	key := initDir + "environment"
	text, ok := r.content(key)
	if !ok {
		if text, ok = r.preset(key); !ok {
			return
		}
		key = ".defaults/" + key
	}
	env := map[string]string{}
	for _, i := range items(text) {
		name, value, ok := strings.Cut(i.text, "=")
		if !ok {
			r.tell(Finding{Key: key + ":" + strconv.Itoa(i.line), Value: i.text, Fate: Wrong, Why: "want NAME=VALUE"})
			return
		}
		env[name] = value
	}
	r.set(Finding{Key: key, To: "init.environment", Fate: Near, Why: "HOME, TERM and container are set beside them"},
		func(s *guest.Spec) { s.Init.Environment = env })
}

// boot reads when the guest starts with the host.
func (r *reader) boot() {
	if marks, ok := r.lines(initDir + "mark"); ok {
		if r.has("disabled") {
			r.tell(Finding{Key: initDir + "mark", Value: strings.Join(marks, " "), Fate: Passed, Why: "the guest is disabled"})
		} else {
			r.set(Finding{Key: initDir + "mark", Value: strings.Join(marks, " "), To: "boot.marks"},
				func(s *guest.Spec) { s.Boot.Marks = marks })
		}
	}
	if list, ok := r.lines(initDir + "depends"); ok {
		r.set(Finding{Key: initDir + "depends", Value: strings.Join(list, " "), To: "boot.depends"}, func(s *guest.Spec) {
			s.Boot.Depends = nil
			for _, n := range list {
				s.Boot.Depends = append(s.Boot.Depends, guest.Name(n))
			}
		})
	}
	if r.has("disabled") {
		r.tell(Finding{Key: "disabled", Fate: Near, To: "boot.marks", Why: "no mark starts the guest; start --all still does"})
	}
}

// initRest tells of what is left of apps/init.
func (r *reader) initRest() {
	if text, ok := r.content(initDir + "killseq"); ok {
		r.killseq(strings.Fields(strings.ReplaceAll(text, "/", " ")))
	}
	for _, k := range []struct {
		name string
		f    Finding
	}{
		{"sync", Finding{Fate: Passed, Why: "a stop always waits for the guest's end"}},
		{"tty", Finding{Fate: Near, To: "console.type", Why: "what the guest prints is kept: `vserver NAME logs`"}},
		{"mtab", Finding{Fate: Passed, Why: "/proc/self/mounts of the guest tells its mounts; distributions link /etc/mtab to it"}},
	} {
		if r.has(initDir + k.name) {
			k.f.Key = initDir + k.name
			r.tell(k.f)
		}
	}
}

// killseq reads the signals and waits by which what outlives a stop is ended.
func (r *reader) killseq(list []string) {
	f := Finding{Key: initDir + "killseq", Value: strings.Join(list, " "), To: "init.kill_sequence"}
	if _, err := guest.ParseKills(list); err != nil {
		r.wrong(f, plain(err))
		return
	}
	r.set(f, func(s *guest.Spec) { s.Init.KillSequence = list })
}
