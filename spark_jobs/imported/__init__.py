"""Reading somebody else's log: its files, the types of its columns, and what they mean."""
