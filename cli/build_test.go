package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The example of the method's specification, and two of openssl passwd -6.
func TestSHA512Crypt(t *testing.T) {
	for _, tt := range []struct{ password, salt, want string }{
		{"Hello world!", "saltstring", "svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"},
		{"a much longer password, of more than sixty-four bytes, to go round the digest once", "0123456789abcdef",
			"iQ5egzbNOApQDMSPgrHHP6FJVeZJo3BY7Hgs.fbyAEw9uKqV4ZLLm/zk9Q1sXdiTsgzxuTzZCFu3WOc8pvcY71"},
		{"x", "ab", "jnZj29NS/hK2GaouP6AGMIBwD6owZFRejcn9QRdlwSjZaVr.fR9dH2TXrKL/PaacUXwtGfI.4O9zxvy2k6fbE1"},
	} {
		if got := encodeDigest(sha512crypt([]byte(tt.password), []byte(tt.salt))); got != tt.want {
			t.Errorf("%s: got\n%s, want\n%s", tt.password, got, tt.want)
		}
	}
	if a, b := hashPassword("x"), hashPassword("x"); a == b || !strings.HasPrefix(a, "$6$") || len(a) != 3+16+1+86 {
		t.Errorf("got %s and %s", a, b)
	}
}

func TestReadKeyFile(t *testing.T) {
	dir := t.TempDir()
	file := func(text string) string {
		path := filepath.Join(dir, "key")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	keys, err := readKeyFile(file("# mine\n\nssh-ed25519 AAAA me\r\nssh-rsa BBBB you"))
	if err != nil || !slices.Equal(keys, []string{"ssh-ed25519 AAAA me", "ssh-rsa BBBB you"}) {
		t.Errorf("got %q, %v", keys, err)
	}
	for _, text := range []string{"", "# none\n", "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n"} {
		if _, err := readKeyFile(file(text)); exitCode(err) != exitUsage {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

func TestMethodMeant(t *testing.T) {
	isGuest := func(word string) bool { return word == "web1" }
	for _, tt := range []struct {
		f    buildFlags
		want string
	}{
		{buildFlags{}, "host"},
		{buildFlags{debian: "bookworm"}, "debootstrap"},
		{buildFlags{template: "x.tar"}, "template"},
		{buildFlags{from: "web1"}, "clone"},
		{buildFlags{from: "/srv/root"}, "rsync"},
		{buildFlags{from: "web1", method: "rsync"}, "rsync"},
		{buildFlags{method: "skeleton"}, "skeleton"},
		{buildFlags{debian: "bookworm", template: "x.tar"}, ""},
		{buildFlags{debian: "bookworm", method: "host"}, ""},
	} {
		got, err := tt.f.methodMeant(isGuest)
		if got != tt.want || (err != nil) != (tt.want == "") {
			t.Errorf("%+v: got %q, %v", tt.f, got, err)
		}
	}
}

// Every setting has a flag of its own, and what the flags say is what a file would.
func TestWishes(t *testing.T) {
	e, _ := lookup("create")
	c := e.construct(aTool(t))
	err := c.ParseFlags(strings.Fields("--ip 192.0.2.10/24 --ip 2001:db8::1/64,192.0.2.11/24 --memory 512M --cpus 1.5 " +
		"--init command --command /bin/sleep,1000 --env A=1 --env B=x=y --rlimit nofile=10:20 --mark default --nesting " +
		"--hostname a.example --context 40001 --set boot.depends=db1"))
	if err != nil {
		t.Fatal(err)
	}
	w := c.Flags().Lookup("ip").Value.(*settingFlag).wishes
	w.sets = []string{"boot.depends=db1"}
	spec, err := w.spec()
	if err != nil {
		t.Fatal(err)
	}
	if len(spec.Network.Addresses) != 3 || spec.Network.Addresses[1].String() != "2001:db8::1/64" {
		t.Errorf("addresses: %v", spec.Network.Addresses)
	}
	if spec.Limits.Memory != 512<<20 || spec.Limits.CPUs != 1.5 || spec.XID != 40001 || !spec.Rights.Nesting {
		t.Errorf("got %+v", spec)
	}
	if !slices.Equal(spec.Init.Command, []string{"/bin/sleep", "1000"}) || spec.Init.Environment["B"] != "x=y" {
		t.Errorf("init: %+v", spec.Init)
	}
	if spec.Limits.Rlimits["nofile"].Hard != 20 || !slices.Equal(spec.Boot.Marks, []string{"default"}) || spec.Boot.Depends[0] != "db1" {
		t.Errorf("got %+v", spec)
	}
}

// What Linux-VServer's build wrote into interfaces/ is an address here.
func TestInterface(t *testing.T) {
	for _, tt := range []struct {
		old        oldBuild
		text, want string
	}{
		{oldBuild{}, "192.0.2.10/24", "192.0.2.10/24"},
		{oldBuild{}, "eth0:192.0.2.10/255.255.255.0", "192.0.2.10/24 dev eth0"},
		{oldBuild{}, "web=eth0:192.0.2.10/24", "192.0.2.10/24 dev eth0 name web"},
		{oldBuild{}, "nodev:192.0.2.10", "192.0.2.10/32 nodev"},
		{oldBuild{}, "2001:db8::1/64", "2001:db8::1/64"},
		{oldBuild{}, "eth0:2001:db8::1/64", "2001:db8::1/64 dev eth0"},
		{oldBuild{dev: "lo", length: "25"}, "192.0.2.10", "192.0.2.10/25 dev lo"},
		{oldBuild{dev: "lo", mask: "255.255.0.0", bcast: "192.0.255.255"}, "192.0.2.10", "192.0.2.10/16 dev lo broadcast 192.0.255.255"},
		{oldBuild{}, "eth0", ""}, {oldBuild{}, "192.0.2.10/33", ""}, {oldBuild{}, "192.0.2.10/255.0.255.0", ""}, {oldBuild{}, "", ""},
	} {
		got, err := tt.old.address(tt.text)
		if got != tt.want || (err != nil) != (tt.want == "") {
			t.Errorf("%s: got %q, %v, want %q", tt.text, got, err, tt.want)
		}
	}
}
