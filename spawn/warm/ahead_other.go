//go:build !amd64

package warm

// Able tells whether programs of this architecture ask.
const Able = false
