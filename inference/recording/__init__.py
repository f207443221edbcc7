"""The parts of the forward recorder: rows, what of them is usable, the journal, its storing."""
