package cli

// owners gives a function that tells whose a process is.
func (t *tool) owners() (func(pid int) owner, error) {
	return func(int) owner { return owner{} }, nil
}

func (t *tool) psJSON(func(int) owner) error { return nil }

func tree(any) any { return nil }
