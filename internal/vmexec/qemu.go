package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"vserver/internal/need"
)

// machine is a virtual machine to be.
type machine struct {
	kernel, initrd string
	disks          []string
	settings       settings
}

// The serial lines, by number: the kernel's console, the test's output, and one line
// with its exit code.
const (
	consoleTTY = "ttyS0"
	outputTTY  = "ttyS1"
	resultTTY  = "ttyS2"
)

// makeDisks makes the disks' files, holes all: first the scratch one that the
// machine has on /tmp, with an ext4 that can do quotas of every kind.
func makeDisks(work string, sizes []int64) ([]string, error) {
	const scratch = 8 << 30
	var out []string
	for i, size := range append([]int64{scratch}, sizes...) {
		path := filepath.Join(work, fmt.Sprintf("disk%d", i))
		f, err := os.Create(path)
		if err != nil {
			return nil, err
		}
		err = f.Truncate(size)
		f.Close()
		if err != nil {
			return nil, err
		}
		out = append(out, path)
	}
	c := exec.Command("mkfs.ext4", "-q", "-F", "-O", "quota,project", "-E", "lazy_itable_init=1,lazy_journal_init=1", "-J", "size=16", out[0])
	if text, err := c.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", c, err, text)
	}
	return out, nil
}

// processor is the best that qemu emulates, without what costs it more than it tells about a
// guest: copies a byte at a time (erms, fsrm), a fifth level of pages, a check of each copy from
// a program, keys and bounds of memory.
const processor = "max,-erms,-fsrm,-la57,-smap,-pku,-mpx"

// args are qemu's arguments. Serial lines go to the files with descriptors 3, 4, 5.
func (m machine) args() []string {
	args := []string{
		"-accel", "tcg,thread=multi", "-cpu", processor, "-smp", "2", "-m", strconv.Itoa(m.settings.memory),
		"-nodefaults", "-display", "none", "-no-reboot",
		"-kernel", m.kernel, "-initrd", m.initrd,
		"-append", "console=" + consoleTTY + " quiet panic=-1 reboot=t mitigations=off nokaslr nowatchdog tsc=reliable no_timer_check " + need.VMWord,
	}
	for fd := 3; fd <= 5; fd++ {
		args = append(args, "-serial", fmt.Sprintf("file:/dev/fd/%d", fd))
	}
	for i, d := range m.disks {
		args = append(args,
			"-drive", fmt.Sprintf("if=none,id=d%d,format=raw,cache=unsafe,discard=unmap,file=%s", i, d),
			"-device", fmt.Sprintf("virtio-blk-pci,drive=d%d", i))
	}
	return args
}

// up is what a machine says first on the result line.
const up = "up"

// errNotUp is of a machine whose init was never heard, errStalled of one whose kernel
// went on complaining that a processor of its stands still, errSilent of one that ended
// without a word.
var (
	errNotUp   = errors.New("the machine did not come up")
	errStalled = errors.New("a processor of the machine stood still")
	errSilent  = errors.New("the machine ended without the test's exit code")
)

// run boots the machine, copies the test's output to out while it runs, and gives
// the test's exit code. A machine that dies, gets stuck or oopses is an error, with
// its console printed to warn. One that never comes up or stalls is tried again, with
// new disks, and that is told: under much load the emulator's processors now and then
// wait for each other for good (qemu 7.2, thread=multi). A test that stalls the kernel
// does it each time.
func (m machine) run(work string, out, warn io.Writer) (code int, err error) {
	const tries = 3
	for range tries {
		if m.disks, err = makeDisks(work, m.settings.disks); err != nil {
			return 1, err
		}
		if code, err = m.boots(work, out, warn); !errors.Is(err, errNotUp) && !errors.Is(err, errStalled) {
			break
		}
		fmt.Fprintln(warn, "vmexec:", err)
	}
	return code, err
}

// boots boots the machine, and again upon the same disks when its test has its power cut.
func (m machine) boots(work string, out, warn io.Writer) (code int, err error) {
	for cuts := m.settings.cuts; ; cuts-- {
		var console []byte
		code, console, err = m.once(work, out)
		if cut := err == errSilent; cut && cuts > 0 {
			continue
		}
		if err != nil || os.Getenv("VSERVER_VM_CONSOLE") == "1" {
			fmt.Fprintf(warn, "-- console of the machine\n%s\n-- end of console\n", console)
		}
		return code, err
	}
}

