package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"vserver/fault"
	"vserver/guest"
)

// The exit codes. They are an interface: scripts test them. `running` gives 1 for a
// guest that is not running and `status` gives 3, both as in Linux-VServer; exec,
// enter, suexec and start --wait give the code of the command that they ran.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitStopped     = 3
	exitNotFound    = 5
	exitBusy        = 6
	exitUnsupported = 7
	exitInterrupted = 130
)

// exitCodes is the table from an error to its exit code, first match first, with
// the words of the manual. Errors that match none of them give exitFailed.
func exitCodes() []exitRow {
	return []exitRow{
		{exitDone, "done; also when the guest already was as asked", nil},
		{exitFailed, "failed", nil},
		{exitUsage, "wrong usage, a bad name, or a question answered with no", nil},
		{exitStopped, "the guest is not running, for verbs that want one that does", guest.ErrStopped},
		{exitNotFound, "no such guest", guest.ErrNotFound},
		{exitBusy, "the guest is in use: another vserver changes it, or it is mounted", guest.ErrBusy},
		{exitUnsupported, "this kernel or host lacks what is needed", guest.ErrUnsupported},
		{exitInterrupted, "interrupted", context.Canceled},
	}
}

// exitRow is one line of the table.
type exitRow struct {
	code  int
	words string
	err   error
}

// code is an error that only sets the exit code: all has been said already, or the
// code is the whole answer, as with exec and running.
type code int

// Error gives the number.
func (c code) Error() string { return "exit code " + strconv.Itoa(int(c)) }

// coded is an error with an exit code of its own.
type coded struct {
	error
	code int
}

// Unwrap gives the error.
func (c coded) Unwrap() error { return c.error }

// usage is a command line that makes no sense.
type usage struct{ text string }

// Error gives the complaint.
func (u usage) Error() string { return u.text }

// usagef is a complaint about the command line.
func usagef(format string, args ...any) error { return usage{fmt.Sprintf(format, args...)} }

// usageHint is a complaint about the command line with a command that would do.
func usageHint(hint, format string, args ...any) error {
	return fault.Hint(usagef(format, args...), hint)
}

// many is what went wrong with several guests: one line each.
type many []error

// Error joins the lines.
func (m many) Error() string { return errors.Join(m...).Error() }

// Unwrap gives the single errors.
func (m many) Unwrap() []error { return m }

// exitCode is the code that err ends the program with; of many the worst, which is
// the highest.
func exitCode(err error) int {
	if err == nil {
		return exitDone
	}
	if m, ok := err.(many); ok {
		worst := exitDone
		for _, e := range m {
			worst = max(worst, exitCode(e))
		}
		return worst
	}
	var c code
	if errors.As(err, &c) {
		return int(c)
	}
	var own coded
	if errors.As(err, &own) {
		return own.code
	}
	var u usage
	if errors.As(err, &u) {
		return exitUsage
	}
	for _, row := range exitCodes() {
		if row.err != nil && errors.Is(err, row.err) {
			return row.code
		}
	}
	return exitFailed
}

// report says what went wrong and gives the exit code.
func (t *tool) report(err error) int {
	errs := []error{err}
	if m, ok := err.(many); ok {
		errs = m
	}
	for _, e := range errs {
		var c code
		if e == nil || errors.As(e, &c) {
			continue
		}
		if t.json {
			t.sayJSON(e)
		} else {
			t.say(e)
		}
	}
	if t.interrupted {
		return exitInterrupted
	}
	return t.ofTool(err)
}

// ofTool is the exit code that err ends an old tool with. Where 2 was an answer of the
// tool's, or none that it gave, wrong usage is what it was.
func (t *tool) ofTool(err error) int {
	code := exitCode(err)
	if t.program == "vkill" {
		return min(code, exitFailed)
	}
	var u usage
	if !errors.As(err, &u) || code != exitUsage {
		return code
	}
	switch t.program {
	case "naddress", "nattribute", "ncontext", "vcontext":
		return exitContext
	case "vwait":
		return waitError
	case "start-vservers", "stop-vservers", "vhashify", "vunify":
		return exitFailed
	}
	return code
}

// say prints one error, with the way out on a second line.
func (t *tool) say(err error) {
	text := t.program + ": " + fault.PlainLines(strings.TrimPrefix(words(err), t.program+": ")) + "\n"
	if hint := fault.HintOf(err); hint != "" {
		text += "hint: " + fault.PlainLines(hint) + "\n"
	}
	fmt.Fprint(t.err, text)
}

// words is what an error says; an interruption by its own name. That something is invalid
// has been said by why.
func words(err error) string {
	text := strings.ReplaceAll(err.Error()+"\n", ": "+guest.ErrInvalid.Error()+"\n", "\n")
	text = strings.TrimSuffix(text, "\n")
	if errors.Is(err, context.Canceled) {
		return strings.ReplaceAll(text, context.Canceled.Error(), "interrupted")
	}
	return text
}

// failure is an error as --json prints it.
type failure struct {
	Error string `json:"error"`
	Guest string `json:"guest,omitempty"`
	Op    string `json:"op,omitempty"`
	Hint  string `json:"hint,omitempty"`
	Code  int    `json:"code"`
}

// sayJSON prints one error as a line of JSON.
func (t *tool) sayJSON(err error) {
	f := failure{Error: words(err), Op: t.verb, Hint: fault.HintOf(err), Code: exitCode(err)}
	var e *fault.Error
	if errors.As(err, &e) && e.Err != nil && (e.Guest != "" || e.Op != "") {
		f.Error, f.Guest = words(e.Err), e.Guest
		if e.Op != "" {
			f.Op = e.Op
		}
	}
	writeJSONLine(t.err, f)
}

// warn prints a line that does not change the exit code.
func (t *tool) warn(name guest.Name, text string) {
	if t.json {
		writeJSONLine(t.err, map[string]string{"warning": text, "guest": string(name)})
		return
	}
	fmt.Fprintf(t.err, "%s: %s: %s\n", t.program, name, fault.PlainLines(text))
}

// confirm asks a yes-or-no question on the terminal. Away from a terminal the
// answer is no.
func (t *tool) confirm(question string) bool {
	if !isTerminal(t.in) {
		return false
	}
	yes, _ := t.question(question)
	return yes
}

// question asks one, of whoever is at the standard input. answered is whether there is
// somebody: `yes | vserver NAME delete` was how scripts did it.
func (t *tool) question(words string) (yes, answered bool) {
	fmt.Fprint(t.err, words, " (y/N) ")
	var answer string
	_, err := fmt.Fscanln(t.in, &answer)
	if errors.Is(err, io.EOF) {
		fmt.Fprintln(t.err) // nobody ended the line
	}
	return answer == "y" || answer == "Y" || answer == "yes", isTerminal(t.in) || !errors.Is(err, io.EOF)
}

// isTerminal says whether the file is a terminal.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && isTTY(int(f.Fd()))
}

// isScreen tells whether a file is a terminal on which a line can be written over.
func isScreen(f *os.File) bool { return isTerminal(f) && os.Getenv("TERM") != "dumb" }
