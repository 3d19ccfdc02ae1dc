package pool

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Meta is what is known of an image.
type Meta struct {
	Method string    `json:"method"`          // of build
	Source string    `json:"source"`          // where the files came from, for people
	Made   time.Time `json:"made"`            // set by Add
	Guest  string    `json:"guest,omitempty"` // the one guest it was made for; "" for any
	Cache  bool      `json:"cache,omitempty"` // can be made again from this host alone
	// Distribution and Release are ID and VERSION_ID (or the codename, where there is no
	// number yet) of its os-release(5): "debian" and "12".
	Distribution string `json:"distribution,omitempty"`
	Release      string `json:"release,omitempty"`
	// Arch is the machine that its programs are for, by the Go language's names: "amd64".
	// Add refuses a tree whose shell is for another one than is said.
	Arch string `json:"arch,omitempty"`
	// Origin identifies the source: the digest of an image of a registry, the sum of an
	// archive.
	Origin string `json:"origin,omitempty"`
	// Digest is that of the tree, by package layer; Files and Bytes are what it counted.
	Digest string `json:"digest,omitempty"`
	Files  int64  `json:"files,omitempty"`
	Bytes  int64  `json:"bytes,omitempty"` // content of regular files
	// Program is what its maker wants run in it; nil when there is no such wish. Add's
	// fill may still change what it points to.
	Program *Program `json:"program,omitempty"`
}

// Program is what is run in an image, by the words of a stranger.
type Program struct {
	Command     []string `json:"command,omitempty"`
	Environment []string `json:"environment,omitempty"` // NAME=VALUE
	Dir         string   `json:"dir,omitempty"`
	User        string   `json:"user,omitempty"`
	StopSignal  string   `json:"stop_signal,omitempty"`
}

// Image is one image of the pool.
type Image struct {
	Name string
	Meta
}

// Meta gives what is known of an image; nothing of one whose image.json is lost.
func (p *Pool) Meta(name string) (m Meta) {
	text, err := os.ReadFile(filepath.Join(p.image(name), "image.json"))
	if err != nil || json.Unmarshal(text, &m) != nil {
		return Meta{}
	}
	return m
}

// List gives all images, sorted by name. One whose image.json cannot be read is
// listed with an empty Meta.
func (p *Pool) List() ([]Image, error) {
	entries, err := os.ReadDir(filepath.Join(p.dir, "images"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var out []Image
	for _, e := range entries {
		out = append(out, Image{Name: e.Name(), Meta: p.Meta(e.Name())})
	}
	return out, err
}
