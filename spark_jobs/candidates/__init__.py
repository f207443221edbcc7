"""From records and labels to candidates: the window, what cannot be used, maturity, the join."""
