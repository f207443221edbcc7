"""What `tenforward migrate` does to a warehouse: steps, each of which is told, then made."""
