// Package curve draws curves over time as SVG: enough for the figures in doc/, without a
// library of charts, of which none that is kept writes a page of a few kilobytes that a
// text diff can show.
package curve

import (
	"fmt"
	"html"
	"io"
	"strings"
)

// Chart is a picture of some lines over the same seconds.
type Chart struct {
	Title string
	Unit  string  // of the values
	Most  float64 // the highest value that is shown
	End   float64 // seconds
	Lines []Line
	Parts []Part
}

// Line is a curve.
type Line struct {
	Name   string
	Points []Point
}

// Point is a value at a second.
type Point struct{ At, Value float64 }

// Part is a stretch of time with a caption and the values that the lines should have
// there, by their names.
type Part struct {
	From, To float64
	Caption  string
	Ideal    map[string]float64
}

// The picture's size and its margins, in pixels.
const (
	width, height          = 900, 420
	left, right, top, down = 50, 110, 60, 40
)

// colours are told apart by those who see red as green, too (Okabe and Ito).
func colours() []string { return []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00"} }

func (c *Chart) x(at float64) float64 { return left + at/c.End*(width-left-right) }
func (c *Chart) y(v float64) float64  { return height - down - v/c.Most*(height-top-down) }

// Write writes the picture.
func (c *Chart) Write(out io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/>`+"\n"+`<text x="%d" y="20" font-size="15">%s</text>`+"\n", left, html.EscapeString(c.Title))
	c.axes(&b)
	for _, p := range c.Parts {
		c.part(&b, p)
	}
	for i, l := range c.Lines {
		c.line(&b, i, l)
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(out, b.String())
	return err
}

func (c *Chart) axes(b *strings.Builder) {
	const lines = 6
	for i := range lines + 1 {
		v := c.Most * float64(i) / lines
		fmt.Fprintf(b, `<path d="M%d %.1fH%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%.0f %s</text>`+"\n",
			left, c.y(v), width-right, left-6, c.y(v)+4, v, html.EscapeString(c.Unit))
	}
	for at := 0.0; at <= c.End; at += 10 {
		fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle">%.0f s</text>`+"\n", c.x(at), height-down+18, at)
	}
}

func (c *Chart) part(b *strings.Builder, p Part) {
	fmt.Fprintf(b, `<path d="M%.1f %dV%d" stroke="#888"/>`+"\n", c.x(p.From), top-14, height-down)
	for i, line := range strings.Split(p.Caption, "\n") {
		fmt.Fprintf(b, `<text x="%.1f" y="%d" fill="#444" font-size="11">%s</text>`+"\n", c.x(p.From)+3, top-18+13*i, html.EscapeString(line))
	}
	for i, l := range c.Lines {
		if v, ok := p.Ideal[l.Name]; ok {
			fmt.Fprintf(b, `<path d="M%.1f %.1fH%.1f" stroke="%s" stroke-dasharray="4 3" opacity="0.7"/>`+"\n", c.x(p.From), c.y(v), c.x(p.To), colour(i))
		}
	}
}

func (c *Chart) line(b *strings.Builder, i int, l Line) {
	if len(l.Points) == 0 {
		return
	}
	path := make([]string, len(l.Points))
	for j, p := range l.Points {
		path[j] = fmt.Sprintf("%.1f %.1f", c.x(p.At), c.y(min(p.Value, c.Most)))
	}
	fmt.Fprintf(b, `<path d="M%s" fill="none" stroke="%s" stroke-width="1.8"/>`+"\n", strings.Join(path, "L"), colour(i))
	fmt.Fprintf(b, `<text x="%d" y="%d" fill="%s">%s</text>`+"\n", width-right+8, top+16*i+10, colour(i), html.EscapeString(l.Name))
}

func colour(i int) string { return colours()[i%len(colours())] }
