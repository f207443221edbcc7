"""The networks, a model of one's own, and the bundle that serves."""
