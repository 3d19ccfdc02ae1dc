package guest

import (
	"path"
	"strings"
)

// Hooks are programs of the host, run as root with the point's name and the guest's
// name as arguments. One of a start that fails stops the start. A file that cannot be
// executed is read by bash, as Linux-VServer had it.
type Hooks struct {
	Initialize   []string `yaml:"initialize" doc:"first of all, in the directory of the specs"`
	PrepreStart  []string `yaml:"prepre-start" doc:"before pre-start, in the directory of the specs"`
	PreStart     []string `yaml:"pre-start" doc:"before anything of the guest is set up"`
	PostStart    []string `yaml:"post-start" doc:"when the guest's init runs"`
	PreStop      []string `yaml:"pre-stop" doc:"before the guest is asked to end"`
	PostStop     []string `yaml:"post-stop" doc:"when nothing of the guest is left running"`
	PostpostStop []string `yaml:"postpost-stop" doc:"last of all"`
}

// IsCommand tells whether a hook is a file of Linux-VServer's that says a command, as
// apps/init/cmd.prepare, and no program itself.
func IsCommand(hook string) bool { return strings.HasPrefix(path.Base(hook), "cmd.") }

// Hook is what is run at one point of a guest's life.
type Hook struct {
	Point    string
	Programs []string
}

// At gives the programs of a point, nil for a word that is none.
func (h *Hooks) At(point string) *[]string {
	switch point {
	case "initialize":
		return &h.Initialize
	case "prepre-start":
		return &h.PrepreStart
	case "pre-start":
		return &h.PreStart
	case "post-start":
		return &h.PostStart
	case "pre-stop":
		return &h.PreStop
	case "post-stop":
		return &h.PostStop
	case "postpost-stop":
		return &h.PostpostStop
	}
	return nil
}

// Points gives the points of a guest's life in their order, with what runs there.
func (h *Hooks) Points() (out []Hook) {
	for _, point := range []string{"initialize", "prepre-start", "pre-start", "post-start", "pre-stop", "post-stop", "postpost-stop"} {
		out = append(out, Hook{point, *h.At(point)})
	}
	return out
}
