package identity

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"testing"
)

// TestEdPublic holds the key that we work out against the standard library's.
func TestEdPublic(t *testing.T) {
	for range 100 {
		_, priv, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		got, err := edPublic(priv.Seed())
		if want := priv.Public().(ed25519.PublicKey); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%x: %x, %v, want %x", priv.Seed(), got, err, want)
		}
	}
	k, err := newEd25519()
	if err != nil {
		t.Fatal(err)
	}
	said := []byte("a message")
	if pub, priv := k.secret[0], k.secret[1]; !ed25519.Verify(pub, said, ed25519.Sign(priv, said)) {
		t.Error("the two halves are not of one key")
	}
}
