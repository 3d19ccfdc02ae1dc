package proc

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

// BootTime says when the machine was booted, to the second.
func (d *Dir) BootTime() (time.Time, error) {
	text, err := d.file("stat")
	if err != nil {
		return time.Time{}, fmt.Errorf("read %s/stat: %w", d.path, err)
	}
	return ParseBootTime(bytes.NewReader(text))
}

// Uptime says for how long the machine has been up, time asleep included.
func (d *Dir) Uptime() (time.Duration, error) {
	text, err := d.file("uptime")
	if err != nil {
		return 0, fmt.Errorf("read %s/uptime: %w", d.path, err)
	}
	return ParseUptime(bytes.NewReader(text))
}

// ParseBootTime finds btime in the text of /proc/stat (proc_stat(5)).
func ParseBootTime(r io.Reader) (time.Time, error) {
	// The line of the interrupts, which comes before, has no bound.
	for lines := bufio.NewReader(r); ; {
		line, err := lines.ReadString('\n')
		if at, ok := strings.CutPrefix(strings.TrimSpace(line), "btime "); ok {
			n, err := strconv.ParseInt(at, 10, 64)
			if err != nil || n < 0 {
				return time.Time{}, fmt.Errorf("btime %q: is no time", at)
			}
			return time.Unix(n, 0), nil
		}
		if err == io.EOF {
			return time.Time{}, errors.New("btime: not in /proc/stat")
		}
		if err != nil {
			return time.Time{}, err
		}
	}
}

// ParseUptime reads the text of /proc/uptime: seconds since boot, and what all
// processors together were idle.
func ParseUptime(r io.Reader) (time.Duration, error) {
	text, err := io.ReadAll(io.LimitReader(r, 128))
	if err != nil {
		return 0, err
	}
	up, _, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	s, err := strconv.ParseFloat(up, 64)
	// time.Duration ends after 292 years.
	if err != nil || !(s >= 0 && s < 9e9) {
		return 0, fmt.Errorf("uptime %q: is no time span", up)
	}
	return time.Duration(s * float64(time.Second)), nil
}

// Sysctl gives a setting of the kernel by its name in sysctl(8), "fs.file-max". The
// error is fs.ErrNotExist when this kernel has none of that name. White space between
// several values is one tab.
func Sysctl(name string) (string, error) {
	text, err := os.ReadFile(sysctlPath(name))
	return strings.TrimSpace(string(text)), err
}

// SetSysctl changes a setting of the kernel until the next boot.
func SetSysctl(name, value string) error {
	f, err := os.OpenFile(sysctlPath(name), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

func sysctlPath(name string) string { return "/proc/sys/" + strings.ReplaceAll(name, ".", "/") }