// once is one boot of the machine. It gives what its kernel said as well.
func (m machine) once(work string, out io.Writer) (code int, said []byte, err error) {
	console, err := os.Create(filepath.Join(work, "console"))
	if err != nil {
		return 1, nil, err
	}
	defer console.Close()
	output, outputEnd, err := os.Pipe()
	if err != nil {
		return 1, nil, err
	}
	defer output.Close()
	result, resultEnd, err := os.Pipe()
	if err != nil {
		return 1, nil, err
	}
	defer result.Close()

	q := exec.Command("qemu-system-x86_64", m.args()...)
	q.Stderr = os.Stderr
	q.ExtraFiles = []*os.File{console, outputEnd, resultEnd}
	q.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err = q.Start()
	outputEnd.Close()
	resultEnd.Close()
	if err != nil {
		return 1, nil, err
	}
	stuck := time.AfterFunc(m.settings.patience, func() { q.Process.Kill() })
	words := bufio.NewReader(result)
	if !heard(q.Process, words) {
		stuck.Stop()
		return 1, nil, errors.Join(errNotUp, q.Wait())
	}
	ended := make(chan struct{})
	go killStalled(q.Process, console.Name(), ended)
	silent := time.AfterFunc(m.settings.silence, func() { q.Process.Kill() })
	io.Copy(heedful{out, silent, m.settings.silence}, output)
	code, err = readCode(words)
	close(ended)
	quiet := !silent.Stop()
	if gone := q.Wait(); gone != nil && err == nil {
		err = fmt.Errorf("qemu: %w", gone)
	}
	if !stuck.Stop() {
		err = fmt.Errorf("the machine was stuck after %v", m.settings.patience)
	}
	said, readErr := os.ReadFile(console.Name())
	switch fault := oops(string(said)); {
	case stalled(said) || quiet:
		err = errors.Join(errStalled, err)
	case fault != nil && (err == nil || err == errSilent):
		err = fault
	}
	if readErr != nil {
		err = errors.Join(err, readErr)
	}
	return code, said, err
}

// heard waits for the first word of the machine's init, and ends qemu when it does
// not come: a boot takes 2 to 3 s on an idle processor.
func heard(qemu *os.Process, words *bufio.Reader) bool {
	deadline := time.AfterFunc(90*time.Second, func() { qemu.Kill() })
	defer deadline.Stop()
	line, _ := words.ReadString('\n')
	return line == up+"\n"
}

// killStalled ends qemu when its kernel stalls for good, rather than waiting until the
// machine's time is up.
func killStalled(qemu *os.Process, console string, ended <-chan struct{}) {
	look := time.NewTicker(5 * time.Second)
	defer look.Stop()
	for {
		select {
		case <-ended:
			return
		case <-look.C:
			if text, err := os.ReadFile(console); err == nil && stalled(text) {
				qemu.Kill()
				return
			}
		}
	}
}

// heedful passes on what a test says, and puts off what follows on its silence.
type heedful struct {
	io.Writer
	silent  *time.Timer
	silence time.Duration
}

func (h heedful) Write(b []byte) (int, error) {
	h.silent.Reset(h.silence)
	return h.Writer.Write(b)
}

// stalled tells whether a kernel with this console has told twice of a stall: the
// second time is a minute after the first (Documentation/RCU/stallwarn.rst), which is
// more than a loaded host takes from a machine.
func stalled(console []byte) bool {
	return bytes.Count(console, []byte("rcu_preempt self-detected stall")) > 1
}

// readCode reads the exit code.
func readCode(words *bufio.Reader) (int, error) {
	line, _ := words.ReadString('\n')
	code, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		return 1, errSilent
	}
	return code, nil
}

// oops gives an error when the kernel found a fault of its own.
func oops(console string) error {
	found := regexp.MustCompile(`(?m)^.*(kernel BUG at|Oops:|general protection fault|KASAN|refcount_t:).*$`).FindString(console)
	if found == "" {
		return nil
	}
	return fmt.Errorf("the kernel: %s", strings.TrimSpace(found))
}
