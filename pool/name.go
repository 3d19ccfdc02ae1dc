package pool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"vserver/fault"
	"vserver/guest"
	"vserver/kernel/file"
)

// CheckName refuses what cannot be the name of an image, NAME or NAME@VERSION.
func CheckName(name string) error {
	plain, version, versioned := strings.Cut(name, "@")
	if len(name) <= 128 && isWord(plain) && (!versioned || isWord(version)) {
		return nil
	}
	return fmt.Errorf("image %q: want NAME or NAME@VERSION, 1 to 128 letters, digits, '.', '_', '+', '-', each beginning with a letter or digit: %w", name, guest.ErrInvalid)
}

func isWord(word string) bool {
	ok := word != "" && !strings.ContainsAny(word[:1], "._+-")
	for i := range len(word) {
		c := word[i]
		ok = ok && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("._+-", c) >= 0)
	}
	return ok
}

// Plain gives the name of an image without its version.
func Plain(name string) string {
	plain, _, _ := strings.Cut(name, "@")
	return plain
}

// Resolve gives the full name of the image that a word means: the image called so; else
// the one that a tag called so is on; and for a plain name the newest version for this
// machine, or without one for another. ErrNoImage when there is none.
func (p *Pool) Resolve(word string) (string, error) {
	if err := CheckName(word); err != nil {
		return "", err
	}
	if there, err := p.whole(word); there || err != nil {
		return word, err
	}
	if to, err := p.tagged(word); to != "" || err != nil {
		return to, err
	}
	if !strings.Contains(word, "@") {
		if name, err := p.newest(word); name != "" || err != nil {
			return name, err
		}
	}
	return "", fmt.Errorf("image %s: %w", word, ErrNoImage)
}

// newest gives the version of a plain name that was made last: of those for this machine, if
// there are such.
func (p *Pool) newest(plain string) (name string, err error) {
	entries, err := os.ReadDir(filepath.Join(p.dir, "images"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	var last Image
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), plain+"@") {
			continue
		}
		im := Image{e.Name(), p.Meta(e.Name())}
		ours, better := native(im.Arch), native(last.Arch)
		if last.Name == "" || ours && !better || ours == better && im.Newer(last) {
			last = im
		}
	}
	return last.Name, err
}

// Newer tells whether an image was made after another: of two of one second it is the one
// with the higher version.
func (im Image) Newer(than Image) bool {
	return cmp.Or(im.Made.Compare(than.Made), len(im.Name)-len(than.Name), strings.Compare(im.Name, than.Name)) > 0
}

// native tells whether this machine runs programs for arch; one that nobody knows is
// taken for its own. Processors of 64 bits run the programs of their 32 bit kin.
func native(arch string) bool {
	switch runtime.GOARCH {
	case "amd64":
		return arch == "" || arch == "amd64" || arch == "386"
	case "arm64":
		return arch == "" || arch == "arm64" || arch == "arm"
	}
	return arch == "" || arch == runtime.GOARCH
}

// Version gives the full name for one more image that is called word: word itself when it
// names a version, and else a version made of the day. guest.ErrExists when an image that
// has no version is called so.
func (p *Pool) Version(word string, day time.Time) (string, error) {
	if err := CheckName(word); err != nil || strings.Contains(word, "@") {
		return word, err
	}
	if there, err := p.whole(word); there || err != nil {
		return "", fmt.Errorf("image %s: %w", word, cmp.Or(err, guest.ErrExists))
	}
	first := word + "@" + day.Format("20060102")
	name := first
	for i := 2; ; i++ {
		there, err := file.Exists(p.image(name))
		if err == nil && !there {
			there, err = file.Exists(p.tag(name))
		}
		if !there || err != nil {
			return name, err
		}
		name = fmt.Sprintf("%s.%d", first, i)
	}
}

func (p *Pool) tag(word string) string { return filepath.Join(p.dir, "tags", word) }

// tagged gives the image that a tag is on; "" when there is no such tag, or no such image
// any more.
func (p *Pool) tagged(word string) (string, error) {
	to, err := os.Readlink(p.tag(word))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil || CheckName(to) != nil {
		return "", err
	}
	if there, err := p.whole(to); !there || err != nil {
		return "", err
	}
	return to, nil
}

// Tag makes word, NAME or NAME@WORD, mean the image that to means, of that same NAME. A
// tag that is there already is moved, by one rename.
func (p *Pool) Tag(ctx context.Context, to, word string) error {
	if err := CheckName(word); err != nil {
		return err
	}
	name, err := p.Resolve(to)
	if err != nil {
		return err
	}
	if Plain(name) != Plain(word) {
		return fault.Hint(fmt.Errorf("tag %s: is no word for a version of %s: %w", word, Plain(name), guest.ErrInvalid),
			fmt.Sprintf("vserver image tag %s %s@%s", name, Plain(name), Plain(word)))
	}
	release, err := p.Use(name)
	if err != nil {
		return err
	}
	defer release()
	if err := p.prepare(); err != nil {
		return err
	}
	lock, err := file.WaitLock(ctx, p.lock(word))
	if err != nil {
		return err
	}
	defer lock.Unlock()
	if there, err := file.Exists(p.image(word)); there || err != nil {
		return fmt.Errorf("tag %s: is an image: %w", word, cmp.Or(err, guest.ErrExists))
	}
	half := p.tag("." + word)
	if err := file.Forget(half); err != nil {
		return err
	}
	if err := os.Symlink(name, half); err != nil {
		return err
	}
	if err := os.Rename(half, p.tag(word)); err != nil {
		return err
	}
	return p.sync("tags")
}

// Untag takes a tag away. ErrNoImage when there is none.
func (p *Pool) Untag(word string) error {
	if err := CheckName(word); err != nil {
		return err
	}
	err := os.Remove(p.tag(word))
	if errors.Is(err, fs.ErrNotExist) {
		err = fault.Hint(fmt.Errorf("tag %s: %w", word, ErrNoImage), "vserver image list shows the tags")
	}
	return err
}

// Tags gives the tags and the images that they are on.
func (p *Pool) Tags() (map[string]string, error) {
	entries, err := os.ReadDir(filepath.Join(p.dir, "tags"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	out := map[string]string{}
	for _, e := range entries {
		if to, terr := p.tagged(e.Name()); to != "" && CheckName(e.Name()) == nil {
			out[e.Name()] = to
		} else if err == nil {
			err = terr
		}
	}
	return out, err
}

// sweepTags removes tags whose image is gone, and halves of tags.
func (p *Pool) sweepTags() error {
	entries, err := os.ReadDir(filepath.Join(p.dir, "tags"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		word := strings.TrimPrefix(e.Name(), ".")
		lock, lerr := file.TryLock(p.lock(word))
		if errors.Is(lerr, file.ErrLocked) {
			continue
		}
		if lerr == nil {
			to, terr := p.tagged(e.Name())
			if terr == nil && (to == "" || word != e.Name()) {
				terr = os.Remove(p.tag(e.Name()))
			}
			lerr = errors.Join(terr, lock.Unlock())
		}
		err = errors.Join(err, lerr)
	}
	return err
}
