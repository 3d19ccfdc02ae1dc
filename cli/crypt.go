package cli

import (
	"crypto/rand"
	"crypto/sha512"
	"hash"
)

// hashPassword gives the hash of a password as /etc/shadow holds it: SHA-512 in the
// way of crypt(3), method 6, with its 5,000 rounds, which every distribution reads.
func hashPassword(password string) string {
	salt := rand.Text()[:16] // the longest that the method takes; 80 bits
	return "$6$" + salt + "$" + encodeDigest(sha512crypt([]byte(password), []byte(salt)))
}

// sha512crypt is the method's digest ("Unix crypt using SHA-256 and SHA-512",
// U. Drepper, 2008; the letters name its steps).
func sha512crypt(password, salt []byte) []byte {
	sum := func(write func(h hash.Hash)) []byte {
		h := sha512.New()
		write(h)
		return h.Sum(nil)
	}
	b := sum(func(h hash.Hash) { // steps 4 to 8
		h.Write(password)
		h.Write(salt)
		h.Write(password)
	})
	a := sum(func(h hash.Hash) { // 1 to 3, 9 to 12
		h.Write(password)
		h.Write(salt)
		h.Write(stretch(b, len(password)))
		for n := len(password); n > 0; n >>= 1 {
			if n&1 == 1 {
				h.Write(b)
			} else {
				h.Write(password)
			}
		}
	})
	p := stretch(sum(func(h hash.Hash) { // 13 to 16
		for range password {
			h.Write(password)
		}
	}), len(password))
	s := stretch(sum(func(h hash.Hash) { // 17 to 20
		for range 16 + int(a[0]) {
			h.Write(salt)
		}
	}), len(salt))
	for i := range 5000 { // 21
		a = sum(func(h hash.Hash) { round(h, i, a, p, s) })
	}
	return a
}

// round is one of the rounds of step 21.
func round(h hash.Hash, i int, a, p, s []byte) {
	first, last := a, p
	if i&1 == 1 {
		first, last = p, a
	}
	h.Write(first)
	if i%3 != 0 {
		h.Write(s)
	}
	if i%7 != 0 {
		h.Write(p)
	}
	h.Write(last)
}

// stretch repeats b up to n bytes.
func stretch(b []byte, n int) []byte {
	out := make([]byte, 0, n)
	for len(out) < n {
		out = append(out, b[:min(len(b), n-len(out))]...)
	}
	return out
}

// encodeDigest writes the digest in crypt's own order and alphabet (step 22).
func encodeDigest(d []byte) string {
	const letters = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	var out []byte
	put := func(v uint, n int) {
		for range n {
			out = append(out, letters[v&63])
			v >>= 6
		}
	}
	i, j, k := 0, 21, 42
	for range 21 {
		put(uint(d[i])<<16|uint(d[j])<<8|uint(d[k]), 4)
		i, j, k = j+1, k+1, i+1
	}
	put(uint(d[63]), 2)
	return string(out)
}
