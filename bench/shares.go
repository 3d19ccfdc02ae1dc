package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"vserver/bench/curve"
	"vserver/guest"
	"vserver/kernel/cgroup"
)

// Each act of the shares' figure is left alone for actPause, then looked at for some
// windows; the curve has a point each sampleTime.
const (
	actPause   = 1500 * time.Millisecond
	windowTime = 5 * time.Second
	windows    = 2
	sampleTime = 500 * time.Millisecond
)

// act is a part of the figure: what is changed at its beginning, and which part of one
// processor each guest should then have, in percent.
type act struct {
	caption string
	begin   func() error
	ideal   map[string]float64
}

// shares has guests want all of one processor, and compares what they get of it with
// what they should, while they come, go and change. What else runs on the machine is
// kept off that processor as far as weights can, or it would be seen in the last act.
func (b *bench) shares() (err error) {
	cpu := fmt.Sprint(lastCPU())
	spin := []string{"/bin/sh", "-c", `"while :; do :; done"`}
	names := []string{"one", "two", "three", "reserved"}
	for i, n := range names {
		if err := b.guest(n, "command", spin...); err != nil {
			return err
		}
		settings := []string{"set", n, "limits.cpuset=" + cpu, "limits.pids=300"}
		if i < 3 {
			settings = append(settings, fmt.Sprintf("limits.cpu_shares=%d", 100*(i+1)))
		} else {
			settings = append(settings, "limits.cpu_reserved=25%")
		}
		if err := b.must(settings...); err != nil {
			return err
		}
	}
	s := &stage{bench: b, dirs: guest.DefaultDirs(b.home()), names: names, at: map[string]time.Duration{}}
	if s.cg, err = cgroup.Find(); err != nil {
		return err
	}
	s.began = time.Now()
	defer func() {
		for _, n := range names {
			exec.Command(b.tool, "stop", n, "--kill").Run() // most have been stopped
		}
	}()
	acts := []act{
		{"shares 1:2:3", func() error { return errors.Join(s.start("one", "two", "three"), s.prefer()) },
			map[string]float64{"one": 100. / 6, "two": 100. / 3, "three": 50}},
		{"one comes with\na reservation of 25 %", func() error { return s.start("reserved") },
			map[string]float64{"one": 12.5, "two": 25, "three": 37.5, "reserved": 25}},
		{"a fork bomb in one", func() error { return s.bomb("one") },
			map[string]float64{"one": 12.5, "two": 25, "three": 37.5, "reserved": 25}},
		{"two and three leave", func() error { return s.stop("two", "three") },
			map[string]float64{"one": 50, "reserved": 50}},
		{"idle processor,\ncpus: 0.3", func() error { return errors.Join(s.stop("one"), b.must("set", "reserved", "limits.cpus=0.3")) },
			map[string]float64{"reserved": 30}},
	}
	fmt.Printf("  %-36s %-10s %7s %7s   (%% of the time that guests have, %d windows of %v)\n", "", "guest", "ideal", "worst", windows, windowTime)
	for i, a := range acts {
		if err := s.play(a, i == len(acts)-1); err != nil {
			return err
		}
	}
	fmt.Printf("  farthest from ideal: %.2f points\n", s.worst)
	return s.draw()
}

// stage is where the acts are played.
type stage struct {
	*bench
	dirs   guest.Dirs
	cg     cgroup.Host
	names  []string
	at     map[string]time.Duration // what each has used by the last sample
	began  time.Time
	points map[string][]curve.Point
	parts  []curve.Part
	worst  float64
}

func (s *stage) start(names ...string) error { return s.must(append([]string{"start"}, names...)...) }
func (s *stage) stop(names ...string) error {
	return s.must(append(append([]string{"stop"}, names...), "--kill")...)
}

// prefer gives our guests together more of the processor than others want of it.
func (s *stage) prefer() error {
	trees, err := s.cg.Legacy("cpu")
	if err != nil {
		return err
	}
	if len(trees) > 0 {
		g, err := trees[0].Open(s.dirs.Cgroup)
		if err != nil {
			return err
		}
		return errors.Join(g.Write("cpu.shares", "262144"), g.Close())
	}
	g, err := s.cg.Open(s.dirs.Cgroup)
	if err != nil {
		return err
	}
	return errors.Join(g.Write("cpu.weight", "10000"), g.Close())
}

