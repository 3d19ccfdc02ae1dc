package registry

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/types"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// places are the files in which docker and podman keep logins for the calling user. The
// library looks into one of them alone: a machine with both programs has both.
func places() (files []string) {
	home, _ := os.UserHomeDir() // the services of an init have none
	for _, p := range []struct{ dir, or, file string }{
		{os.Getenv("REGISTRY_AUTH_FILE"), "", ""},
		{os.Getenv("DOCKER_CONFIG"), home + "/.docker", "config.json"},
		{os.Getenv("XDG_RUNTIME_DIR"), "", "containers/auth.json"},
		{fmt.Sprintf("/run/containers/%d", os.Getuid()), "", "auth.json"},
		{os.Getenv("XDG_CONFIG_HOME"), home + "/.config", "containers/auth.json"},
	} {
		if dir := cmp.Or(p.dir, p.or); dir != "" {
			files = append(files, filepath.Join(dir, p.file))
		}
	}
	return files
}

// keys are the words by which the login for a repository may be kept: podman has some for a
// part of a registry, and the largest registry under another name. The last is docker's.
func keys(of name.Repository) (keys []string) {
	for key := of.String(); ; {
		keys = append(keys, key)
		if at, ok := strings.CutPrefix(key, name.DefaultRegistry); ok {
			keys = append(keys, "docker.io"+at)
		}
		i := strings.LastIndexByte(key, '/')
		if i < 0 {
			break
		}
		key = key[:i]
	}
	if of.RegistryStr() == name.DefaultRegistry {
		keys = append(keys, authn.DefaultAuthKey)
	}
	return keys
}

// Login finds by what to log in to the registry of ref, in the places where docker and
// podman keep that for the calling user: the registry's own entry alone, as JSON. nil is
// nothing.
func Login(ref string) ([]byte, error) {
	r, _, err := parse(ref)
	if err != nil {
		return nil, err
	}
	for _, path := range places() {
		c, err := login(path, keys(r.Context()))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if c != (authn.AuthConfig{}) {
			return json.Marshal(c)
		}
	}
	return nil, nil
}

// login is what a file has under one of these keys; none is no error.
func login(path string, keys []string) (a authn.AuthConfig, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return a, nil
	}
	if err != nil {
		return a, err
	}
	defer f.Close()
	all, err := config.LoadFromReader(f)
	if err != nil {
		return a, err
	}
	for _, key := range keys {
		c := all.AuthConfigs[key]
		if a = ours(c); a != (authn.AuthConfig{}) {
			return a, nil
		}
	}
	// What is left are programs that know logins, and old words for a registry. To the library
	// those for a part of one are such a word, too.
	maps.DeleteFunc(all.AuthConfigs, func(key string, _ types.AuthConfig) bool {
		return strings.Contains(key, "/") && !strings.Contains(key, "://")
	})
	c, err := all.GetAuthConfig(keys[len(keys)-1])
	return ours(c), err
}

func ours(c types.AuthConfig) authn.AuthConfig {
	return authn.AuthConfig{Username: c.Username, Password: c.Password, Auth: c.Auth, IdentityToken: c.IdentityToken, RegistryToken: c.RegistryToken}
}
