package view

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Set is numbers of processors, ascending.
type Set []int

// maxCPU bounds the numbers that ParseSet takes; the kernel's CONFIG_NR_CPUS is 8192 at
// most.
const maxCPU = 1 << 14

// ParseSet reads a list in the kernel's form, as "0-3,8".
func ParseSet(text string) (Set, error) {
	var s Set
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		from, to, isRange := strings.Cut(part, "-")
		a, err := strconv.Atoi(from)
		b := a
		if err == nil && isRange {
			b, err = strconv.Atoi(to)
		}
		if err != nil || a < 0 || b < a || b >= maxCPU || len(s) > 0 && a <= s[len(s)-1] {
			return nil, fmt.Errorf("processors %q: is no list", text)
		}
		for ; a <= b; a++ {
			s = append(s, a)
		}
	}
	return s, nil
}

// String gives the list in the kernel's form.
func (s Set) String() string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(s[i]))
		first := i
		for i+1 < len(s) && s[i+1] == s[i]+1 {
			i++
		}
		if i > first {
			b.WriteString("-" + strconv.Itoa(s[i]))
		}
	}
	return b.String()
}

// Has tells whether the processor is in the set.
func (s Set) Has(cpu int) bool {
	_, found := slices.BinarySearch(s, cpu)
	return found
}

// and gives the processors that are in both.
func (s Set) and(other Set) Set {
	return slices.DeleteFunc(slices.Clone(s), func(cpu int) bool { return !other.Has(cpu) })
}

// Shown gives the processors that a guest sees: of those it may use, as many as its
// share comes to. share 0 is no limit.
func Shown(allowed Set, share float64) Set {
	if share <= 0 || share >= float64(len(allowed)) {
		return allowed
	}
	return allowed[:max(1, int(math.Ceil(share-1e-6)))]
}

// maskOf gives a text that is a list or a mask of processors with those alone that are
// shown: sysfs has both, "0-3" and "00000000,0000000f".
func maskOf(text string, shown Set, list bool) string {
	if list {
		if s, err := ParseSet(text); err == nil {
			return s.and(shown).String() + "\n"
		}
		return text
	}
	words := strings.Split(strings.TrimSpace(text), ",")
	for i, word := range words {
		v, err := strconv.ParseUint(word, 16, 32)
		if err != nil {
			return text
		}
		base := (len(words) - 1 - i) * 32
		for bit := range 32 {
			if !shown.Has(base + bit) {
				v &^= 1 << bit
			}
		}
		words[i] = fmt.Sprintf("%0*x", len(word), v)
	}
	return strings.Join(words, ",") + "\n"
}
