package daemon

import (
	"os"
	"strings"
	"syscall"
	"time"

	"vserver/daemon/proto"
	"vserver/guest"
	"vserver/host/hook"
	"vserver/spawn/warm"
)

// warmPause is how long after a start the warm process is begun: whoever starts one guest needs
// the processors himself.
const warmPause = 100 * time.Millisecond

// warmAgain is after how long another may follow one that failed.
const warmAgain = time.Minute

// warmUp has a warm process begun for the starts and stops that follow on this one, unless
// there is one.
func (w *worker) warmUp() {
	if w.warm || w.acts.Warm == nil {
		return
	}
	w.warm = true
	w.loop.After(warmPause, func() {
		wait, err := w.acts.Warm()
		if err != nil {
			w.say("%v", err)
			w.loop.After(warmAgain, func() { w.warm = false })
			return
		}
		go func() {
			ok := wait()
			w.loop.Post(func() {
				if ok {
					w.warm = false
				} else {
					w.loop.After(warmAgain, func() { w.warm = false })
				}
			})
		}()
	})
}

// warmAside begins the warm process, which ends when this one does. wait tells whether it ended
// well. There is none for places that no VSERVER_ROOT leads to.
func warmAside(dirs guest.Dirs) (wait func() (ok bool), err error) {
	root, _ := strings.CutSuffix(dirs.Run, "/"+guest.RunPlace)
	here := guest.DefaultDirs(root)
	here.Etc = dirs.Etc
	if here != dirs || !warm.Able {
		return func() bool { return false }, nil
	}
	env := proto.Environ()
	if root != "" {
		env = append(env, guest.RootVar+"="+root)
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer read.Close()
	p, err := os.StartProcess(program(), proto.Args(dirs, warm.Role), &os.ProcAttr{
		Dir: "/", Env: env, Files: []*os.File{nil, os.Stderr, os.Stderr, read},
		Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		write.Close()
		return nil, err
	}
	return func() bool {
		defer write.Close()
		state, err := p.Wait()
		return err == nil && state.Success()
	}, nil
}

// warmHere is that process.
func warmHere(dirs guest.Dirs, command Command) int {
	return warm.Main(warm.Work{Root: os.Getenv(guest.RootVar), Notes: dirs.Run, Run: command, Plain: func(name string) bool {
		n, err := guest.ParseName(name)
		return err == nil && hook.None(dirs, n)
	}})
}
