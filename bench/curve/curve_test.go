package curve

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

// A picture is well-formed, with a path for each line and each ideal, and nothing of it
// is outside.
func TestWrite(t *testing.T) {
	c := Chart{Title: "a < b", Unit: "%", Most: 100, End: 20,
		Lines: []Line{{"a", []Point{{0, 0}, {20, 100}}}, {"b", []Point{{5, 50}, {6, 200}}}, {"none", nil}},
		Parts: []Part{{0, 10, "first\n& second", map[string]float64{"a": 50}}}}
	var b strings.Builder
	if err := c.Write(&b); err != nil {
		t.Fatal(err)
	}
	d := xml.NewDecoder(strings.NewReader(b.String()))
	paths := 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "path" {
			paths++
		}
	}
	if paths != 7+1+1+2 { // grid, part, ideal, lines
		t.Errorf("%d paths", paths)
	}
	for _, want := range []string{"M50.0 380.0L790.0 60.0", "L272.0 60.0", "a &lt; b", "&amp; second"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}