// bomb has a guest fork as fast as it can; who is born spins.
func (s *stage) bomb(name string) error {
	c := exec.Command(s.tool, "exec", name, "/bin/sh", "-c", "f() { f & f & while :; do :; done; }; f")
	if err := c.Start(); err != nil {
		return err
	}
	go c.Wait()
	return nil
}

// used is how much time each guest has used since the last call; those that do not run
// are missing.
func (s *stage) used() map[string]time.Duration {
	out := map[string]time.Duration{}
	for _, n := range s.names {
		g, err := s.cg.Open(s.dirs.Group(guest.Name(n)))
		if err != nil {
			delete(s.at, n)
			continue
		}
		user, system, err := g.CPUTime()
		g.Close()
		if err != nil {
			continue
		}
		if was, ok := s.at[n]; ok {
			out[n] = user + system - was
		}
		s.at[n] = user + system
	}
	return out
}

// play plays an act. alone says that parts are those of the processor's whole time, not
// of what guests have of it.
func (s *stage) play(a act, alone bool) error {
	part := curve.Part{From: time.Since(s.began).Seconds(), Caption: a.caption, Ideal: a.ideal}
	if err := a.begin(); err != nil {
		return err
	}
	s.used()
	s.watch(actPause, alone)
	worst := map[string]float64{}
	for range windows {
		for n, got := range s.watch(windowTime, alone) {
			if off := got - a.ideal[n]; math.Abs(off) >= math.Abs(worst[n]-a.ideal[n]) || worst[n] == 0 {
				worst[n] = got
			}
		}
	}
	part.To = time.Since(s.began).Seconds()
	s.parts = append(s.parts, part)
	for _, n := range s.names {
		if ideal, ok := a.ideal[n]; ok {
			fmt.Printf("  %-36s %-10s %7.2f %7.2f\n", strings.ReplaceAll(a.caption, "\n", " "), n, ideal, worst[n])
			s.worst = max(s.worst, math.Abs(worst[n]-ideal))
		}
	}
	return nil
}

// watch looks for a while, and gives the part of each guest in percent.
func (s *stage) watch(long time.Duration, alone bool) map[string]float64 {
	whole := map[string]time.Duration{}
	begin := time.Now()
	for last := begin; time.Since(begin) < long-sampleTime/2; {
		time.Sleep(sampleTime)
		now := time.Now()
		used := s.used()
		for n, p := range parts(used, alone, now.Sub(last)) {
			if s.points == nil {
				s.points = map[string][]curve.Point{}
			}
			s.points[n] = append(s.points[n], curve.Point{At: now.Sub(s.began).Seconds(), Value: p})
			whole[n] += used[n]
		}
		last = now
	}
	return parts(whole, alone, time.Since(begin))
}

func parts(used map[string]time.Duration, alone bool, of time.Duration) map[string]float64 {
	if !alone {
		of = 0
		for _, d := range used {
			of += d
		}
	}
	out := map[string]float64{}
	for n, d := range used {
		out[n] = 100 * float64(d) / float64(max(of, 1))
	}
	return out
}

// draw writes the figure, if it is wanted.
func (s *stage) draw() error {
	if s.svg == "" {
		return nil
	}
	c := curve.Chart{Title: "Parts of one processor (dashed: ideal)", Unit: "%", Most: 60, End: time.Since(s.began).Seconds(), Parts: s.parts}
	for _, n := range s.names {
		c.Lines = append(c.Lines, curve.Line{Name: n, Points: s.points[n]})
	}
	f, err := os.Create(filepath.Join(s.svg, "shares.svg"))
	if err != nil {
		return err
	}
	return errors.Join(c.Write(f), f.Close())
}

// lastCPU is the processor with the highest number, which has the least to do.
func lastCPU() int {
	text, err := os.ReadFile("/sys/devices/system/cpu/online")
	if err != nil {
		return 0
	}
	list, err := guest.Numbers(strings.TrimSpace(string(text))).List()
	if err != nil {
		return 0
	}
	return list[len(list)-1]
}
