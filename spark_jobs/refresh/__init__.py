"""One refresh: its plan, its files, and the manifest that commits it."""
