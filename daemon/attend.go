package daemon

// attend has somebody look after the guest's network while it runs.
func (w *worker) attend(g *watched) {
	if w.acts.Attend != nil {
		g.leave = w.acts.Attend(g.Start, w.say)
	}
}

// unattend ends that; what is left of the guest's network can go.
func (g *watched) unattend() {
	if g.leave != nil {
		g.leave()
		g.leave = nil
	}
}
