"""Which days have what: answered, newly matured, planned."""
