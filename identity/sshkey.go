package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"errors"

	"vserver/layer"
)

// hostKeys gives a guest with an sshd ssh host keys of its own: Ed25519 and ECDSA,
// which every client of the last ten years knows. There is no RSA key: making one
// takes longer than all the rest of a clone. The keys are made beside what is done until
// write is called, which writes the files.
func hostKeys(r *layer.Root) (files []string, write func(*layer.Root) error) {
	if _, err := r.Stat("etc/ssh/sshd_config"); err != nil {
		return nil, func(*layer.Root) error {
			if notThere(err) {
				return nil
			}
			return err
		}
	}
	made := make(chan []sshKey, 1)
	var failed error
	go func() {
		a, aerr := newEd25519()
		b, berr := newECDSA()
		failed = errors.Join(aerr, berr)
		made <- []sshKey{a, b}
	}()
	for _, name := range []string{"ed25519", "ecdsa"} {
		files = append(files, keyFile(name), keyFile(name)+".pub")
	}
	return files, func(r *layer.Root) error {
		keys := <-made
		if failed != nil {
			return failed
		}
		return writeKeys(r, keys)
	}
}

func keyFile(name string) string { return "etc/ssh/ssh_host_" + name + "_key" }

func writeKeys(r *layer.Root, keys []sshKey) error {
	host, err := read(r, "etc/hostname")
	if err != nil {
		return err
	}
	comment := "root@" + host[:max(len(host)-1, 0)]
	for _, k := range keys {
		p := keyFile(k.name)
		if err := r.Write(p, k.private(comment), 0o600, 0, 0); err != nil {
			return err
		}
		if err := r.Write(p+".pub", k.public(comment), 0o644, 0, 0); err != nil {
			return err
		}
	}
	return nil
}

// sshKey is a key pair in the terms of OpenSSH's PROTOCOL.key: the public part, and
// the fields of the private part that follow the type.
type sshKey struct {
	name   string // in the name of its file
	kind   string
	pub    []byte
	secret [][]byte
}

func newEd25519() (sshKey, error) {
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	const kind = "ssh-ed25519"
	return sshKey{"ed25519", kind, fields([]byte(kind), pub), [][]byte{pub, priv}}, err
}

func newECDSA() (sshKey, error) {
	const kind, curve = "ecdsa-sha2-nistp256", "nistp256"
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return sshKey{}, err
	}
	point, err := k.PublicKey.Bytes()
	if err != nil {
		return sshKey{}, err
	}
	d, err := k.Bytes()
	if err != nil {
		return sshKey{}, err
	}
	return sshKey{"ecdsa", kind, fields([]byte(kind), []byte(curve), point), [][]byte{[]byte(curve), point, mpint(bytes.TrimLeft(d, "\x00"))}}, nil
}

// fields puts each field behind its length.
func fields(fs ...[]byte) (out []byte) {
	for _, f := range fs {
		out = binary.BigEndian.AppendUint32(out, uint32(len(f)))
		out = append(out, f...)
	}
	return out
}

// mpint is a positive number as SSH writes it: a zero goes before a set top bit.
func mpint(b []byte) []byte {
	if len(b) > 0 && b[0]&0x80 != 0 {
		return append([]byte{0}, b...)
	}
	return b
}

func (k sshKey) public(comment string) []byte {
	return []byte(k.kind + " " + base64.StdEncoding.EncodeToString(k.pub) + " " + comment + "\n")
}

// private is the key in OpenSSH's own format, not encrypted.
func (k sshKey) private(comment string) []byte {
	var check [4]byte
	rand.Read(check[:])
	secret := append(check[:], check[:]...)
	secret = append(secret, fields(append(append([][]byte{[]byte(k.kind)}, k.secret...), []byte(comment))...)...)
	for i := byte(1); len(secret)%8 != 0; i++ {
		secret = append(secret, i)
	}
	out := []byte("openssh-key-v1\x00")
	out = append(out, fields([]byte("none"), []byte("none"), nil)...)
	out = binary.BigEndian.AppendUint32(out, 1)
	out = append(out, fields(k.pub, secret)...)
	return pem.EncodeToMemory(&pem.Block{Type: "OPENSSH PRIVATE KEY", Bytes: out})
}
