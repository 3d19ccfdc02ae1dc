// Package manual is the text of a command: as its help, and as a manual page in the
// language of man(7).
package manual

// Page is the text of one command of a program.
type Page struct {
	Program, Name, Short string
	Usage                []string // command lines
	Long                 string
	Examples             []string
	Sections             []Section
}

// Section is some options under a title.
type Section struct {
	Title   string
	Doc     string // what they are settings of; "" for other options
	Further bool   // only for those who ask for all
	Options []Option
}

// Option is one option of a command.
type Option struct{ Short, Long, Value, Text, Preset string }

// heading is the title, and what it is about.
func (s Section) heading() string {
	if s.Doc == "" {
		return s.Title
	}
	return "Settings of " + s.Title + " (" + s.Doc + ")"
}

// names gives the option as it is typed: "-n, --lines N".
func (o Option) names() string {
	s := "    --" + o.Long
	if o.Short != "" {
		s = "-" + o.Short + ", --" + o.Long
	}
	if o.Value != "" {
		s += " " + o.Value
	}
	return s
}

// words gives what the option does, and what it is unless given.
func (o Option) words() string {
	if o.Preset != "" {
		return o.Text + " (" + o.Preset + ")"
	}
	return o.Text
}
