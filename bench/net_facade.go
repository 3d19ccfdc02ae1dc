package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// facadeVariable makes this program time its own sockets.
const facadeVariable = "VSERVER_BENCH_SOCKETS"

// facadeEnd prints what socket(2) with close(2) takes, and a byte through a connection
// to itself, in microseconds, and ends the process, if that is what it was started for.
func facadeEnd() {
	if os.Getenv(facadeVariable) == "" {
		return
	}
	one, err := timeSockets(5000)
	if err == nil {
		var two time.Duration
		if two, err = timeByte(5000); err == nil {
			fmt.Println(one.Nanoseconds(), two.Nanoseconds())
			os.Exit(0)
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func timeSockets(n int) (time.Duration, error) {
	took := make([]time.Duration, n)
	for i := range took {
		begin := time.Now()
		s, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			return 0, err
		}
		syscall.Close(s)
		took[i] = time.Since(begin)
	}
	return quantile(took, 0.5), nil
}

func timeByte(n int) (time.Duration, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return 0, err
	}
	defer a.Close()
	b, err := l.Accept()
	if err != nil {
		return 0, err
	}
	defer b.Close()
	took := make([]time.Duration, n)
	buf := []byte{0}
	for i := range took {
		begin := time.Now()
		if _, err := a.Write(buf); err != nil {
			return 0, err
		}
		if _, err := io.ReadFull(b, buf); err != nil {
			return 0, err
		}
		took[i] = time.Since(begin)
	}
	return quantile(took, 0.5), nil
}

// facade times sockets on the host, in a guest of mode shared, and in one whose sockets
// are handed in (hide_netif).
func (b *bench) facade() (err error) {
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return err
	}
	rows := []string{"host", "shared", "hidden"}
	for _, name := range rows[1:] {
		if err := b.guest(name, "command", "/bin/sleep", "infinity"); err != nil {
			return err
		}
		flags := "network.flags=[]"
		if name == "hidden" {
			flags = "network.flags=[hide_netif]"
		}
		program := filepath.Join(b.home(), "var/lib/vservers/guests", name, "upper/bench")
		if err := errors.Join(b.must("set", name, "network.mode=shared", flags), os.WriteFile(program, self, 0o755)); err != nil {
			return err
		}
		if err := b.must("start", name); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, b.must("stop", name, "--kill")) }()
	}
	times := map[string][2][]time.Duration{}
	for range b.rounds {
		for _, name := range rows {
			args := b.vserver("exec", name, "env", facadeVariable+"=1", "/bench")
			if name == "host" {
				args = []string{"/usr/bin/env", facadeVariable + "=1", "/proc/self/exe"}
				args[2], err = os.Executable()
				if err != nil {
					return err
				}
			}
			out, err := exec.Command(args[0], args[1:]...).Output()
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			t := times[name]
			for i, word := range strings.Fields(string(out)) {
				ns, _ := strconv.Atoi(word)
				t[i] = append(t[i], time.Duration(ns))
			}
			times[name] = t
		}
	}
	printFacade(rows, times)
	return nil
}

func printFacade(rows []string, times map[string][2][]time.Duration) {
	for i, what := range []string{"socket and close", "a byte by TCP"} {
		fmt.Printf("  %-34s %8s %8s %7s   (µs, medians of %d processes)\n", what, "min", "median", "ratio", len(times["host"][i]))
		floor := quantile(times["host"][i], 0.5)
		for _, name := range rows {
			m := quantile(times[name][i], 0.5)
			fmt.Printf("  %-34s %8.2f %8.2f %7.2f\n", name, micro(slices.Min(times[name][i])), micro(m), float64(m)/float64(floor))
		}
	}
}

func micro(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }
