//go:build !amd64

package attack

// ports asks for nothing: the machine has none, and no such call.
func ports() func(*Ground) (string, error) { return call(^uintptr(0)) }
